{{/* The name of what belongs to the release. */}}
{{- define "logsidecar.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "logsidecar.account" -}}
{{- default (include "logsidecar.name" .) .Values.serviceAccount.name }}
{{- end }}

{{/* What Deployments and their pods are known by. */}}
{{- define "logsidecar.selector" -}}
app.kubernetes.io/name: logsidecar
{{- if ne (include "logsidecar.name" .) "logsidecar" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- end }}

{{- define "logsidecar.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* A Role where one namespace is watched, else a ClusterRole. */}}
{{- define "logsidecar.role" -}}
{{- if .Values.watchNamespace }}Role{{ else }}ClusterRole{{ end }}
{{- end }}
