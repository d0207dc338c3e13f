{{/* The catalogue as YAML: entries by name. */}}
{{- define "heliograph-models.catalogue" -}}
{{- range $path, $_ := .Files.Glob "files/models/*.yaml" }}
{{ $.Files.Get $path }}
{{- end }}
{{- end }}

{{/* Names of the models to serve, as a YAML list; one that the catalogue does not have is an error. */}}
{{- define "heliograph-models.enabled" -}}
{{- $catalogue := .catalogue }}
{{- $own := .root.Values.models | default dict }}
{{- $names := list }}
{{- range concat (.root.Values.enabled | default list) (keys $own | sortAlpha) | uniq }}
{{- if not (hasKey $catalogue .) }}
{{- fail (printf "%s is no model of the catalogue; docs/models.md lists them, and `helm show readme` says more" .) }}
{{- end }}
{{- $said := get $own . | default dict }}
{{- if hasKey $said "enabled" | ternary $said.enabled (has . $.root.Values.enabled) }}
{{- $names = append $names . }}
{{- end }}
{{- end }}
{{- $names | sortAlpha | toYaml }}
{{- end }}

{{/*
Size of the volume for a download with a fifth to spare, where that is more than a volume has unless the ImageModel says
it; nothing where it is no more, where the size is said already, and where the volume is not the model's own.
*/}}
{{- define "heliograph-models.cacheSize" -}}
{{- $default := .root.Values.weights.cache }}
{{- $isOwn := ne (.cache.mode | default $default.mode) "sharedRWX" }}
{{- if and .entry.downloadGB $isOwn (not .cache.size) (not .cache.existingClaim) }}
{{- $needed := divf (mulf .entry.downloadGB 1.2 1e9) 1073741824 | ceil | int }}
{{- if gt $needed ($default.size | trimSuffix "Gi" | int) -}}
{{ $needed }}Gi
{{- end }}
{{- end }}
{{- end }}
