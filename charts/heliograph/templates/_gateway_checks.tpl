{{/* What the schema cannot say of the gateway's values: each message names the value, the problem and the remedy. */}}
{{- define "heliograph.gateway.checks" -}}
{{- include "heliograph.gateway.checks.state" . }}
{{- include "heliograph.gateway.checks.scale" . }}
{{- include "heliograph.gateway.checks.service" . }}
{{- include "heliograph.gateway.checks.ways" . }}
{{- include "heliograph.gateway.checks.env" . }}
{{- include "heliograph.checks.pods" (dict "root" . "component" "gateway") }}
{{- end }}

{{- define "heliograph.gateway.checks.state" -}}
{{- $data := .Values.gateway.data }}
{{- $database := .Values.gateway.database.urlSecret.name }}
{{- $files := .Values.gateway.files }}
{{- $shared := and $data.existingClaim $data.readWriteMany }}
{{- $most := include "heliograph.gateway.most" . | int }}
{{- $value := .Values.gateway.autoscaling.enabled | ternary "gateway.autoscaling.maxReplicas" "gateway.replicas" }}
{{- $instead := .Values.gateway.autoscaling.enabled | ternary "turn gateway.autoscaling.enabled off" "set 1" }}
{{- if gt $most 1 }}
{{- if not $database }}
{{- fail (printf "%s: %d replicas would each keep jobs, quotas and links that the others do not know; name the Secret of a PostgreSQL database in gateway.database.urlSecret, or %s" $value $most $instead) }}
{{- end }}
{{- if not (or $files.url $shared) }}
{{- fail (printf "%s: %d replicas would each keep files that the others do not have; name a bucket in gateway.files.url, or a ReadWriteMany claim in gateway.data.existingClaim with gateway.data.readWriteMany, or %s" $value $most $instead) }}
{{- end }}
{{- end }}
{{- if and $database (not .Values.gateway.signingKeySecret.name) }}
{{- fail "gateway.signingKeySecret.name: is empty, and gateways that share a database must sign links alike; name a Secret with a key of 16 bytes or more" }}
{{- end }}
{{- if and $files.url (not (or $database $data.existingClaim)) }}
{{- fail "gateway.files.url: the list of the files would go with the pod, and the files in the bucket would stay for ever; set gateway.database.urlSecret or gateway.data.existingClaim" }}
{{- end }}
{{- if and $files.secretRef (not $files.url) }}
{{- fail "gateway.files.secretRef: is for a bucket, and gateway.files.url names none" }}
{{- end }}
{{- if not (regexMatch "^[1-9][0-9]{0,5}Gi$" (toString $data.size)) }}
{{- fail (printf "gateway.data.size: %v is no number of whole Gi; write one such as 10Gi" $data.size) }}
{{- end }}
{{- end }}

{{- define "heliograph.gateway.checks.scale" -}}
{{- with .Values.gateway.autoscaling }}
{{- if .enabled }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{- fail (printf "gateway.autoscaling.minReplicas: %v is more than maxReplicas, which is %v; lower the one or raise the other" .minReplicas .maxReplicas) }}
{{- end }}
{{- if not (dig "requests" "cpu" "" ($.Values.gateway.resources | default dict)) }}
{{- fail "gateway.resources.requests.cpu: is empty, and gateway.autoscaling measures CPU time in percent of it; set one such as 100m" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "heliograph.gateway.checks.service" -}}
{{- with .Values.gateway.service }}
{{- if ne .type "LoadBalancer" }}
{{- range $value := list "loadBalancerClass" "loadBalancerSourceRanges" }}
{{- if get $.Values.gateway.service $value }}
{{- fail (printf "gateway.service.%s: is for the type LoadBalancer, and gateway.service.type is %s; set that, or leave this empty" $value $.Values.gateway.service.type) }}
{{- end }}
{{- end }}
{{- end }}
{{- if eq .type "ClusterIP" }}
{{- range $value := list "nodePort" "externalTrafficPolicy" }}
{{- if get $.Values.gateway.service $value }}
{{- fail (printf "gateway.service.%s: is for the types NodePort and LoadBalancer, and gateway.service.type is ClusterIP; set one of those, or leave this empty" $value) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "heliograph.gateway.checks.ways" -}}
{{- with .Values.gateway }}
{{- if and .ingress.enabled (not .ingress.hosts) }}
{{- fail "gateway.ingress.hosts: is empty; name the host that clients ask, such as images.example.org, or * for every host that no other Ingress has" }}
{{- end }}
{{- if and .httpRoute.enabled (not .httpRoute.parentRefs) }}
{{- fail "gateway.httpRoute.parentRefs: is empty; name the Gateway that leads here, such as [{name: public, namespace: gateways}]" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "heliograph.gateway.checks.env" -}}
{{- $secrets := dict "HELIOGRAPH_GATEWAY_API_KEY" "gateway.apiKeySecret" "HELIOGRAPH_GATEWAY_DATABASE_URL" "gateway.database.urlSecret" "HELIOGRAPH_GATEWAY_SIGNING_KEY" "gateway.signingKeySecret" }}
{{- $seen := dict }}
{{- range include "heliograph.gateway.env" . | fromYamlArray }}
{{- if and (hasKey $.Values.gateway.env .name) (hasKey $secrets .name) }}
{{- fail (printf "gateway.env.%s: is a secret, which whoever may read Deployments would read; name a Secret in %s" .name (get $secrets .name)) }}
{{- end }}
{{- if hasKey $seen .name }}
{{- fail (printf "gateway.env.%s: is set by the chart; change the value that it is made of (docs/values.md), and leave this out" .name) }}
{{- end }}
{{- $_ := set $seen .name true }}
{{- end }}
{{- range $name := list "HELIOGRAPH_GATEWAY_MAX_BODY_BYTES" "HELIOGRAPH_GATEWAY_MAX_SPOOLED_BYTES" }}
{{- with get $.Values.gateway.env $name }}
{{- if not (regexMatch "^[1-9][0-9]{0,14}$" .) }}
{{- fail (printf "gateway.env.%s: %s is no number of bytes; write one such as 134217728" $name .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
