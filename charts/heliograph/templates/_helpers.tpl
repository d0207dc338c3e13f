{{- define "heliograph.name" -}}
{{- /* A release may have dots in its name, which a Service may not. */ -}}
{{- .Release.Name | replace "." "-" | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "heliograph.selector" -}}
app.kubernetes.io/name: heliograph
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "heliograph.labels" -}}
{{ include "heliograph.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: heliograph
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "heliograph.image" -}}
{{ with .root.Values.image.registry }}{{ . }}/{{ end }}{{ .image }}{{ if not (contains "@" .image) }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/* Namespaces that are served, comma-separated; empty in cluster-wide mode. */}}
{{- define "heliograph.namespaces" -}}
{{- if not .Values.clusterWide -}}
{{ .Values.namespaces | default (list .Release.Namespace) | join "," }}
{{- end -}}
{{- end }}

{{- define "heliograph.gateway.scheme" -}}
{{ .Values.gateway.tls.secretName | empty | ternary "http" "https" }}
{{- end }}

{{/* Where the gateway is reached inside the cluster. */}}
{{- define "heliograph.gateway.url" -}}
{{ include "heliograph.gateway.scheme" . }}://{{ include "heliograph.name" . }}-gateway.{{ .Release.Namespace }}:{{ .Values.gateway.service.port }}
{{- end }}

{{- define "heliograph.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "heliograph.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/*
Which nodes the pods of a part may be on, and how much they matter; `most` is how many of them there may be. Without it, it
is for a pod beside them, for which what is said of pods among each other does not hold.
*/}}
{{- define "heliograph.placement" -}}
{{- $values := get .root.Values .component }}
{{- $affinity := hasKey . "most" | ternary $values.affinity (pick $values.affinity "nodeAffinity") }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if and $values.topologySpreadConstraints (hasKey . "most") }}
topologySpreadConstraints:
  {{- toYaml $values.topologySpreadConstraints | nindent 2 }}
{{- else if gt (int .most) 1 }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "heliograph.selector" . | nindent 8 }}
{{- end }}
{{- end }}

{{/* Labels of a part's pods that its Services and policies go by are not for values to set. */}}
{{- define "heliograph.checks.pods" -}}
{{- $own := include "heliograph.labels" . | fromYaml }}
{{- $component := .component }}
{{- range $name, $_ := (get .root.Values $component).podLabels }}
{{- if hasKey $own $name }}
{{- fail (printf "%s.podLabels: %s is a label of the chart's own; choose another name" $component $name) }}
{{- end }}
{{- end }}
{{- end }}

{{/*
How the pods of a Deployment are replaced. Every field is said, those of Kubernetes' defaults too: a server-side apply
takes away only what an earlier one has said, and Recreate is refused beside what is left of a rolling update.
*/}}
{{- define "heliograph.strategy" -}}
{{- if .recreate -}}
type: Recreate
{{- else -}}
type: RollingUpdate
rollingUpdate:
  maxSurge: 25%
  maxUnavailable: 25%
{{- end -}}
{{- end }}

{{/* Labels and annotations that a profile adds to pods of models are not those by which the operator finds them. */}}
{{- define "heliograph.checks.profiles" -}}
{{- $profiles := dict "runtime.gpuProfile" .Values.runtime.gpuProfile }}
{{- range $name, $profile := .Values.runtime.profiles }}
{{- $_ := set $profiles (printf "runtime.profiles.%s" $name) $profile }}
{{- end }}
{{- range $place, $profile := $profiles }}
{{- range $field := list "podLabels" "podAnnotations" }}
{{- range $name, $_ := get ($profile | default dict) $field | default dict }}
{{- if regexMatch "^(([^/]*\\.)?heliograph\\.dev(/.*)?|app\\.kubernetes\\.io/(name|component|managed-by))$" $name }}
{{- fail (printf "%s.%s: %s is the operator's own, which pods are found by; choose another name" $place $field $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A role's rules, granted in each served namespace or in the whole cluster. */}}
{{- define "heliograph.grant" -}}
{{- $root := .root }}
{{- $name := printf "%s-%s" (include "heliograph.name" $root) .component }}
{{- $scopes := $root.Values.clusterWide | ternary (list "") (include "heliograph.namespaces" $root | splitList ",") }}
{{- range $namespace := $scopes }}
{{- $kind := $namespace | empty | ternary "ClusterRole" "Role" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "heliograph.labels" $ | nindent 4 }}
rules:
  {{- $.rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "heliograph.labels" $ | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- end }}

{{- define "heliograph.operator.env" -}}
- name: HELIOGRAPH_OPERATOR_NAMESPACES
  value: {{ include "heliograph.namespaces" . | quote }}
- name: HELIOGRAPH_OPERATOR_RUNTIME_IMAGE_DIFFUSERS
  value: {{ include "heliograph.image" (dict "root" . "image" .Values.runtime.images.diffusers) }}
- name: HELIOGRAPH_OPERATOR_RUNTIME_IMAGE_SDCPP
  value: {{ include "heliograph.image" (dict "root" . "image" .Values.runtime.images.sdcpp) }}
- name: HELIOGRAPH_OPERATOR_RUNTIME_IMAGE_DIFFUSERS_CUDA
  value: {{ include "heliograph.image" (dict "root" . "image" .Values.runtime.images.diffusersCuda) }}
- name: HELIOGRAPH_OPERATOR_RUNTIME_IMAGE_SDCPP_CUDA
  value: {{ include "heliograph.image" (dict "root" . "image" .Values.runtime.images.sdcppCuda) }}
- name: HELIOGRAPH_OPERATOR_FETCHER_IMAGE
  value: {{ include "heliograph.image" (dict "root" . "image" .Values.weights.image) }}
- name: HELIOGRAPH_OPERATOR_FETCHER_RESOURCES
  value: {{ .Values.weights.resources | toJson | quote }}
- name: HELIOGRAPH_OPERATOR_FETCHER_ENV
  value: {{ .Values.weights.env | toJson | quote }}
- name: HELIOGRAPH_OPERATOR_FETCHER_SECRET
  value: {{ .Values.weights.envSecret | quote }}
{{- with .Values.weights.caConfigMap }}
{{- if .name }}
- name: HELIOGRAPH_OPERATOR_FETCHER_CA_CONFIG_MAP
  value: {{ .name | quote }}
- name: HELIOGRAPH_OPERATOR_FETCHER_CA_KEY
  value: {{ .key | quote }}
{{- end }}
{{- end }}
- name: HELIOGRAPH_OPERATOR_FETCH_RETRY_SECONDS
  value: {{ .Values.weights.retrySeconds | quote }}
- name: HELIOGRAPH_OPERATOR_CACHE_MODE
  value: {{ .Values.weights.cache.mode }}
- name: HELIOGRAPH_OPERATOR_CACHE_STORAGE_CLASS
  value: {{ .Values.weights.cache.storageClass | quote }}
- name: HELIOGRAPH_OPERATOR_CACHE_SIZE
  value: {{ .Values.weights.cache.size }}
- name: HELIOGRAPH_OPERATOR_CACHE_SHARED_SIZE
  value: {{ .Values.weights.cache.sharedSize }}
- name: HELIOGRAPH_OPERATOR_CACHE_SHARED_CLAIM
  value: {{ .Values.weights.cache.sharedClaim | quote }}
- name: HELIOGRAPH_OPERATOR_IMAGE_PULL_POLICY
  value: {{ .Values.image.pullPolicy }}
{{- $secrets := list }}
{{- range .Values.imagePullSecrets }}
{{- $secrets = append $secrets .name }}
{{- end }}
{{- with $secrets }}
- name: HELIOGRAPH_OPERATOR_IMAGE_PULL_SECRETS
  value: {{ . | join "," | quote }}
{{- end }}
- name: HELIOGRAPH_OPERATOR_RUNTIME_RESOURCES
  value: {{ .Values.runtime.resources | toJson | quote }}
{{- with .Values.runtime.gpuProfile }}
- name: HELIOGRAPH_OPERATOR_GPU_PROFILE
  value: {{ . | toJson | quote }}
{{- end }}
{{- with .Values.runtime.profiles }}
- name: HELIOGRAPH_OPERATOR_PROFILES
  value: {{ . | toJson | quote }}
{{- end }}
- name: HELIOGRAPH_OPERATOR_GATEWAY_POD_LABELS
  value: {{ include "heliograph.selector" (dict "root" . "component" "gateway") | fromYaml | toJson | quote }}
- name: HELIOGRAPH_OPERATOR_GATEWAY_NAMESPACE_LABELS
  value: {{ dict "kubernetes.io/metadata.name" .Release.Namespace | toJson | quote }}
{{- with .Values.tracing.env }}
- name: HELIOGRAPH_OPERATOR_TRACING_ENV
  value: {{ . | toJson | quote }}
{{- end }}
{{- with .Values.tracing.collectorPodLabels }}
- name: HELIOGRAPH_OPERATOR_COLLECTOR_POD_LABELS
  value: {{ . | toJson | quote }}
{{- end }}
{{- with .Values.tracing.collectorNamespaceLabels }}
- name: HELIOGRAPH_OPERATOR_COLLECTOR_NAMESPACE_LABELS
  value: {{ . | toJson | quote }}
{{- end }}
- name: HELIOGRAPH_OPERATOR_OPERATOR_POD_LABELS
  value: {{ include "heliograph.selector" (dict "root" . "component" "operator") | fromYaml | toJson | quote }}
- name: HELIOGRAPH_OPERATOR_OPERATOR_NAMESPACE_LABELS
  value: {{ dict "kubernetes.io/metadata.name" .Release.Namespace | toJson | quote }}
{{- with .Values.runtime.network }}
{{- with .scraperPodLabels }}
- name: HELIOGRAPH_OPERATOR_METRICS_POD_LABELS
  value: {{ . | toJson | quote }}
{{- end }}
{{- with .scraperNamespaceLabels }}
- name: HELIOGRAPH_OPERATOR_METRICS_NAMESPACE_LABELS
  value: {{ . | toJson | quote }}
{{- end }}
{{- with .probeRanges }}
- name: HELIOGRAPH_OPERATOR_PROBE_NETWORKS
  value: {{ . | join "," | quote }}
{{- end }}
{{- with .fetcherBlockedRanges }}
- name: HELIOGRAPH_OPERATOR_FETCHER_BLOCKED_NETWORKS
  value: {{ . | join "," | quote }}
{{- end }}
- name: HELIOGRAPH_OPERATOR_FETCHER_REACHES_PODS
  value: {{ .fetcherReachesPods | quote }}
{{- end }}
- name: HELIOGRAPH_OPERATOR_ROLLOUT
  value: {{ .Values.runtime.rollout }}
- name: HELIOGRAPH_OPERATOR_RUNTIME_REQUEST_SECONDS
  value: {{ .Values.runtime.requestSeconds | int64 | quote }}
- name: HELIOGRAPH_OPERATOR_GATEWAY_SERVICE
  value: {{ .Release.Namespace }}/{{ include "heliograph.name" . }}-gateway-load
- name: HELIOGRAPH_OPERATOR_AUTOSCALE_SECONDS
  value: {{ .Values.operator.autoscaling.seconds | quote }}
- name: HELIOGRAPH_OPERATOR_HANDOVER
  value: {{ .Values.operator.handover.enabled | quote }}
- name: HELIOGRAPH_OPERATOR_HANDOVER_RESIDENCE_SECONDS
  value: {{ .Values.operator.handover.residenceSeconds | quote }}
- name: HELIOGRAPH_OPERATOR_HANDOVER_ACROSS_NAMESPACES
  value: {{ .Values.operator.handover.acrossNamespaces | quote }}
- name: HELIOGRAPH_OPERATOR_SCALE_DOWN_SECONDS
  value: {{ .Values.operator.autoscaling.scaleDownSeconds | quote }}
- name: HELIOGRAPH_OPERATOR_RESYNC_SECONDS
  value: {{ .Values.operator.resyncSeconds | quote }}
- name: HELIOGRAPH_OPERATOR_HEALTH_PORT
  value: "8081"
{{- if gt (int .Values.operator.replicas) 1 }}
- name: HELIOGRAPH_OPERATOR_LEASE
  value: "true"
- name: HELIOGRAPH_OPERATOR_LEASE_NAMESPACE
  value: {{ .Release.Namespace }}
- name: HELIOGRAPH_OPERATOR_LEASE_NAME
  value: {{ include "heliograph.name" . }}-operator
{{- end }}
{{- end }}
