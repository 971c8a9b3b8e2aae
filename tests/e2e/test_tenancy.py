"""Attempts to break out of what a project lends, each refused with nothing asked of Google Cloud for it.

One project is lent to two namespaces. In the scene's own, a team minds its business; in the other, somebody
tries to reach further than the platform team allows. All sweeps are an hour apart, so every call that the
emulator counts during an attempt is the attempt's.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from string import Template

import pytest
import yaml
from kubernetes.client import ApiException

from tests.e2e.cluster import Object
from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR_NAMESPACE, Stage

READING_A_ROLE = "IAM/GetRole"
"""What a role holds is Google's to tell; without knowing it, nobody can say whether it escalates."""

LOOKING_AFTER_ONES_OWN = ("IAM/GetServiceAccount", "IAM/ListServiceAccountKeys")
"""The elder of two rivals looks again when the other one ends, as it would if it had waited for that."""


@dataclass(frozen=True)
class Names:
    """What attempts are written in: the project lent to both, the one lent to the other team alone."""

    mallory: str
    scene: str
    vault: str
    default: str
    powerful: str
    credential: str
    vault_agent: str


@dataclass(frozen=True)
class Attempt:
    """An object in Mallory's namespace, the words of the refusal, and the calls that it may take."""

    spec: str
    says: str
    kind: str = "IAMBinding"
    reason: str = "DeniedByGuardrail"
    may_call: tuple[str, ...] = ()


LENT = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1h
  locations: [europe-west1]
  namespaces: {names: [$scene, $mallory]}
  guardrails:
    accounts: [$default, $credential]
    adoptableAccounts: [$default, $credential]
    workloads:
    - {namespaces: [$scene], names: ["checkout*"]}
    - {namespaces: [$mallory], names: ["mallory*"]}
    grants:
    - {roles: ["roles/run.*", roles/cloudsql.client], "on": [Project, Service], members: ["*"]}
    - {roles: ["projects/*/roles/*"], "on": [Project], members: ["*"]}
---
kind: ManagedProject
metadata: {name: $vault}
spec:
  driftInterval: 1h
  locations: [europe-west1]
  namespaces: {names: [$scene]}
---
kind: ManagedProject
metadata: {name: $vault-ops}
spec:
  credentials: {impersonateServiceAccount: $credential}
  suspend: true
---
kind: CloudRunIdentity
metadata: {name: checkout}
---
kind: CloudRunIdentity
metadata: {name: mallory, namespace: $mallory}
"""

ON_PROJECT = "{target: {kind: Project}, role: %s, members: [{principal: 'user:mallory@example.com'}]}"
ON_ACCOUNT = """{target: {kind: ServiceAccount, email: %s}, role: roles/iam.serviceAccountTokenCreator,
                 members: [{principal: 'user:mallory@example.com'}]}"""
TO = "{target: {kind: Project}, role: roles/cloudsql.client, members: [%s]}"
ON_OWN_SERVICE = """{target: {kind: Service, location: europe-west1, name: mallory-web},
                     role: roles/run.invoker, members: [{principal: '%s'}]}"""
ATTACH = """{workload: {kind: Service, location: europe-west1, name: %s}, identityRef: %s}"""
RUN_AS = "{workload: {kind: Service, location: europe-west1, name: mallory-web}, email: %s}"
EXCLUSIVELY = (
    "{authority: Exclusive, managementPolicy: %s, target: {kind: Project}, role: roles/run.invoker, "
    + ("members: [{principal: 'user:mallory@example.com'}]}")
)

ATTEMPTS = {
    "adopt a powerful account": Attempt(
        "{accountID: powerful, adoption: Adopt}", "does not list $powerful", "CloudRunIdentity"
    ),
    "adopt the account that the operator acts as": Attempt(
        "{accountID: credential, adoption: Adopt}", "the operator itself acts as", "CloudRunIdentity"
    ),
    "grant on a powerful account by its e-mail": Attempt(ON_ACCOUNT % "$powerful", "does not list $powerful"),
    "grant on a default account, though it is listed": Attempt(
        ON_ACCOUNT % "$default", "is a default service account"
    ),
    "grant on the operator's account, though it is listed": Attempt(
        ON_ACCOUNT % "$credential", "the operator itself acts as"
    ),
    "grant on another team's identity by its e-mail": Attempt(
        ON_ACCOUNT % "checkout@$scene.iam.gserviceaccount.com", "belongs to identity:$scene/checkout"
    ),
    "attach to another team's workload": Attempt(
        ATTACH % ("checkout", "{name: mallory}"), "guardrails.workloads", "IdentityAttachment"
    ),
    "attach another team's identity to one's own workload": Attempt(
        ATTACH % ("mallory-web", "{name: checkout, namespace: $scene}"),
        "does not list namespace $mallory in allowedNamespaces",
        "IdentityAttachment",
    ),
    "run as a powerful account by its e-mail": Attempt(
        RUN_AS % "$powerful", "does not list $powerful", "IdentityAttachment"
    ),
    "run as a default account, though it is listed": Attempt(
        RUN_AS % "$default", "is a default service account", "IdentityAttachment"
    ),
    "run as the operator's account, though it is listed": Attempt(
        RUN_AS % "$credential", "the operator itself acts as", "IdentityAttachment"
    ),
    "run as another team's identity by its e-mail": Attempt(
        RUN_AS % "checkout@$scene.iam.gserviceaccount.com", "allowedNamespaces", "IdentityAttachment"
    ),
    "name another team's identity as a member": Attempt(
        TO % "{identityRef: {name: checkout, namespace: $scene}}", "allowedNamespaces"
    ),
    "name another team's identity as a member by its e-mail": Attempt(
        TO % "{principal: 'serviceAccount:checkout@$scene.iam.gserviceaccount.com'}", "allowedNamespaces"
    ),
    "a predefined role that escalates": Attempt(
        ON_PROJECT % "roles/run.admin", "without allowEscalation", may_call=(READING_A_ROLE,)
    ),
    "a custom role that escalates": Attempt(
        ON_PROJECT % "projects/$scene/roles/harmless", "setIamPolicy", may_call=(READING_A_ROLE,)
    ),
    "a role that nobody admits": Attempt(ON_PROJECT % "roles/owner", "admits no roles/owner"),
    "a role that escalates under a condition that is always true": Attempt(
        "{target: {kind: Project}, role: roles/run.admin, "
        "members: [{principal: 'user:mallory@example.com'}], "
        "condition: {title: always, expression: 'true || false'}}",
        "without allowEscalation",
        may_call=(READING_A_ROLE,),
    ),
    "a role of another project": Attempt(
        ON_PROJECT % "projects/$vault/roles/any", "belongs to another project"
    ),
    "the public": Attempt(ON_OWN_SERVICE % "allUsers", "allUsers"),
    "everybody with an account": Attempt(ON_OWN_SERVICE % "allAuthenticatedUsers", "allAuthenticatedUsers"),
    "all accounts of a project": Attempt(
        ON_OWN_SERVICE % "principalSet://cloudresourcemanager.googleapis.com/projects/42/type/ServiceAccount",
        "type/ServiceAccount",
    ),
    "a whole identity pool": Attempt(
        ON_OWN_SERVICE
        % "principalSet://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/p/*",
        "workloadIdentityPools/p/*",
    ),
    "a whole domain": Attempt(ON_OWN_SERVICE % "domain:example.com", "domain:example.com"),
    "the service agent of a project that is not lent": Attempt(
        TO % "{cloudRunServiceAgentOf: {projectRef: {name: $vault}}}", "does not admit namespace $mallory"
    ),
    "the service agent of a project that is not lent, by its e-mail": Attempt(
        TO % "{principal: 'serviceAccount:$vault_agent'}", "does not admit namespace $mallory"
    ),
    "a project that is not lent": Attempt(
        "{projectRef: {name: $vault}, target: {kind: Project}, role: roles/viewer, "
        "members: [{principal: 'user:mallory@example.com'}]}",
        "does not admit namespace $mallory",
    ),
    "an identity in a project that is not lent": Attempt(
        "{projectRef: {name: $vault}, accountID: intruder}",
        "does not admit namespace $mallory",
        "CloudRunIdentity",
    ),
    "reading who holds a role, by observing it": Attempt(
        "{managementPolicy: Observe, target: {kind: Project}, role: roles/owner, "
        "members: [{principal: 'user:mallory@example.com'}]}",
        "admits no roles/owner",
    ),
    "emptying a binding": Attempt(EXCLUSIVELY % "Manage", "exclusive: true"),
    "reading a binding by observing it exclusively": Attempt(EXCLUSIVELY % "Observe", "exclusive: true"),
    "another team's account, by declaring it too": Attempt(
        "{accountID: checkout}",
        "CloudRunIdentity $scene/checkout",
        "CloudRunIdentity",
        "Conflict",
        may_call=LOOKING_AFTER_ONES_OWN,
    ),
}

REFUSED_AT_ONCE = {
    "a path in an account's id": ("CloudRunIdentity", "{accountID: ../../x}"),
    "a path in a role": ("IAMBinding", ON_PROJECT % "projects/x/roles/../../y/roles/z"),
    "a path in an e-mail": ("IAMBinding", ON_ACCOUNT % "x/../../../victim/serviceAccounts/y@z"),
    "a path in a location": (
        "IAMBinding",
        "{target: {kind: Service, location: europe-west1/services/x, name: y}, role: roles/run.invoker, "
        "members: [{principal: 'user:a@example.com'}]}",
    ),
    "a path in a workload's name": ("IdentityAttachment", ATTACH % ("../jobs/x", "{name: mallory}")),
    "a path in a secret's name": (
        "IAMBinding",
        "{target: {kind: Secret, name: ../../victim/secrets/x}, role: roles/secretmanager.secretAccessor, "
        "members: [{principal: 'user:a@example.com'}]}",
    ),
    "a tombstone as a member": (
        "IAMBinding",
        TO % "{principal: 'deleted:serviceAccount:a@b.iam.gserviceaccount.com?uid=1'}",
    ),
    "a condition on a basic role": (
        "IAMBinding",
        "{target: {kind: Project}, role: roles/viewer, members: [{principal: 'user:a@example.com'}], "
        "condition: {title: t, expression: 'true'}}",
    ),
}


class Tenants:
    """Two teams on one project, and a project of the first team's alone."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.mallory = scene.add_namespace(f"{scene.name}-mal")
        self.vault = f"{scene.name}-v"
        scene.cloud.add(f"projects/{self.vault}", "roles/viewer", "user:ann@example.com")
        scene.cloud.add(scene.project, "roles/run.invoker", "user:ann@example.com")
        scene.cloud.deploy("services", scene.name, "checkout")
        self.service = scene.cloud.deploy("services", scene.name, "mallory-web")
        for account_id in ("powerful", "credential"):
            scene.cloud.create_account(scene.name, account_id)
        scene.cloud.create_role(scene.name, "harmless", ["resourcemanager.projects.setIamPolicy"])
        numbers = {name: scene.cloud.project_number(name) for name in (scene.name, self.vault)}
        self._names = Names(
            mallory=self.mallory,
            scene=scene.name,
            vault=self.vault,
            default=f"{numbers[scene.name]}-compute@developer.gserviceaccount.com",
            powerful=scene.email("powerful"),
            credential=scene.email("credential"),
            vault_agent=f"service-{numbers[self.vault]}@serverless-robot-prod.iam.gserviceaccount.com",
        )

    def text(self, template: str) -> str:
        return Template(template).substitute(vars(self._names))

    def manifest(self, kind: str, spec: str, name: str = "attempt") -> Object:
        """An object in Mallory's namespace, as it would be applied."""
        parsed = {"projectRef": {"name": self.scene.name}} | yaml.safe_load(self.text(spec))
        return {"kind": kind, "metadata": {"name": name, "namespace": self.mallory}, "spec": parsed}

    def apply(self, kind: str, spec: str, name: str = "attempt") -> str:
        """Apply an object of Mallory's; how it is called."""
        self.scene.apply(json.dumps(self.manifest(kind, spec, name)).replace("$", "$$"))
        return f"{kind}/{name}"

    def cloud(self) -> tuple[object, ...]:
        """Everything there is to be protected, as it stands."""
        cloud, scene = self.scene.cloud, self.scene
        return (
            cloud.policies(),
            cloud.accounts(scene.name),
            cloud.accounts(self.vault),
            cloud.runs_as(scene.service("checkout")),
            cloud.runs_as(self.service),
        )

    def called(self, before: Counter[str]) -> Counter[str]:
        return self.scene.cloud.calls() - before


@pytest.fixture(scope="module")
def tenants(session_stage: Stage) -> Iterator[Tenants]:
    session_stage.google.ensure()
    session_stage.cloud.recover()
    session_stage.ensure_operator()
    scene = Scene(session_stage, f"lent-{uuid.uuid4().hex[:8]}")
    tenants = Tenants(scene)
    scene.apply(tenants.text(LENT))
    scene.ready(f"ManagedProject/{tenants.vault}", "CloudRunIdentity/checkout")
    scene.ready("CloudRunIdentity/mallory", namespace=tenants.mallory)
    yield tenants
    scene.end()


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_an_attempt_is_refused_and_asks_nothing_of_the_cloud(tenants: Tenants, attempt: Attempt) -> None:
    scene = tenants.scene
    calls, cloud = scene.cloud.calls(), tenants.cloud()

    name = tenants.apply(attempt.kind, attempt.spec)
    message = scene.fails(name, attempt.reason, namespace=tenants.mallory)
    assert tenants.text(attempt.says) in message
    assert scene.is_stalled(name, namespace=tenants.mallory)
    scene.delete(name, namespace=tenants.mallory)
    scene.gone(name, namespace=tenants.mallory)

    assert set(tenants.called(calls)) <= set(attempt.may_call)
    assert tenants.cloud() == cloud


@pytest.mark.parametrize(("kind", "spec"), REFUSED_AT_ONCE.values(), ids=REFUSED_AT_ONCE)
def test_tricks_with_names_do_not_get_past_the_api_server(tenants: Tenants, kind: str, spec: str) -> None:
    with pytest.raises(ApiException) as raised:
        tenants.scene.create(json.dumps(tenants.manifest(kind, spec, "trick")).replace("$", "$$"))
    assert raised.value.status == 422


# What takes more than one step.


CLIENT = TO % "{principal: 'group:mallory@example.com'}"


def test_a_custom_role_that_is_widened_after_it_was_granted_is_granted_to_nobody_else(
    tenants: Tenants,
) -> None:
    scene, role = tenants.scene, f"{tenants.scene.project}/roles/widened"
    scene.cloud.create_role(scene.name, "widened", ["cloudsql.instances.connect"])
    name = tenants.apply("IAMBinding", ON_PROJECT % role, "widened")
    scene.ready(name, namespace=tenants.mallory)
    assert scene.policy()[role] == ["user:mallory@example.com"]

    scene.cloud.change_role(role, includedPermissions=["resourcemanager.projects.setIamPolicy"])
    two = "[{principal: 'user:mallory@example.com'}, {principal: 'user:mallet@example.com'}]"
    scene.patch(name, f"spec: {{members: {two}}}", namespace=tenants.mallory)

    message = scene.fails(name, "DeniedByGuardrail", namespace=tenants.mallory)
    assert "resourcemanager.projects.setIamPolicy" in message
    assert scene.policy()[role] == ["user:mallory@example.com"]
    scene.delete(name, namespace=tenants.mallory)
    scene.gone(name, namespace=tenants.mallory)
    assert role not in scene.policy()


def test_a_forged_status_gives_nobody_an_account(tenants: Tenants) -> None:
    scene, cloud = tenants.scene, tenants.cloud()
    powerful = scene.cloud.accounts(scene.name)["powerful"]
    name = tenants.apply("CloudRunIdentity", "{accountID: powerful, deletionPolicy: Delete}", "thief")
    scene.fails(name, "Conflict", namespace=tenants.mallory)
    scene.cluster.forge_status(
        "CloudRunIdentity",
        "thief",
        tenants.mallory,
        {"email": powerful["email"], "uniqueID": powerful["uniqueId"], "origin": "Created"},
    )
    calls = scene.cloud.calls()
    scene.delete(name, namespace=tenants.mallory)
    scene.gone(name, namespace=tenants.mallory)

    assert tenants.called(calls)["IAM/DeleteServiceAccount"] == 0
    assert tenants.cloud() == cloud


def test_nobody_undeletes_an_account_of_somebody_elses_by_naming_its_id(tenants: Tenants) -> None:
    scene = tenants.scene
    email = scene.cloud.create_account(scene.name, "departed")
    unique_id = scene.cloud.accounts(scene.name)["departed"]["uniqueId"]
    scene.cloud.edit_account(email, "delete")
    calls = scene.cloud.calls()

    name = tenants.apply("CloudRunIdentity", "{accountID: departed, suspend: true}", "medium")
    scene.fails(name, "Suspended", namespace=tenants.mallory)
    scene.cluster.forge_status(
        "CloudRunIdentity", "medium", tenants.mallory, {"email": email, "uniqueID": unique_id}
    )
    scene.patch(name, "spec: {suspend: false}", namespace=tenants.mallory)
    scene.ready(name, namespace=tenants.mallory)

    assert scene.cloud.accounts(scene.name)["departed"]["uniqueId"] != unique_id
    assert tenants.called(calls)["IAM/UndeleteServiceAccount"] == 0
    scene.delete(name, namespace=tenants.mallory)
    scene.gone(name, namespace=tenants.mallory)


def test_a_forged_operation_has_nobody_look_into_another_project(tenants: Tenants) -> None:
    scene = tenants.scene
    attach = ATTACH % ("mallory-web", "{name: mallory}")
    name = tenants.apply("IdentityAttachment", attach, "web")
    scene.ready(name, namespace=tenants.mallory)
    calls = scene.cloud.calls()
    elsewhere = f"projects/{tenants.vault}/locations/europe-west1/operations/secret"
    scene.cluster.forge_status("IdentityAttachment", "web", tenants.mallory, {"operation": elsewhere})
    scene.patch(
        name,
        "metadata: {annotations: {cloudrun-identity.dev/reconcile-requested-at: now}}",
        namespace=tenants.mallory,
    )
    becomes(
        lambda: scene.status(name, namespace=tenants.mallory).get("lastHandledReconcileAt"),
        "now",
    )
    assert tenants.called(calls)["Operations/GetOperation"] == 0
    scene.delete(name, namespace=tenants.mallory)
    scene.gone(name, namespace=tenants.mallory)


def test_a_forged_history_moves_no_workload_to_a_powerful_account(tenants: Tenants) -> None:
    scene = tenants.scene
    scene.cloud.deploy_as(tenants.service, "")
    spec = ATTACH.replace("workload:", "deletionPolicy: Restore, workload:")
    name = tenants.apply("IdentityAttachment", spec % ("mallory-web", "{name: mallory}"), "past")
    scene.ready(name, namespace=tenants.mallory)
    forged = {"previousServiceAccount": scene.email("powerful")}
    scene.cluster.forge_status("IdentityAttachment", "past", tenants.mallory, forged)

    scene.delete(name, namespace=tenants.mallory)
    scene.gone(name, namespace=tenants.mallory)
    assert scene.cloud.runs_as(tenants.service) == tenants.text("$default")


def test_a_forged_history_moves_no_workload_to_the_default_account(tenants: Tenants) -> None:
    scene = tenants.scene
    scene.cloud.deploy_as(tenants.service, scene.email("mallory"))
    spec = ATTACH.replace("workload:", "deletionPolicy: Restore, workload:")
    name = tenants.apply("IdentityAttachment", spec % ("mallory-web", "{name: mallory}"), "never-moved")
    scene.ready(name, namespace=tenants.mallory)
    moved = {"serviceAccount": scene.email("mallory"), "generation": 1, "time": "2026-01-01T00:00:00Z"}
    forged = {"previousServiceAccount": "", "lastMove": moved}
    scene.cluster.forge_status("IdentityAttachment", "never-moved", tenants.mallory, forged)

    scene.delete(name, namespace=tenants.mallory)
    scene.gone(name, namespace=tenants.mallory)
    assert scene.cloud.runs_as(tenants.service) == scene.email("mallory")


def test_a_ledger_in_a_tenants_namespace_is_nobodys(tenants: Tenants) -> None:
    scene, cloud = tenants.scene, tenants.cloud()
    [genuine] = [
        ledger
        for ledger in scene.cluster.all("PolicyLedger", OPERATOR_NAMESPACE)
        if ledger["spec"]["target"].get("name") == scene.email("mallory")
    ]
    spec = json.loads(json.dumps(genuine["spec"]).replace("mallory@", "powerful@"))
    spec["account"]["owner"] = f"{tenants.mallory}/heir"
    scene.cluster.create(
        {
            "apiVersion": genuine["apiVersion"],
            "kind": "PolicyLedger",
            "metadata": {
                "name": genuine["metadata"]["name"].replace("mallory", "powerful"),
                "namespace": tenants.mallory,
            },
            "spec": spec,
        }
    )

    name = tenants.apply("CloudRunIdentity", "{accountID: powerful, deletionPolicy: Delete}", "heir")
    assert "exists already" in scene.fails(name, "Conflict", namespace=tenants.mallory)
    scene.delete(name, namespace=tenants.mallory)
    scene.gone(name, namespace=tenants.mallory)
    assert tenants.cloud() == cloud


def test_a_second_project_on_one_that_is_lent_already_lends_nothing(tenants: Tenants) -> None:
    scene, before = tenants.scene, len(tenants.scene.cloud.log())
    second = f"{tenants.vault}-2"
    scene.apply(f"""
kind: ManagedProject
metadata: {{name: {second}}}
spec:
  projectID: {tenants.vault}
  driftInterval: 1h
  namespaces: {{names: [{tenants.mallory}]}}
  guardrails: {{grants: [{{roles: ["*"], "on": [Project], members: ["*"], allowEscalation: true}}]}}
""")
    assert f"ManagedProject {tenants.vault}" in scene.fails(f"ManagedProject/{second}", "Conflict")

    spec = "{projectRef: {name: %s}, target: {kind: Project}, role: roles/run.admin, members: [%s]}"
    name = tenants.apply("IAMBinding", spec % (second, "{principal: 'user:mallory@example.com'}"), "second")
    scene.fails(name, "DependencyNotReady", namespace=tenants.mallory)

    reasons = {call["reason"] for call in scene.cloud.log()[before:]}
    assert not {each for each in reasons if each.startswith((f"{second}@", f"{tenants.mallory}/"))}
    scene.delete(name, namespace=tenants.mallory)
    scene.gone(name, namespace=tenants.mallory)
    scene.removed(f"ManagedProject/{second}")


def test_whoever_labels_a_namespace_into_a_project_gains_no_workload_of_it(tenants: Tenants) -> None:
    scene, project = tenants.scene, f"{tenants.vault}-w"
    workload = scene.cloud.deploy("services", project, "web")
    scene.cluster.label_namespace(scene.name, team="web")
    scene.apply(f"""
kind: ManagedProject
metadata: {{name: {project}}}
spec:
  driftInterval: 1h
  locations: [europe-west1]
  namespaces: {{selector: {{matchLabels: {{team: web}}}}}}
---
kind: IAMBinding
metadata: {{name: callers}}
spec:
  projectRef: {{name: {project}}}
  target: {{kind: Service, location: europe-west1, name: web}}
  role: roles/run.invoker
  members: [{{principal: "group:callers@example.com"}}]
""")
    scene.ready("IAMBinding/callers")

    scene.cluster.label_namespace(tenants.mallory, team="web")
    spec = "{projectRef: {name: %s}, target: {kind: Service, location: europe-west1, name: web}, "
    rest = "role: roles/run.invoker, members: [{principal: 'user:mallory@example.com'}]}"
    name = tenants.apply("IAMBinding", spec % project + rest, "callers")
    assert "2 namespaces are admitted" in scene.fails(name, "DeniedByGuardrail", namespace=tenants.mallory)
    scene.fails("IAMBinding/callers", "DeniedByGuardrail")
    assert scene.cloud.policy(workload) == {"roles/run.invoker": ["group:callers@example.com"]}

    scene.cluster.label_namespace(tenants.mallory, team=None)
    eventually(
        lambda: scene.fails(name, "DeniedByGuardrail", namespace=tenants.mallory),
        lambda message: "does not admit" in message,
    )
    scene.ready("IAMBinding/callers")
    scene.delete(name, namespace=tenants.mallory)
    scene.gone(name, namespace=tenants.mallory)


def test_a_namespace_that_is_shut_out_keeps_what_stands_and_gets_nothing_more(tenants: Tenants) -> None:
    scene, project = tenants.scene, f"ManagedProject/{tenants.scene.name}"
    name = tenants.apply("IAMBinding", CLIENT, "clients")
    scene.ready(name, namespace=tenants.mallory)
    cloud, calls = tenants.cloud(), scene.cloud.calls()

    scene.patch(project, f"spec: {{namespaces: {{names: [{scene.name}]}}}}")
    assert project.partition("/")[2] in scene.fails(name, "DeniedByGuardrail", namespace=tenants.mallory)
    scene.patch(name, "spec: {members: [{principal: 'group:more@example.com'}]}", namespace=tenants.mallory)
    scene.fails(name, "DeniedByGuardrail", namespace=tenants.mallory)
    assert tenants.cloud() == cloud
    writes = {each for each in tenants.called(calls) if not each.rpartition("/")[2].startswith(READS)}
    assert writes == set()

    scene.patch(project, f"spec: {{namespaces: {{names: [{scene.name}, {tenants.mallory}]}}}}")
    scene.ready(name, namespace=tenants.mallory)
    eventually(scene.policy, lambda policy: policy["roles/cloudsql.client"] == ["group:more@example.com"])
    scene.delete(name, namespace=tenants.mallory)
    scene.gone(name, namespace=tenants.mallory)


READS = ("Get", "List", "Test")


@pytest.mark.parametrize(
    ("brake", "reason", "may_call"),
    [
        ("suspend: true", "Suspended", ()),
        ("managementPolicy: Observe", "DriftDetected", READS),
    ],
    ids=["suspend", "Observe"],
)
def test_the_brakes_of_a_project_hold_for_all_its_objects(
    tenants: Tenants, brake: str, reason: str, may_call: tuple[str, ...]
) -> None:
    scene, project = tenants.scene, f"ManagedProject/{tenants.scene.name}"
    scene.patch(project, f"spec: {{{brake}}}")
    if may_call:
        scene.ready(project)
    else:
        scene.fails(project, reason)
    cloud, calls = tenants.cloud(), scene.cloud.calls()

    tenants.apply("IAMBinding", CLIENT, "braked")
    tenants.apply("CloudRunIdentity", "{accountID: braked-1}", "braked")
    for name in ("IAMBinding/braked", "CloudRunIdentity/braked"):
        scene.fails(name, reason, namespace=tenants.mallory)

    assert tenants.cloud() == cloud
    assert all(each.rpartition("/")[2].startswith(may_call or ("nothing",)) for each in tenants.called(calls))
    scene.patch(project, "spec: {suspend: false, managementPolicy: Manage}")
    for name in ("IAMBinding/braked", "CloudRunIdentity/braked"):
        scene.ready(name, namespace=tenants.mallory)
        scene.delete(name, namespace=tenants.mallory)
        scene.gone(name, namespace=tenants.mallory)
