{{- /* Name of the cluster-scoped objects. Without the name of the release, so that Helm refuses a second release: two
operators on one cluster would undo each other's work. */ -}}
{{- define "cloudrun-identity.clusterName" -}}
cloudrun-identity
{{- end -}}

{{- define "cloudrun-identity.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

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
{{- include "cloudrun-identity.labelsWith" (list . dict) -}}
{{- end -}}

{{- /* Labels of an object. Arguments: the context, and the labels of this object only. */ -}}
{{- define "cloudrun-identity.labelsWith" -}}
{{- $root := index . 0 -}}
{{- $standard := include "cloudrun-identity.standardLabels" $root | fromYaml -}}
{{- merge (dict) (index . 1) $root.Values.commonLabels $standard | toYaml -}}
{{- end -}}

{{- define "cloudrun-identity.standardLabels" -}}
{{ include "cloudrun-identity.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "cloudrun-identity.serviceAccountName" -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.name must name an existing service account, because serviceAccount.create is false" -}}
{{- end -}}
{{- default (include "cloudrun-identity.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- /* Endpoint of a ServiceMonitor or PodMonitor. Argument: the values of the monitor. */ -}}
{{- define "cloudrun-identity.endpoint" -}}
port: http
path: /metrics
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .endpoint }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Settings of the pod that the operator and `helm test` share. */ -}}
{{- define "cloudrun-identity.podSettings" -}}
serviceAccountName: {{ include "cloudrun-identity.serviceAccountName" . }}
automountServiceAccountToken: {{ .Values.automountServiceAccountToken }}
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.volumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Settings of the container that the operator and `helm test` share. */ -}}
{{- define "cloudrun-identity.containerSettings" -}}
image: {{ include "cloudrun-identity.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.containerSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.volumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
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
