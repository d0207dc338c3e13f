{{/* Whether the first key is made by a Job. */}}
{{- define "heliograph.keys.made" -}}
{{- with .Values.gateway -}}
{{ and .keys.create (not .keys.existingSecret) (not .apiKeySecret.name) }}
{{- end -}}
{{- end }}

{{/* Secret with the first key itself. */}}
{{- define "heliograph.keys.plain" -}}
{{ include "heliograph.name" . }}-first-key
{{- end }}

{{/* Secret with the documents that the gateway reads; nothing where it has none. */}}
{{- define "heliograph.keys.digests" -}}
{{- with .Values.gateway.keys.existingSecret -}}
{{ . }}
{{- else -}}
{{- if eq (include "heliograph.keys.made" .) "true" -}}
{{ include "heliograph.name" . }}-gateway-keys
{{- end -}}
{{- end -}}
{{- end }}

{{/* Secret with a key that a client may carry; nothing where the chart knows of none. */}}
{{- define "heliograph.keys.client" -}}
{{- if eq (include "heliograph.keys.made" .) "true" -}}
{{ dict "name" (include "heliograph.keys.plain" .) "key" "api-key" | toYaml }}
{{- else if .Values.gateway.apiKeySecret.name -}}
{{ .Values.gateway.apiKeySecret | toYaml }}
{{- end -}}
{{- end }}

{{- define "heliograph.keys.pod" -}}
serviceAccountName: {{ include "heliograph.name" . }}-first-key
automountServiceAccountToken: true
enableServiceLinks: false
restartPolicy: OnFailure
securityContext:
  {{- include "heliograph.podSecurityContext" . | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "heliograph.placement" (dict "root" . "component" "gateway") | trim }}
{{ . }}
{{- end }}
containers:
  - name: first-key
    image: {{ include "heliograph.image" (dict "root" . "image" .Values.gateway.image) }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command: [heliograph, keys, first]
    args:
      - --namespace={{ .Release.Namespace }}
      - --secret={{ include "heliograph.keys.plain" . }}
      - --digest-secret={{ include "heliograph.keys.digests" . }}
    securityContext:
      {{- include "heliograph.securityContext" . | nindent 6 }}
    resources:
      {{- toYaml .Values.gateway.resources | nindent 6 }}
{{- end }}
