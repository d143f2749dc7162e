{{/* The name of everything in a release. It becomes part of host names. */}}
{{- define "myelin.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "myelin.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "myelin.labels" -}}
{{ include "myelin.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* 22 characters of base64 that are the same at every rendering: the form of
     Kafka's ids. Sixteen digits of a hash are their sixteen bytes. */}}
{{- define "myelin.id" -}}
{{- sha256sum . | trunc 16 | b64enc | trimSuffix "==" -}}
{{- end -}}

{{- define "myelin.cluster" -}}
{{- .Values.clusterId | default (include "myelin.id" (printf "%s/%s" .Release.Namespace .Release.Name)) -}}
{{- end -}}

{{/* The domain in which each pod has its own name. */}}
{{- define "myelin.domain" -}}
{{- printf "%s-nodes.%s.svc.%s" (include "myelin.name" .) .Release.Namespace .Values.clusterDomain -}}
{{- end -}}

{{/* Where controllers are found: host:port of every node. */}}
{{- define "myelin.controllers" -}}
{{- $all := list -}}
{{- range $i := until (int .Values.nodes) -}}
{{- $all = append $all (printf "%s-%d.%s:9093" (include "myelin.name" $) $i (include "myelin.domain" $)) -}}
{{- end -}}
{{- join "," $all -}}
{{- end -}}

{{/* The first voters: id@host:port:directory of every node. Equal on all. */}}
{{- define "myelin.voters" -}}
{{- $all := list -}}
{{- range $i := until (int .Values.nodes) -}}
{{- $directory := include "myelin.id" (printf "%s/%d" (include "myelin.cluster" $) $i) -}}
{{- $all = append $all (printf "%d@%s-%d.%s:9093:%s" $i (include "myelin.name" $) $i (include "myelin.domain" $) $directory) -}}
{{- end -}}
{{- join "," $all -}}
{{- end -}}
