{{- /*
A ValidatingAdmissionPolicy and its binding, up to the variables that all policies share. Arguments:
root       context of the chart
name       last part of the policy's name
resources  plurals of the kinds that it checks
adds       CEL expression that is true if an edit adds something to check; if unset, edits are not checked
*/ -}}
{{- define "cloudrun-identity.admissionPolicy" -}}
{{- $name := printf "%s-%s" (include "cloudrun-identity.clusterName" .root) .name }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "cloudrun-identity.labels" .root | nindent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: {{ toJson .root.Values.admissionPolicy.validationActions }}
  paramRef:
    selector: {}
    parameterNotFoundAction: Allow
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $name }}
  labels:
    {{- include "cloudrun-identity.labels" .root | nindent 4 }}
spec:
  failurePolicy: Ignore
  paramKind:
    apiVersion: cloudrun-identity.dev/v1alpha1
    kind: ManagedProject
  matchConstraints:
    resourceRules:
      - apiGroups: [cloudrun-identity.dev]
        apiVersions: [v1alpha1]
        operations: [CREATE, UPDATE]
        resources: {{ toJson .resources }}
  matchConditions:
    - name: names-this-project
      expression: "object.spec.projectRef.name == params.metadata.name"
    - name: is-not-suspended
      expression: "!params.spec.?suspend.orValue(false) && !object.spec.?suspend.orValue(false)"
    - name: is-not-being-deleted
      expression: "!has(object.metadata.deletionTimestamp)"
    - name: adds-something
      expression: >-
        request.operation == 'CREATE' || oldObject.spec.?suspend.orValue(false)
        {{- with .adds }}
        || {{ . }}
        {{- end }}
  variables:
    - name: isEdit
      expression: "request.operation == 'UPDATE' && !oldObject.spec.?suspend.orValue(false)"
    - name: name
      expression: "namespaceObject.metadata.name"
    - name: project
      expression: "'ManagedProject ' + params.metadata.name"
    - name: names
      expression: "params.spec.?namespaces.?names.orValue([])"
    - name: isDedicated
      # Exactly one namespace may use the project, so that entries may omit namespaces.
      expression: "size(variables.names) == 1 && !params.spec.?namespaces.?selector.hasValue()"
{{- end -}}

{{- /*
CEL: a text matches a pattern of the guardrails, in which `*` matches any run of characters. Arguments: the text and
the pattern, as CEL. The regular expression quotes everything else with \Q and \E.
*/ -}}
{{- define "cloudrun-identity.celMatches" -}}
{{- $text := index . 0 }}{{ $pattern := index . 1 -}}
{{ $text }}.matches(r'(?s)^\Q' + {{ $pattern }}.replace(r'\E', r'\E\\E\Q').replace('*', r'\E.*\Q') + r'\E$')
{{- end -}}

{{- /* CEL: the namespaces of an entry, given as a CEL optional, contain the object's namespace. */ -}}
{{- define "cloudrun-identity.celIsFor" -}}
{{ . }}.hasValue()
? {{ . }}.orValue([]).exists(pattern, {{ include "cloudrun-identity.celMatches" (list "variables.name" "pattern") }})
: variables.isDedicated
{{- end -}}

{{- /* Variables about the use of the workload `variables.target`. */ -}}
{{- define "cloudrun-identity.celWorkloads" -}}
- name: workloads
  expression: "params.spec.?guardrails.?workloads.orValue([])"
- name: isWorkload
  expression: "variables.target.?kind.orValue('') in ['Service', 'Job', 'WorkerPool']"
- name: mayUseWorkload
  # While the list is empty, the decision depends on the namespaces that exist.
  expression: >-
    size(variables.workloads) == 0 || variables.workloads.exists(entry,
      variables.target.kind in entry.?kinds.orValue(['Service', 'Job', 'WorkerPool'])
      && entry.?locations.orValue(['*']).exists(pattern, {{ include "cloudrun-identity.celMatches" (list "variables.target.location" "pattern") }})
      && entry.?names.orValue(['*']).exists(pattern, {{ include "cloudrun-identity.celMatches" (list "variables.target.name" "pattern") }})
      && ({{ include "cloudrun-identity.celIsFor" "entry.?namespaces" | replace "\n" " " }}))
{{- end -}}

{{- define "cloudrun-identity.celWorkloadRule" -}}
- expression: "!variables.isWorkload || variables.mayUseWorkload"
  reason: Forbidden
  messageExpression: >-
    'guardrails.workloads of ' + variables.project + ' does not admit ' + variables.target.kind + ' '
    + variables.target.location + '/' + variables.target.name + ' for namespace ' + variables.name
{{- end -}}
