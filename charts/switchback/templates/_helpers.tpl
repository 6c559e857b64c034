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
- apiGroups: [""]
  resources: [resourcequotas, limitranges]
  verbs: [list] # whether two versions fit beside each other
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list] # whether one says who may reach the database
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [create, get, list, patch, delete] # list: who else's holds for the same pods
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [create, get, list, watch, patch, delete] # list: who else scales what is ours, too
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

{{/* Where the pages on alerts are. */}}
{{- define "switchback.runbook" -}}
{{ printf "%s/%s.md" (trimSuffix "/" (index . 0).Values.prometheusRule.runbooks) (index . 1) }}
{{- end -}}

{{/* What somebody should be called for. Braces of Prometheus' own are written as text. */}}
{{- define "switchback.alerts" -}}
- alert: SwitchbackNoLeader
  expr: (sum(switchback_leader) or vector(0)) < 1
  for: 2m
  labels: { severity: critical }
  annotations:
    summary: No Switchback controller works
    description: Nothing is released, and nothing goes back by itself. What serves goes on serving.
    runbook_url: {{ include "switchback.runbook" (list . "no-leader") }}
- alert: SwitchbackTwoLeaders
  expr: sum(switchback_leader) > 1
  for: 1m
  labels: { severity: warning }
  annotations:
    summary: More than one Switchback controller works
    description: Either two installs serve this cluster, or an election is switched off.
    runbook_url: {{ include "switchback.runbook" (list . "two-leaders") }}
- alert: SwitchbackActiveUnhealthy
  expr: sum by (namespace) (switchback_release_condition{condition="Ready", reason=~"ActiveUnhealthy|BothUnhealthy"}) > 0
  for: 3m
  labels: { severity: critical }
  annotations:
    summary: 'A version that serves users in {{ "{{ $labels.namespace }}" }} is not well'
    description: It lacks pods that are ready, and nothing goes back by itself.
    runbook_url: {{ include "switchback.runbook" (list . "active-unhealthy") }}
- alert: SwitchbackOnHold
  expr: sum by (namespace) (switchback_release_condition{condition="Ready", reason="WatchOnHold"}) > 0
  for: 5m
  labels: { severity: warning }
  annotations:
    summary: 'A watch window in {{ "{{ $labels.namespace }}" }} does not end by itself'
    description: A check cannot tell. The former version stays at full size, ready to take traffic back.
    runbook_url: {{ include "switchback.runbook" (list . "on-hold") }}
- alert: SwitchbackTrafficContested
  expr: sum by (namespace) (switchback_release_condition{condition="TrafficContested"}) > 0
  for: 2m
  labels: { severity: critical }
  annotations:
    summary: 'Somebody else writes the selector of a Service in {{ "{{ $labels.namespace }}" }}'
    description: Users may meet another version, or nothing, each time until it is put back.
    runbook_url: {{ include "switchback.runbook" (list . "traffic-contested") }}
- alert: SwitchbackReleaseStalled
  expr: sum by (namespace, reason) (switchback_release_condition{condition="Stalled"}) > 0
  for: 5m
  labels: { severity: warning }
  annotations:
    summary: 'A release in {{ "{{ $labels.namespace }}" }} ended badly: {{ "{{ $labels.reason }}" }}'
    description: What served before serves on. It is not tried again by itself.
    runbook_url: {{ include "switchback.runbook" (list . "release-stalled") }}
- alert: SwitchbackWayBackSlow
  expr: histogram_quantile(0.99, sum by (le) (rate(switchback_way_back_seconds_bucket[1h]))) > 0.5
  labels: { severity: warning }
  annotations:
    summary: Traffic goes back slowly
    description: From the event to the answered patch it took more than half a second.
    runbook_url: {{ include "switchback.runbook" (list . "way-back-slow") }}
- alert: SwitchbackErrors
  expr: sum by (kind) (rate(switchback_reconciles_total{result="error"}[10m])) > 0.2
  for: 10m
  labels: { severity: warning }
  annotations:
    summary: 'Switchback fails at objects of kind {{ "{{ $labels.kind }}" }} again and again'
    description: Its log names the objects and the API server's answers.
    runbook_url: {{ include "switchback.runbook" (list . "errors") }}
- alert: SwitchbackPanicked
  expr: sum by (kind) (increase(switchback_reconciles_total{result="panic"}[30m])) > 0
  labels: { severity: warning }
  annotations:
    summary: 'Switchback cannot work on an object of kind {{ "{{ $labels.kind }}" }}'
    description: That is a fault of ours. The object does not go on, and no other is kept by it.
    runbook_url: {{ include "switchback.runbook" (list . "panicked") }}
- alert: SwitchbackWatchesFail
  expr: (sum(increase(switchback_watch_failures_total[10m])) > 20) or (min(switchback_caches_filled) < 1)
  for: 5m
  labels: { severity: warning }
  annotations:
    summary: Switchback does not see what happens
    description: Its watches fail, or have not listed yet. It may react late, or not at all.
    runbook_url: {{ include "switchback.runbook" (list . "watches-fail") }}
- alert: SwitchbackQueueLong
  expr: max(switchback_queue_waiting) > 100
  for: 10m
  labels: { severity: warning }
  annotations:
    summary: Many Releases wait for their turn
    description: Eight are worked on at once. What may have to go back comes first all the same.
    runbook_url: {{ include "switchback.runbook" (list . "queue-long") }}
{{- if .Values.prometheusRule.backupOlderThanSeconds }}
- alert: SwitchbackBackupOld
  expr: time() - max by (namespace, database) (switchback_backup_taken_timestamp_seconds) > {{ .Values.prometheusRule.backupOlderThanSeconds }}
  for: 15m
  labels: { severity: warning }
  annotations:
    summary: 'The newest proven backup of database {{ "{{ $labels.namespace }}/{{ $labels.database }}" }} is old'
    description: What was written since would be lost with the database.
    runbook_url: {{ include "switchback.runbook" (list . "backup-old") }}
{{- end }}
{{- end -}}
