{{/* Name of everything: the release's, which says "switchback" already or gets it. */}}
{{- define "switchback.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "switchback" .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-switchback" (.Release.Name | trunc 41 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "switchback.selector" -}}
app.kubernetes.io/name: switchback
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "switchback.labels" -}}
{{ include "switchback.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end -}}

{{- define "switchback.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "switchback.name" .) -}}
{{- end -}}

{{/* The controller as the API server names it. */}}
{{- define "switchback.user" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "switchback.serviceAccount" .) -}}
{{- end -}}

{{/* Whoever says that CRDs need not be kept has said what the policy on deleting them asks for. */}}
{{- define "switchback.crdMetadata" }}  annotations:
    {{ .Values.crds.keep | ternary "helm.sh/resource-policy: keep" "switchback.dev/allow-delete: \"true\"" }}
  labels:
    {{- include "switchback.labels" . | nindent 4 }}
{{- end -}}

{{/* What the controller is called in bindings. */}}
{{- define "switchback.subjects" -}}
- kind: ServiceAccount
  name: {{ include "switchback.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* Reference of an image: a list of its values and the chart's version of the programs. */}}
{{- define "switchback.image" -}}
{{- $image := index . 0 -}}
{{- if $image.registry -}}{{ $image.registry }}/{{- end -}}
{{- $image.repository }}:{{ $image.tag | default (index . 1) -}}
{{- if $image.digest -}}@{{ $image.digest }}{{- end -}}
{{- end -}}

{{/*
What the controller does in a namespace that it serves: each verb is one that it uses, and nothing else is granted.
Nothing on secrets, pods/exec, pods/log, tokens and roles.
*/}}
{{- define "switchback.rules" -}}
- apiGroups: [switchback.dev]
  resources: [releases]
  verbs: [get, list, watch, patch] # patch: its finalizer; the fence policy refuses a changed spec
- apiGroups: [switchback.dev]
  resources: [databasebackups]
  # patch: the finalizer by which a Release holds it; delete: one that is not complete when its attempt ends
  verbs: [create, get, list, watch, patch, delete]
- apiGroups: [switchback.dev]
  resources: [releasepolicies, databaseinstances, backupstorages]
  verbs: [list, watch]
- apiGroups: [switchback.dev]
  resources: [releases/status, releasepolicies/status, decisions/status, databaseinstances/status, backupstorages/status, databasebackups/status]
  verbs: [patch]
- apiGroups: [switchback.dev]
  resources: [decisions]
  verbs: [get, list, watch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [create, get, list, watch, patch, delete]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list] # whether one of a stopped worker could still make a pod
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [create, get, list, watch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [create, get, list, watch, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  # those of its revisions; patch: their owners, when they shall outlive it; no list: the others are not its business
  verbs: [create, get, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [create, get, list, watch, patch, delete] # patch: those that write are made suspended
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [create, list, watch] # create: dry runs only, by the fence policy
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
