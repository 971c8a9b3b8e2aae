"""Guardrails and objects of which each pair is a case, and the decisions of the operator about them."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import yaml

from cloudrun_identity.api import (
    API_VERSION,
    CloudRunIdentity,
    CustomRole,
    IAMBinding,
    IdentityAttachment,
    IdentityKey,
    ManagedProject,
    TargetKind,
)
from cloudrun_identity.iam.admission import (
    Decision,
    Denied,
    GuardrailFacts,
    may_be_called,
    may_have_role_id,
    may_make_keys,
    may_use_project,
    may_use_workload,
)
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import IAMCondition, Target
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.namespace_selection import admitted_namespaces
from cloudrun_identity.iam.role_permissions import may_define
from cloudrun_identity.reconcile.grants.targets import ResolvedTarget, resolve_target
from tests.unit.controllers.cluster_state import FakeClusterState

Manifest = dict[str, Any]

NAMESPACES: Mapping[str, Mapping[str, str]] = {
    "payments": {"team": "payments", "tier": "prod"},
    "payments-test": {"team": "payments"},
    "mallory": {"team": "mallory", "tier": "prod"},
    "outside": {},
}
"""Namespaces of the objects, with their labels. No ManagedProject admits `outside`."""

_GUARDRAILS = """
nothing: {}
keys-without-namespaces: {keys: Allowed}
keys: {keys: Allowed, keyNamespaces: ["payments*"]}
keys-of-others: {keys: Allowed, keyNamespaces: [mallory]}
keys-denied: {keys: Denied, keyNamespaces: ["*"]}
workloads:
  workloads:
  - {namespaces: [payments], kinds: [Service], locations: [europe-west1], names: ["check*out"]}
  - {namespaces: ["*"], names: ["web-*"]}
  - {kinds: [Job]}
naming: {naming: {accountIDPattern: "pay-*-sa", requireDisplayName: true, requireDescription: true}}
special-characters:
  naming: {accountIDPattern: 'a.c[d]\\E*', roleIDPattern: 'pay.runner\\E*'}
  workloads: [{namespaces: ["p.yments", "(mallory)"], names: ["check.ut"]}]
  customRoles: {permissions: ["run.jobs.*", '\\Q*'], namespaces: ["*"]}
roles-with-domains:
  customRoles: {permissions: ["iam.workload*.get", "iam.googleapis.com/oauthClients.*"], namespaces: ["*"]}
roles: {customRoles: {permissions: ["run.*.get", "run.jobs.run"], namespaces: [payments]}}
role-ids: {naming: {roleIDPattern: "pay*.runner"}, customRoles: {permissions: ["run.*"], namespaces: ["*"]}}
roles-without-namespaces: {customRoles: {permissions: ["*"], allowEscalation: true}}
grants:
  grants:
  - {roles: ["roles/logging.*"], targetKinds: [Project], members: ["*"], namespaces: [payments]}
  - {roles: ["*"], targetKinds: [Project, Secret], names: ["*"], members: ["*"], namespaces: [payments-*]}
  - {roles: [roles/viewer], targetKinds: [Project], members: ["*"], exclusive: true, namespaces: ["*"]}
  - roles: [roles/secretmanager.viewer]
    targetKinds: [Secret]
    names: ["stripe-*"]
    members: ["*"]
    namespaces: ["*"]
  - roles: [roles/run.developer]
    targetKinds: [Service]
    locations: ["europe-*"]
    members: ["*"]
    namespaces: ["*"]
  - roles: [roles/cloudsql.client]
    targetKinds: [Project]
    members: ["*"]
    conditions: ["true"]
    claim: true
    namespaces: ["*"]
other-targets:
  grants:
  - {roles: ["*"], targetKinds: [StorageBucket], names: ["pay-*"], members: ["*"], namespaces: ["*"]}
  - roles: ["*"]
    targetKinds: [KMSCryptoKey]
    names: ["ring/*"]
    locations: [us]
    members: ["*"]
    namespaces: ["*"]
  - {roles: ["*"], targetKinds: [Folder], names: ["42"], members: ["*"], namespaces: [payments, mallory]}
  - roles: ["*"]
    targetKinds: [Resource]
    services: [cloudfunctions.googleapis.com, eventarc.googleapis.com]
    names: ["locations/*/functions/pay-*", "locations/us-*/triggers/*"]
    locations: [europe-west1, us-east1]
    members: ["*"]
    namespaces: ["*"]
temporary:
  grants:
  - {roles: [roles/browser], targetKinds: [Project], members: ["*"], namespaces: ["*"], maxDuration: 1h30m}
own-grants: {grants: [{roles: [roles/browser], members: ["*"], targetKinds: [Project]}]}
no-default-grants: {defaultGrants: false}
"""

_ADMITTED = """
one: {names: [payments]}
two: {names: [payments, mallory]}
three: {names: [payments, payments-test, mallory]}
label: {selector: {matchLabels: {team: payments}}}
both: {names: [mallory], selector: {matchExpressions: [{key: team, operator: In, values: [payments, ops]}]}}
expressions:
  selector:
    matchLabels: {tier: prod}
    matchExpressions:
    - {key: team, operator: NotIn, values: [mallory]}
    - {key: team, operator: Exists}
absent: {selector: {matchExpressions: [{key: tier, operator: DoesNotExist}, {key: team, operator: Exists}]}}
empty: {selector: {}}
none: {}
"""

_WITH_ALL_GUARDRAILS = ("one", "two", "label")

_OBJECTS = """
- {kind: CloudRunIdentity, spec: {}}
- {kind: CloudRunIdentity, spec: {accountID: pay-out-sa, displayName: Pay, description: Pays}}
- {kind: CloudRunIdentity, spec: {accountID: pay-out-sa, displayName: "", description: Pays}}
- {kind: CloudRunIdentity, spec: {accountID: pay-out-sa, displayName: Pay}}
- {kind: IdentityKey, spec: {secretName: checkout-key}}
- {kind: IdentityAttachment, spec: {workload: {kind: Service, location: europe-west1, name: checkout}}}
- {kind: IdentityAttachment, spec: {workload: {kind: Service, location: us-central1, name: checkout}}}
- {kind: IdentityAttachment, spec: {workload: {kind: Job, location: us-central1, name: web-job}}}
- {kind: IdentityAttachment, spec: {workload: {kind: WorkerPool, location: europe-west1, name: check-out}}}
- {kind: CustomRole, spec: {roleID: runner, permissions: [run.jobs.get, run.jobs.run]}}
- {kind: CustomRole, spec: {roleID: runner, permissions: [run.services.get]}}
- {kind: CustomRole, spec: {roleID: runner, permissions: [run.services.get, run.services.list]}}
- {kind: CustomRole, spec: {roleID: runner, permissions: [iam.workloadIdentityPools.get]}}
- {kind: CustomRole, spec: {roleID: runner, permissions: [iam.googleapis.com/workloadIdentityPools.get]}}
- {kind: CustomRole, spec: {roleID: runner, permissions: [iam.googleapis.com/oauthClients.get]}}
- {kind: CustomRole, spec: {roleID: runner, permissions: [iam.oauthClients.get]}}
- {kind: CustomRole, spec: {roleID: pay_run.runner, permissions: [run.jobs.get]}}
- {kind: CustomRole, spec: {roleID: payXrunner, permissions: [run.jobs.get]}}
- {kind: IAMBinding, spec: {role: roles/logging.logWriter, target: {kind: Project}}}
- {kind: IAMBinding, spec: {role: roles/viewer, target: {kind: Project}}}
- {kind: IAMBinding, spec: {role: roles/viewer, target: {kind: Project}, authority: Exclusive}}
- {kind: IAMBinding, spec: {role: roles/viewer, target: {kind: Project}, existingGrants: Claim}}
- {kind: IAMBinding, spec: {role: roles/owner, target: {kind: Project}}}
- {kind: IAMBinding, spec: {role: roles/cloudsql.client, target: {kind: Project}}}
- {kind: IAMBinding, spec: {role: roles/browser, target: {kind: Project}}}
- kind: IAMBinding
  spec:
    role: roles/browser
    target: {kind: Project}
    members: [{principal: "group:ops@example.com", duration: 90m}]
- kind: IAMBinding
  spec:
    role: roles/browser
    target: {kind: Project}
    members: [{principal: "group:ops@example.com", duration: 91m}]
- kind: IAMBinding
  spec:
    role: roles/cloudsql.client
    target: {kind: Project}
    existingGrants: Claim
    condition: {title: always, expression: "true"}
- {kind: IAMBinding, spec: {role: roles/secretmanager.viewer, target: {kind: Secret, name: stripe-key}}}
- {kind: IAMBinding, spec: {role: roles/secretmanager.viewer, target: {kind: Secret, name: paypal-key}}}
- kind: IAMBinding
  spec: {role: roles/run.invoker, target: &checkout {kind: Service, location: europe-west1, name: checkout}}
- {kind: IAMBinding, spec: {role: roles/run.invoker, target: *checkout, existingGrants: Claim}}
- kind: IAMBinding
  spec: {role: roles/run.developer, target: {kind: Service, location: europe-west1, name: web-shop}}
- kind: IAMBinding
  spec: {role: roles/run.developer, target: {kind: Service, location: us-central1, name: web-shop}}
- {kind: IAMBinding, spec: {role: roles/run.invoker, target: {kind: Job, location: us-central1, name: night}}}
- {kind: IAMBinding, spec: {role: roles/storage.objectViewer, target: {kind: StorageBucket, name: pay-out}}}
- {kind: IAMBinding, spec: {role: roles/storage.objectViewer, target: {kind: StorageBucket, name: out}}}
- kind: IAMBinding
  spec: {role: roles/cloudkms.viewer, target: {kind: KMSCryptoKey, location: us, keyRing: ring, name: cards}}
- kind: IAMBinding
  spec: {role: roles/cloudkms.viewer, target: {kind: KMSCryptoKey, location: us, keyRing: other, name: ring}}
- kind: IAMBinding
  spec: {role: roles/spanner.viewer, target: {kind: SpannerDatabase, instance: orders, name: main}}
- {kind: IAMBinding, spec: {role: roles/viewer, target: {kind: Folder, name: "42"}}}
- {kind: IAMBinding, spec: {role: roles/viewer, target: {kind: Folder, name: "43"}}}
- kind: IAMBinding
  spec:
    role: roles/cloudfunctions.viewer
    target: {resource: //cloudfunctions.googleapis.com/projects/PROJECT/locations/us-east1/functions/pay-out}
- kind: IAMBinding
  spec:
    role: roles/cloudfunctions.viewer
    target: {resource: //cloudfunctions.googleapis.com/projects/PROJECT/locations/europe-west1/functions/out}
- kind: IAMBinding
  spec:
    role: roles/cloudfunctions.viewer
    target: {resource: //cloudfunctions.googleapis.com/projects/PROJECT/locations/us-west1/functions/pay-out}
- kind: IAMBinding
  spec:
    role: roles/eventarc.viewer
    target: {resource: //eventarc.googleapis.com/projects/PROJECT/locations/us-east1/triggers/pay}
- kind: IAMBinding
  spec:
    role: roles/pubsub.viewer
    target: {resource: //pubsub.googleapis.com/projects/PROJECT/locations/us-east1/triggers/pay}
"""

_REFERENCES: Mapping[str, Manifest] = {
    "IdentityKey": {"identityRef": {"name": "checkout"}},
    "IdentityAttachment": {"identityRef": {"name": "checkout"}},
    "IAMBinding": {"members": [{"principal": "group:ops@example.com"}]},
}
"""Fields of the objects that the policies do not judge."""

MEMBER = "group:ops@example.com"
"""Member of all bindings. Every entry that admits their role admits it, too."""


def projects() -> Iterator[ManagedProject]:
    """Yield combinations of guardrails and admitted namespaces. The schema does not accept all of them."""
    guardrails, admitted = yaml.safe_load(_GUARDRAILS), yaml.safe_load(_ADMITTED)
    for (rules, limits), (which, namespaces) in product(guardrails.items(), admitted.items()):
        if rules != "nothing" and which not in _WITH_ALL_GUARDRAILS:
            continue
        spec = {"guardrails": limits, "namespaces": namespaces}
        metadata = {"name": f"{which}-{rules}"}
        yield ManagedProject.model_validate(
            {"apiVersion": API_VERSION, "kind": "ManagedProject", "metadata": metadata, "spec": spec}
        )


def objects(project: str, namespace: str) -> Iterator[Manifest]:
    """Yield an object of each form in the namespace, for a project."""
    for number, obj in enumerate(yaml.safe_load(_OBJECTS.replace("PROJECT", project))):
        spec = {"projectRef": {"name": project}, **_REFERENCES.get(obj["kind"], {}), **obj["spec"]}
        metadata = {"name": f"object-{number}", "namespace": namespace}
        yield {"apiVersion": API_VERSION, "kind": obj["kind"], "metadata": metadata, "spec": spec}


def facts(project: ManagedProject) -> GuardrailFacts:
    return GuardrailFacts(admitted_namespaces(project, NAMESPACES))


def decisions(project: ManagedProject, raw: Manifest) -> list[Decision]:
    """Return what the operator decides about an object, as far as the policies cover it."""
    namespace, known = raw["metadata"]["namespace"], facts(project)
    decided = [may_use_project(project, namespace, known)]
    match raw["kind"]:
        case "CloudRunIdentity":
            decided.append(may_be_called(project, CloudRunIdentity.model_validate(raw)))
        case "IdentityKey":
            IdentityKey.model_validate(raw)
            decided.append(may_make_keys(project, namespace, known))
        case "IdentityAttachment":
            workload = IdentityAttachment.model_validate(raw).spec.workload
            target = Target(TargetKind(workload.kind), project.project_id, workload.location, workload.name)
            if project.spec.guardrails.workloads:
                decided.append(may_use_workload(project, namespace, target, known))
        case "CustomRole":
            role = CustomRole.model_validate(raw).spec
            decided.append(may_define(project, namespace, role.permissions, known))
            decided.append(may_have_role_id(project, role.role_id))
        case "IAMBinding":
            request = _request(project, IAMBinding.model_validate(raw))
            decided.append(decide(request, project, _as_if_alone(project, request, known)))
    return decided


def _request(project: ManagedProject, binding: IAMBinding) -> GrantRequest:
    spec, condition = binding.spec, binding.spec.condition
    found = resolve_target(spec.target, project, binding.metadata.namespace, FakeClusterState(), "")
    assert isinstance(found, ResolvedTarget)
    [member] = spec.members
    return GrantRequest(
        namespace=binding.metadata.namespace,
        target=found.target,
        role=spec.role or "",
        member=MEMBER,
        permissions=frozenset(),
        condition=IAMCondition(condition.title, expression=condition.expression) if condition else None,
        exclusive=spec.authority == "Exclusive",
        claim=spec.existing_grants == "Claim",
        lasts=member.duration.timedelta if member.duration else None,
    )


def _as_if_alone(project: ManagedProject, request: GrantRequest, known: GuardrailFacts) -> GuardrailFacts:
    """Return the facts with the namespace alone: unset `workloads` depend on which namespaces exist."""
    if project.spec.guardrails.workloads or request.namespace not in known.namespaces:
        return known
    return GuardrailFacts(frozenset({request.namespace}))


def is_denied(project: ManagedProject, raw: Manifest) -> bool:
    return any(isinstance(each, Denied) for each in decisions(project, raw))
