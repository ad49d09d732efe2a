{{/* Name of the application. */}}
{{- define "stowage.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the release's objects: the release's, and the chart's where that is not part of it. */}}
{{- define "stowage.fullname" -}}
{{- $name := include "stowage.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that find the pods. */}}
{{- define "stowage.selectorLabels" -}}
app.kubernetes.io/name: {{ include "stowage.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels and annotations of every object. */}}
{{- define "stowage.metadata" -}}
labels:
  {{- include "stowage.selectorLabels" . | nindent 2 }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
  {{- with .Values.additionalLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.additionalAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "stowage.serviceAccountName" -}}
{{- $own := ternary (include "stowage.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $own -}}
{{- end -}}

{{- define "stowage.image" -}}
{{- with .Values.controller.image -}}
{{- .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ with .digest }}@{{ . }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The account that roles are bound to. */}}
{{- define "stowage.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "stowage.serviceAccountName" . }}
    namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* Terms about other pods mean those of the chart where they say nothing else. Takes root and terms, changes the terms. */}}
{{- define "stowage.selectOwn" -}}
{{- $own := include "stowage.selectorLabels" .root | fromYaml -}}
{{- range .terms -}}
{{- if not (hasKey . "labelSelector") -}}
{{- $_ := set . "labelSelector" (dict "matchLabels" $own) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "stowage.affinity" -}}
{{- $affinity := deepCopy .Values.affinity -}}
{{- range $kind := list "podAffinity" "podAntiAffinity" -}}
{{- with index $affinity $kind -}}
{{- include "stowage.selectOwn" (dict "root" $ "terms" .requiredDuringSchedulingIgnoredDuringExecution) -}}
{{- range .preferredDuringSchedulingIgnoredDuringExecution -}}
{{- include "stowage.selectOwn" (dict "root" $ "terms" (list .podAffinityTerm)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end -}}

{{- define "stowage.spread" -}}
{{- $constraints := deepCopy .Values.topologySpreadConstraints -}}
{{- include "stowage.selectOwn" (dict "root" . "terms" $constraints) -}}
{{- toYaml $constraints -}}
{{- end -}}

{{/* Feature gates as one text: Name=true,Other=false. */}}
{{- define "stowage.gates" -}}
{{- $gates := list -}}
{{- range $name, $on := . -}}
{{- $gates = append $gates (printf "%s%s=%t" (substr 0 1 $name | upper) (substr 1 -1 $name) $on) -}}
{{- end -}}
{{- join "," $gates -}}
{{- end -}}
