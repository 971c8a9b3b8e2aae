{{- define "cloudrun-identity.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "cloudrun-identity.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "cloudrun-identity.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "cloudrun-identity.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "cloudrun-identity.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cloudrun-identity.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cloudrun-identity.labels" -}}
{{ include "cloudrun-identity.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "cloudrun-identity.serviceAccountName" -}}
{{- default (include "cloudrun-identity.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "cloudrun-identity.image" -}}
{{- $repository := required "image.repository must be set to the repository of the operator's image" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* Not empty if the operator has access to the Secrets of every namespace. */ -}}
{{- define "cloudrun-identity.keysEverywhere" -}}
{{- if and .Values.keys.enabled (has "*" .Values.keys.namespaces) -}}true{{- end -}}
{{- end -}}

{{- /* Namespaces with access to Secrets, as a JSON array; empty for all namespaces and for none. */ -}}
{{- define "cloudrun-identity.keyNamespaces" -}}
{{- if and .Values.keys.enabled (not .Values.keys.namespaces) -}}
{{- fail "keys.namespaces must list the namespaces of the IdentityKeys, because keys.enabled is true; [\"*\"] gives the operator access to the Secrets of every namespace" -}}
{{- end -}}
{{- if and .Values.keys.enabled (not (has "*" .Values.keys.namespaces)) -}}
{{- .Values.keys.namespaces | uniq | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}
