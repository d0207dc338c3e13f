{{/* The gateway's environment: what its values say, then gateway.env. */}}
{{- define "heliograph.gateway.env" -}}
{{- $files := .Values.gateway.files }}
{{- $data := .Values.gateway.data }}
{{- $database := .Values.gateway.database.urlSecret.name }}
- name: HELIOGRAPH_GATEWAY_HOST
  value: 0.0.0.0
- name: HELIOGRAPH_GATEWAY_PORT
  value: "8080"
- name: HELIOGRAPH_GATEWAY_LOAD_PORT
  value: "8082"
- name: HELIOGRAPH_GATEWAY_HOLD_SECONDS
  value: {{ .Values.gateway.hold.seconds | int64 | quote }}
- name: HELIOGRAPH_GATEWAY_MAX_HELD_PER_MODEL
  value: {{ .Values.gateway.hold.perModel | int64 | quote }}
- name: HELIOGRAPH_GATEWAY_MAX_AT_REPLICA
  value: {{ .Values.gateway.hold.atReplica | int64 | quote }}
- name: HELIOGRAPH_GATEWAY_PLAYGROUND
  value: {{ .Values.gateway.playground | quote }}
- name: HELIOGRAPH_GATEWAY_READ_TIMEOUT
  value: {{ include "heliograph.gateway.longest" . | quote }}
- name: HELIOGRAPH_GATEWAY_SHUTDOWN_TIMEOUT
  value: {{ include "heliograph.gateway.longest" . | quote }}
- name: HELIOGRAPH_GATEWAY_NAMESPACES
  value: {{ include "heliograph.namespaces" . | quote }}
{{- with .Values.gateway.defaultModel }}
- name: HELIOGRAPH_GATEWAY_DEFAULT_MODEL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.gateway.apiKeySecret }}
{{- if .name }}
- name: HELIOGRAPH_GATEWAY_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- if include "heliograph.keys.digests" . }}
- name: HELIOGRAPH_GATEWAY_KEYS_FILE
  value: /etc/heliograph/keys
{{- end }}
{{- with .Values.gateway.corsOrigins }}
- name: HELIOGRAPH_GATEWAY_CORS_ORIGINS
  value: {{ . | join "," | quote }}
{{- end }}
- name: HELIOGRAPH_GATEWAY_ALLOWED_HOSTS
  value: {{ include "heliograph.gateway.hosts" . | quote }}
{{- if .Values.gateway.tls.secretName }}
- name: HELIOGRAPH_GATEWAY_TLS_CERT_FILE
  value: /etc/heliograph/tls/tls.crt
- name: HELIOGRAPH_GATEWAY_TLS_KEY_FILE
  value: /etc/heliograph/tls/tls.key
{{- end }}
- name: HELIOGRAPH_GATEWAY_DATA_DIR
  value: /var/lib/heliograph
- name: HELIOGRAPH_GATEWAY_MAX_STORED_BYTES
  value: {{ $data.size | trimSuffix "Gi" | int64 | mul ($files.url | empty | ternary 805306368 1073741824) | quote }}
{{- if $database }}
- name: HELIOGRAPH_GATEWAY_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ $database }}
      key: {{ .Values.gateway.database.urlSecret.key }}
{{- end }}
{{- with $files.url }}
- name: HELIOGRAPH_GATEWAY_FILES_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.gateway.signingKeySecret }}
{{- if .name }}
- name: HELIOGRAPH_GATEWAY_SIGNING_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end }}
{{- end }}
- name: HELIOGRAPH_GATEWAY_LOG_FORMAT
  value: {{ .Values.gateway.logFormat | quote }}
- name: HELIOGRAPH_GATEWAY_USAGE_DAYS
  value: {{ .Values.gateway.usageDays | int64 | quote }}
{{- range $name, $value := .Values.tracing.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- with .Values.gateway.externalUrl }}
- name: HELIOGRAPH_GATEWAY_EXTERNAL_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.gateway.imageUrl.hosts }}
- name: HELIOGRAPH_GATEWAY_IMAGE_URL_HOSTS
  value: {{ . | join "," | quote }}
{{- end }}
{{- with .Values.gateway.imageUrl.privateHosts }}
- name: HELIOGRAPH_GATEWAY_IMAGE_URL_PRIVATE_HOSTS
  value: {{ . | join "," | quote }}
{{- end }}
{{- range $name, $value := omit .Values.gateway.env "HELIOGRAPH_GATEWAY_ALLOWED_HOSTS" }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* Names that lead to the gateway, of which it must be told where it asks for no key. */}}
{{- define "heliograph.gateway.hosts" -}}
{{- $hosts := list (printf "%s-gateway.%s" (include "heliograph.name" .) .Release.Namespace) }}
{{- if .Values.gateway.ingress.enabled }}
{{- $hosts = concat $hosts .Values.gateway.ingress.hosts }}
{{- end }}
{{- if .Values.gateway.httpRoute.enabled }}
{{- $hosts = concat $hosts (.Values.gateway.httpRoute.hostnames | default (list "*")) }}
{{- end }}
{{- with get .Values.gateway.env "HELIOGRAPH_GATEWAY_ALLOWED_HOSTS" }}
{{- $hosts = append $hosts . }}
{{- end }}
{{- $hosts | uniq | join "," }}
{{- end }}

{{/* Seconds that the longest request takes: held, then drawn. */}}
{{- define "heliograph.gateway.longest" -}}
{{ add .Values.gateway.hold.seconds .Values.runtime.requestSeconds }}
{{- end }}

{{/* Seconds after which what stands before the gateway may give a request up: the gateway's own answer comes first. */}}
{{- define "heliograph.gateway.patience" -}}
{{ add (include "heliograph.gateway.longest" .) 30 }}
{{- end }}

{{/* Largest body of a request in bytes. */}}
{{- define "heliograph.gateway.bodyBytes" -}}
{{ get .Values.gateway.env "HELIOGRAPH_GATEWAY_MAX_BODY_BYTES" | default "67108864" }}
{{- end }}

{{/* Largest sum of the bodies that are kept in files, in bytes. */}}
{{- define "heliograph.gateway.spooledBytes" -}}
{{ get .Values.gateway.env "HELIOGRAPH_GATEWAY_MAX_SPOOLED_BYTES" | default "4294967296" }}
{{- end }}

{{/* Most replicas that there may be. */}}
{{- define "heliograph.gateway.most" -}}
{{ .Values.gateway.autoscaling.enabled | ternary .Values.gateway.autoscaling.maxReplicas .Values.gateway.replicas }}
{{- end }}
