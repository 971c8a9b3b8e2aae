"""Test attacks on what namespaces of a project share: limits, labels, names, and what messages disclose.

Mallory has full rights in a namespace of her own, and shares a project with the team of the scene. Each
attack states what the operator asks Google Cloud, and what Mallory and the platform team read.
"""

import pytest

from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene

SHARED = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  locations: [europe-west1]
  namespaces: {names: [$scene, $scene-mal]}
  guardrails:
    workloads: [{namespaces: ["*"]}]
    customRoles: {permissions: ["run.*"], namespaces: ["*"]}
    keys: Allowed
    keyNamespaces: ["*"]
    grants:
    - roles: [roles/run.viewer, roles/cloudsql.client]
      targetKinds: [Project]
      members: ["*"]
      namespaces: ["*"]
      exclusive: true
"""
ATTACHED = """
kind: IdentityAttachment
metadata: {name: %s}
spec: {workload: {kind: Service, location: europe-west1, name: %s}, identityRef: %s}
"""
IDENTITY = "{kind: CloudRunIdentity, metadata: {name: %s}, spec: %s}"


class Teams:
    """The team of a scene, and Mallory's, on one project."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.mallory = scene.add_namespace(f"{scene.name}-mal")

    def delegate(self, manifest: str = SHARED) -> None:
        self.scene.apply(manifest)
        self.scene.ready(f"ManagedProject/{self.scene.name}")

    def issues(self) -> list[str]:
        """Return what the platform team reads."""
        issues: list[str] = self.scene.status(f"ManagedProject/{self.scene.name}").get("issues", [])
        return issues

    def attack(self, manifest: str) -> None:
        """Apply a manifest in Mallory's namespace."""
        self.scene.apply(manifest, namespace=self.mallory)

    def remove_uncleaned(self, *names: str) -> None:
        """Delete objects of Mallory, without the cleanup for which the operator's finalizer waits."""
        for name in names:
            self.scene.patch(name, "spec: {suspend: true}", namespace=self.mallory)
            self.scene.fails(name, "Suspended", namespace=self.mallory)
            self.scene.delete(name, namespace=self.mallory)
            self.scene.patch(name, "metadata: {finalizers: null}", namespace=self.mallory)
            self.scene.wait_until_deleted(name, namespace=self.mallory)

    def asked_for_mallory(self) -> list[str]:
        """Return the calls that the operator made for objects of Mallory."""
        return [call["rpc"] for call in self.scene.cloud.log(f"{self.mallory}/")]


@pytest.fixture
def teams(closed_scene: Scene) -> Teams:
    return Teams(closed_scene)


EXCLUSIVE = """
kind: IAMBinding
metadata: {name: exclusive}
spec:
  target: {kind: Project}
  role: %s
  members: [{principal: "group:ops@example.com"}]
  authority: Exclusive
"""


def test_removals_of_one_namespace_leave_the_share_of_the_others(teams: Teams) -> None:
    scene = teams.scene
    teams.delegate(SHARED + "    maxRemovalsPerHour: 5\n")
    for number in range(5):
        scene.cloud.add(scene.project, "roles/run.viewer", f"user:planted-{number}@example.com")
    teams.attack(EXCLUSIVE % "roles/run.viewer")
    message = scene.fails("IAMBinding/exclusive", "DriftDetected", namespace=teams.mallory)
    assert "stays until guardrails.maxRemovalsPerHour allows" in message
    left = [member for member in scene.policy()["roles/run.viewer"] if "planted" in member]
    assert len(left) == 2, "the rest is the share of the other namespace"

    scene.cloud.add(scene.project, "roles/cloudsql.client", "user:intruder@example.com")
    scene.apply(EXCLUSIVE % "roles/cloudsql.client")
    scene.ready("IAMBinding/exclusive")
    assert scene.policy()["roles/cloudsql.client"] == ["group:ops@example.com"]

    told = eventually(teams.issues, lambda issues: any("removals" in issue for issue in issues))
    (removals,) = [issue for issue in told if "removals" in issue]
    assert f"3 of namespace {teams.mallory}" in removals
    theirs = str(scene.status("IAMBinding/exclusive", namespace=teams.mallory))
    assert "of namespace" not in theirs, "only the platform team reads who uses how much"


def test_accounts_of_one_namespace_leave_the_share_of_the_others(teams: Teams) -> None:
    scene = teams.scene
    scene.cloud.create_account(scene.name, "handmade")
    present = len(scene.cloud.accounts(scene.name))
    teams.delegate(f"{SHARED}    maxAccounts: {present + 4}\n")
    names = [f"flood-{number}" for number in range(4)]
    for name in names:
        teams.attack(IDENTITY % (name, "{}"))

    def reasons() -> list[str]:
        found = (
            scene.condition(f"CloudRunIdentity/{each}", "Ready", namespace=teams.mallory) for each in names
        )
        return sorted(ready["reason"] for ready in found if ready)

    becomes(reasons, ["QuotaExceeded", "QuotaExceeded", "UpToDate", "UpToDate"])
    for name in ("web", "api"):
        scene.apply(IDENTITY % (f"ours-{name}", "{}"))
        scene.ready(f"CloudRunIdentity/ours-{name}")
    made = [call for call in scene.cloud.log() if call["rpc"].endswith("/CreateServiceAccount")]
    assert sum(f"/{teams.mallory}/" in call["reason"] for call in made) == 2
    told = eventually(teams.issues, lambda issues: any("service accounts" in issue for issue in issues))
    assert f"2 of namespace {teams.mallory}" in " ".join(told)


BY_LABEL = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  locations: [europe-west1]
  namespaces: {selector: {matchLabels: {team: $scene}}}
"""
INVOKERS = """
kind: IAMBinding
metadata: {name: invokers}
spec:
  target: {kind: Service, location: europe-west1, name: api}
  role: roles/run.invoker
  members: [{principal: "group:callers@example.com"}%s]
"""


def test_namespace_that_labels_itself_takes_no_workload_of_others(teams: Teams) -> None:
    scene, project = teams.scene, f"ManagedProject/{teams.scene.name}"
    web, api = (scene.cloud.deploy("services", scene.name, name) for name in ("web", "api"))
    scene.cluster.label_namespace(scene.name, team=scene.name)
    teams.delegate(BY_LABEL)
    scene.apply(IDENTITY % ("checkout", "{}"))
    scene.apply(ATTACHED % ("web", "web", "{name: checkout}"))
    scene.apply(INVOKERS % "")
    scene.ready("IdentityAttachment/web", "IAMBinding/invokers")
    assert not [issue for issue in teams.issues() if "namespaces are admitted" in issue]

    scene.cluster.label_namespace(teams.mallory, team=scene.name)
    teams.attack(IDENTITY % ("mallory", "{}"))
    scene.ready("CloudRunIdentity/mallory", namespace=teams.mallory)
    teams.attack(ATTACHED % ("web", "web", "{name: mallory}"))
    teams.attack(INVOKERS % "")
    for name in ("IdentityAttachment/web", "IAMBinding/invokers"):
        message = scene.fails(name, "DeniedByGuardrail", namespace=teams.mallory)
        assert "unset while 2 namespaces are admitted" in message

    eventually(teams.issues, lambda issues: any("workloads is unset while 2" in each for each in issues))
    assert teams.mallory in " ".join(teams.issues())
    events = eventually(
        lambda: dict(scene.cluster.events("ManagedProject", scene.name, "default")),
        lambda events: "GuardrailsAmbiguous" in events,
    )
    assert "each keeps the workloads that it uses" in events["GuardrailsAmbiguous"]

    scene.apply(INVOKERS % ", {principal: 'user:ann@example.com'}")
    becomes(
        lambda: scene.cloud.policy(api),
        {"roles/run.invoker": ["group:callers@example.com", "user:ann@example.com"]},
    )
    scene.cloud.deploy_as(web, "")
    becomes(lambda: scene.cloud.runs_as(web), scene.email("checkout"))
    scene.ready("IdentityAttachment/web", "IAMBinding/invokers", project)
    written = [rpc for rpc in teams.asked_for_mallory() if "Services/" in rpc and "Get" not in rpc]
    assert not written


def test_role_id_outside_the_pattern_is_refused_unread(teams: Teams) -> None:
    scene = teams.scene
    teams.delegate(SHARED + '    naming: {roleIDPattern: "mal_*"}\n')
    teams.attack(
        "{kind: CustomRole, metadata: {name: take}, spec: {roleID: payRunner, permissions: [run.jobs.get]}}"
    )
    message = scene.fails("CustomRole/take", "DeniedByGuardrail", namespace=teams.mallory)
    assert "spec.roleID: payRunner does not match mal_*" in message
    assert not [rpc for rpc in teams.asked_for_mallory() if "Role" in rpc]

    teams.attack(
        "{kind: CustomRole, metadata: {name: own}, spec: {roleID: mal_own, permissions: [run.jobs.get]}}"
    )
    scene.ready("CustomRole/own", namespace=teams.mallory)


def test_revoked_namespace_shows_on_both_sides_what_remains(teams: Teams) -> None:
    scene = teams.scene
    scene.cloud.deploy("services", scene.name, "mallory-web")
    teams.delegate()
    scene.apply(IDENTITY % ("checkout", "{allowedNamespaces: [$scene-mal]}"))
    scene.ready("CloudRunIdentity/checkout")
    reference = "{name: checkout, namespace: $scene}"
    teams.attack(ATTACHED % ("web", "mallory-web", reference))
    teams.attack(
        "{kind: IAMBinding, metadata: {name: viewers}, spec: {target: {kind: Project}, "
        f"role: roles/run.viewer, members: [{{identityRef: {reference}}}]}}}}"
    )
    scene.ready("IdentityAttachment/web", "IAMBinding/viewers", namespace=teams.mallory)

    scene.patch("CloudRunIdentity/checkout", "spec: {allowedNamespaces: []}")
    for name in ("IdentityAttachment/web", "IAMBinding/viewers"):
        scene.fails(name, "DeniedByGuardrail", saying="allowedNamespaces", namespace=teams.mallory)
    mine = eventually(
        lambda: " ".join(scene.status("CloudRunIdentity/checkout").get("issues", ())),
        lambda issues: "runs as the identity" in issues and "keeps roles/run.viewer" in issues,
    )
    assert f"does not list {teams.mallory}" in mine
    for name, remains in {
        "IdentityAttachment/web": f"still runs as {scene.email('checkout')}",
        "IAMBinding/viewers": "remains, until this object is deleted",
    }.items():
        theirs = scene.status(name, namespace=teams.mallory)["issues"]
        assert any(remains in issue for issue in theirs)

    scene.delete("IAMBinding/viewers", namespace=teams.mallory)
    scene.wait_until_deleted("IAMBinding/viewers", namespace=teams.mallory)
    becomes(lambda: scene.policy().get("roles/run.viewer"), None)
    eventually(
        lambda: " ".join(scene.status("CloudRunIdentity/checkout").get("issues", ())),
        lambda issues: "keeps roles/run.viewer" not in issues,
    )


def test_gke_workload_of_another_team_is_no_free_principal(teams: Teams) -> None:
    scene = teams.scene
    teams.delegate()
    closed = f"{scene.name}-k"
    scene.cloud.add(f"projects/{closed}", "roles/viewer", "user:ann@example.com")
    scene.apply(
        f"{{kind: ManagedProject, metadata: {{name: {closed}}}, spec: {{namespaces: {{names: [$scene]}}}}}}"
    )
    scene.ready(f"ManagedProject/{closed}")
    pool = f"serviceAccount:{closed}.svc.id.goog[jobs/runner]"
    user = f"{{workloadIdentityUsers: [{{principal: '{pool}'}}]}}"
    teams.attack(IDENTITY % ("mallory", user))
    message = scene.fails("CloudRunIdentity/mallory", "DeniedByGuardrail", namespace=teams.mallory)
    assert f"ManagedProject {closed} does not admit namespace {teams.mallory}" in message
    assert scene.cloud.policy(scene.account("mallory")) == {}

    scene.apply(IDENTITY % ("checkout", user))
    scene.ready("CloudRunIdentity/checkout")
    assert scene.cloud.policy(scene.account("checkout")) == {"roles/iam.workloadIdentityUser": [pool]}


def test_key_of_a_stripped_object_is_audited_as_unmanaged(teams: Teams) -> None:
    scene = teams.scene
    teams.delegate()
    teams.attack(IDENTITY % ("mallory", "{}"))
    teams.attack(
        "{kind: IdentityKey, metadata: {name: hidden}, "
        "spec: {identityRef: {name: mallory}, secretName: hidden}}"
    )
    scene.ready("CloudRunIdentity/mallory", "IdentityKey/hidden", namespace=teams.mallory)
    eventually(
        lambda: scene.condition("CloudRunIdentity/mallory", "KeysAudited", namespace=teams.mallory),
        lambda found: found is not None and found["status"] == "True",
    )

    teams.remove_uncleaned("IdentityKey/hidden")
    eventually(
        lambda: scene.condition("CloudRunIdentity/mallory", "KeysAudited", namespace=teams.mallory),
        lambda found: found is not None and found["status"] == "False",
    )
    (key,) = scene.status("CloudRunIdentity/mallory", namespace=teams.mallory)["unmanagedKeys"]
    assert key["id"] in scene.cloud.keys(scene.account("mallory"))


def test_template_shows_its_author_nothing_about_secrets_of_others(teams: Teams) -> None:
    scene = teams.scene
    service = scene.cloud.deploy("services", scene.name, "mallory-web")
    teams.delegate()
    vault = f"{scene.name}-vault"
    scene.apply(
        f"{{kind: ManagedProject, metadata: {{name: {vault}}}, spec: {{projectID: acme-hidden, "
        "namespaces: {names: [$scene, $scene-mal]}}}"
    )
    scene.ready(f"ManagedProject/{vault}")
    container = scene.cloud.workload(service)["template"]["containers"][0]
    teams.attack(IDENTITY % ("mallory", "{}"))
    scene.ready("CloudRunIdentity/mallory", namespace=teams.mallory)
    seen = []
    for secret in ("stripe-key", "no-such-key"):
        named = {"secret": f"projects/acme-hidden/secrets/{secret}", "version": "latest"}
        variable = {"name": "GUESS", "valueSource": {"secretKeyRef": named}}
        scene.cloud.update(service, template={"containers": [{**container, "env": [variable]}]})
        teams.attack(ATTACHED % ("web", "mallory-web", "{name: mallory}"))
        scene.ready("IdentityAttachment/web", namespace=teams.mallory)
        check = eventually(
            lambda: {
                each["check"]: each
                for each in scene.status("IdentityAttachment/web", namespace=teams.mallory)["preflight"]
            }.get("Secrets", {}),
            lambda check, secret=secret: secret in check.get("message", ""),
        )
        seen.append({**check, "message": check["message"].replace(secret, "SECRET")})
    assert seen[0] == seen[1], "whether a secret exists is not disclosed"
    assert "ask the administrators" in seen[0]["message"]
    assert not [rpc for rpc in teams.asked_for_mallory() if "SecretManager" in rpc]


def test_adoption_discloses_no_account_before_a_guardrail_lists_it(teams: Teams) -> None:
    scene = teams.scene
    scene.cloud.create_account(scene.name, "existing")
    teams.delegate()
    told = []
    for name in ("existing", "missing"):
        teams.attack(IDENTITY % (name, "{adoption: Adopt}"))
        message = scene.fails(f"CloudRunIdentity/{name}", "DeniedByGuardrail", namespace=teams.mallory)
        told.append(message.replace(name, "NAME"))
        scene.delete(f"CloudRunIdentity/{name}", namespace=teams.mallory)
        scene.wait_until_deleted(f"CloudRunIdentity/{name}", namespace=teams.mallory)
    assert told[0] == told[1]
    assert not [rpc for rpc in teams.asked_for_mallory() if "ServiceAccount" in rpc]


def test_name_left_by_a_vanished_namespace_is_released_on_request(teams: Teams) -> None:
    scene = teams.scene
    teams.delegate()
    role = "{kind: CustomRole, metadata: {name: %s}, spec: {roleID: runner, permissions: [run.jobs.get]}}"
    teams.attack(role % "theirs")
    teams.attack(IDENTITY % ("left", "{accountID: leftover}"))
    scene.ready("CustomRole/theirs", "CloudRunIdentity/left", namespace=teams.mallory)
    teams.remove_uncleaned("CustomRole/theirs", "CloudRunIdentity/left")
    scene.cluster.delete_namespace(teams.mallory)
    eventually(lambda: scene.cluster.has_namespace(teams.mallory), lambda exists: not exists)

    scene.apply(role % "ours")
    scene.apply(IDENTITY % ("ours", "{accountID: leftover}"))
    for name in ("CustomRole/ours", "CloudRunIdentity/ours"):
        message = scene.fails(name, "Conflict", saying="no longer exists")
        assert "ask the administrators of the project to release it" in message
        assert teams.mallory not in message

    release = f"cloudrun-identity.dev/release-orphans: '*/{teams.mallory}/*'"
    scene.patch(f"ManagedProject/{scene.name}", f"metadata: {{annotations: {{{release}}}}}")
    for name in ("CustomRole/ours", "CloudRunIdentity/ours"):
        message = scene.fails(name, "Conflict", saying="exists already")
        assert "spec.adoption to Adopt" in message


def test_audit_log_names_the_kind_of_the_object(teams: Teams) -> None:
    scene = teams.scene
    teams.delegate()
    teams.attack(IDENTITY % ("mallory", "{}"))
    scene.ready("CloudRunIdentity/mallory", namespace=teams.mallory)
    made = [call["reason"] for call in scene.cloud.log() if call["rpc"].endswith("/CreateServiceAccount")]
    assert f"CloudRunIdentity/{teams.mallory}/mallory@1" in made
