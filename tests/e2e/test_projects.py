"""Test ManagedProjects: operator identity, default accounts, orphans, removal."""

from cloudrun_identity.gcp.permissions import FEATURES
from cloudrun_identity_playground.emulator.access.rules import RULES, RequiresPermission
from tests.e2e.conftest import OPEN_PROJECT
from tests.e2e.eventually import becomes, eventually
from tests.e2e.manifests import VIEWERS
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR, ORGANIZATION

IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout}
"""


def impersonating(email: str) -> str:
    return f"""
kind: ManagedProject
metadata: {{name: $scene}}
spec:
  driftInterval: 1s
  locations: [europe-west1]
  namespaces: {{names: [$scene]}}
  credentials: {{impersonateServiceAccount: {email}}}
"""


def test_project_is_managed_with_its_own_account(closed_scene: Scene) -> None:
    scene, ops = closed_scene, f"{closed_scene.name}-o"
    email = f"operator@{ops}.iam.gserviceaccount.com"
    project = f"ManagedProject/{scene.name}"
    scene.apply(impersonating(email) + "---" + IDENTITY)
    message = scene.fails(project, "PermissionDenied")
    assert f"cannot act as {email}" in message
    assert "roles/iam.serviceAccountTokenCreator" in message

    scene.cloud.create_account(ops, "operator")
    account = f"projects/{ops}/serviceAccounts/{email}"
    scene.cloud.add(account, "roles/iam.serviceAccountTokenCreator", f"serviceAccount:{OPERATOR}")
    scene.cloud.add(scene.project, "roles/owner", f"serviceAccount:{email}")
    scene.ready(project, "CloudRunIdentity/checkout")

    assert scene.status(project)["operatorIdentity"] == email
    callers = {call["caller"] for call in scene.cloud.log(f"{scene.name}/") if call["code"] == "OK"}
    assert callers == {email}

    scene.cloud.edit_account(email, "disable")
    scene.patch("CloudRunIdentity/checkout", "spec: {displayName: Checkout}")
    scene.fails("CloudRunIdentity/checkout", "PermissionDenied")

    scene.cloud.edit_account(email, "enable")
    scene.ready("CloudRunIdentity/checkout")
    assert scene.cloud.accounts(scene.name)["checkout"]["displayName"] == "Checkout"


def test_cross_project_usage_is_allowed_only_if_the_project_says_so(scene: Scene) -> None:
    project = f"ManagedProject/{scene.name}"
    scene.ready(project)
    assert scene.status(project)["crossProjectUsage"] == "Denied"

    scene.patch(project, "spec: {crossProjectUsage: Allow}")
    assert "roles/orgpolicy.policyAdmin" in scene.fails(project, "PermissionDenied")
    scene.cloud.add(ORGANIZATION, "roles/orgpolicy.policyAdmin", f"serviceAccount:{OPERATOR}")
    becomes(lambda: scene.status(project)["crossProjectUsage"], "Allowed")
    scene.ready(project)

    scene.cloud.drop_org_policy(scene.project, "iam.disableCrossProjectServiceAccountUsage")
    drift = eventually(
        lambda: scene.status(project).get("drift", {}), lambda drift: "lastRepairedTime" in drift
    )
    assert (drift["count"], drift["changes"]) == (1, ["crossProjectUsage: Denied → Allowed"])
    scene.cloud.remove(ORGANIZATION, "roles/orgpolicy.policyAdmin", f"serviceAccount:{OPERATOR}")
    scene.ready(project)


def test_workloads_with_the_default_account_are_listed(scene: Scene) -> None:
    project = f"ManagedProject/{scene.name}"
    # The workloads of a project with identities are listed at each interval, and others hourly.
    scene.apply("kind: CloudRunIdentity\nmetadata: {name: worker}")
    workload = scene.cloud.deploy("services", scene.name, "web")
    account = scene.cloud.create_account(scene.name, "somebody")
    scene.cloud.deploy("jobs", scene.name, "nightly", account)

    def listed() -> list[dict[str, str]]:
        found: list[dict[str, str]] = scene.status(project).get("workloadsOnDefaultIdentity", [])
        return found

    becomes(listed, [{"kind": "Service", "location": "europe-west1", "name": "web"}])
    agent = scene.condition(project, "ServiceAgentReady")
    assert agent is not None
    assert agent["status"] == "True"

    scene.cloud.deploy_as(workload, account)
    becomes(listed, [])


def served(scene: Scene, kind: str) -> float:
    """Return the number of objects of a kind that the operator has cached."""
    series = f'cloudrun_identity_objects{{kind="{kind}",'
    return sum(count for name, count in scene.stage.operator.metrics().items() if name.startswith(series))


def test_object_removed_without_its_finalizer_leaves_an_orphan(scene: Scene) -> None:
    project = f"ManagedProject/{scene.name}"
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    scene.patch(project, "spec: {suspend: true}")
    scene.fails(project, "Suspended")
    bindings = served(scene, "IAMBinding")
    scene.delete("IAMBinding/viewers")
    scene.patch("IAMBinding/viewers", "metadata: {finalizers: null}")
    becomes(lambda: served(scene, "IAMBinding"), bindings - 1)

    scene.patch(project, "spec: {suspend: false}")
    orphans = eventually(lambda: scene.status(project).get("orphans", []), bool)
    assert [each["resource"] for each in orphans] == [
        f"//cloudresourcemanager.googleapis.com/projects/{scene.name}"
    ]
    assert f"IAMBinding {scene.name}/viewers" in orphans[0]["reason"]
    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}


def test_identity_must_match_the_naming_rules_of_the_project(scene: Scene) -> None:
    project = f"ManagedProject/{scene.name}"
    naming = "{accountIDPattern: 'cri-*', requireDisplayName: true}"
    scene.patch(project, f"spec: {{guardrails: {{naming: {naming}}}}}")
    scene.ready(project)
    scene.apply(IDENTITY)
    assert "guardrails.naming" in scene.fails("CloudRunIdentity/checkout", "DeniedByGuardrail")
    assert scene.cloud.accounts(scene.name) == {}

    scene.delete_and_wait("CloudRunIdentity/checkout")
    scene.apply(IDENTITY + "spec: {accountID: cri-checkout, displayName: Checkout}")
    scene.ready("CloudRunIdentity/checkout")
    assert list(scene.cloud.accounts(scene.name)) == ["cri-checkout"]


def test_project_in_use_is_not_deleted(scene: Scene) -> None:
    project = f"ManagedProject/{scene.name}"
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")
    scene.delete(project)
    assert f"CloudRunIdentity {scene.name}/checkout" in scene.fails(project, "InUse")

    scene.delete_and_wait("CloudRunIdentity/checkout")
    scene.wait_until_deleted(project)


def test_object_that_was_never_admitted_does_not_hold_up_a_project(scene: Scene) -> None:
    stranger = scene.add_namespace(f"{scene.name}-stranger")
    scene.apply(IDENTITY, namespace=stranger)
    scene.fails("CloudRunIdentity/checkout", "DeniedByGuardrail", namespace=stranger)

    scene.delete(f"ManagedProject/{scene.name}")
    scene.wait_until_deleted(f"ManagedProject/{scene.name}")

    scene.delete("CloudRunIdentity/checkout", namespace=stranger)
    scene.wait_until_deleted("CloudRunIdentity/checkout", namespace=stranger)


def test_objects_of_a_removed_project_are_retained_until_it_returns(
    scene: Scene,
) -> None:
    project = f"ManagedProject/{scene.name}"
    scene.apply(IDENTITY + "spec: {roles: [{role: roles/cloudsql.client}]}\n---" + VIEWERS)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/viewers")
    policy = scene.policy()
    scene.delete(project)
    scene.patch(project, "metadata: {finalizers: null}")
    scene.wait_until_deleted(project)

    for name in ("CloudRunIdentity/checkout", "IAMBinding/viewers"):
        message = scene.fails(name, "DependencyNotFound")
        assert message.startswith(f"spec.projectRef: ManagedProject {scene.name} does not exist")
    scene.delete("CloudRunIdentity/checkout")
    assert f"workloads of project {scene.name}" in scene.fails("CloudRunIdentity/checkout", "InUse")
    assert scene.policy() == policy

    scene.apply(OPEN_PROJECT)
    scene.ready(project, "IAMBinding/viewers")
    scene.wait_until_deleted("CloudRunIdentity/checkout")
    becomes(scene.policy, {"roles/viewer": ["group:ops@example.com"]})


def test_project_that_is_invalid_since_the_start_is_not_touched(scene: Scene) -> None:
    project = f"ManagedProject/{scene.name}"
    scene.apply(IDENTITY + "---" + VIEWERS)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/viewers")
    policy = scene.policy()
    scene.make_invalid(project, "managementPolicy")
    assert "spec.managementPolicy" in scene.fails(project, "InvalidSpec")
    scene.stage.operator.terminate()
    scene.stage.ensure_operator()

    for name in ("CloudRunIdentity/checkout", "IAMBinding/viewers"):
        assert scene.fails(name, "DependencyNotReady") == (
            f"spec.projectRef: {project.replace('/', ' ')} is invalid; correct it as its Ready condition says"
        )
    scene.delete("IAMBinding/viewers")
    assert "is invalid" in scene.fails("IAMBinding/viewers", "PermissionDenied")
    assert scene.policy() == policy

    scene.patch(project, "spec: {managementPolicy: Manage}")
    scene.ready(project, "CloudRunIdentity/checkout")
    scene.wait_until_deleted("IAMBinding/viewers")
    becomes(scene.policy, {})


def test_operator_calls_only_methods_of_its_permission_table(scene: Scene) -> None:
    scene.cloud.deploy("services", scene.name, "web")
    scene.apply(
        IDENTITY
        + """
spec: {deletionProtection: None, roles: [{role: roles/viewer}], users: [{principal: "group:ops@example.com"}]}
---
kind: IdentityAttachment
metadata: {name: web}
spec: {workload: {kind: Service, location: europe-west1, name: web}, identityRef: {name: checkout}}
---
kind: IAMBinding
metadata: {name: callers}
spec:
  target: {kind: Service, location: europe-west1, name: web}
  role: roles/run.invoker
  members: [{principal: "group:callers@example.com"}]
"""
    )
    objects = ("IdentityAttachment/web", "IAMBinding/callers", "CloudRunIdentity/checkout")
    scene.ready(f"ManagedProject/{scene.name}", *objects)
    scene.delete_and_wait(*objects)

    called = {call["rpc"] for call in scene.cloud.log(scene.name)}
    needed = {rule.permission for rpc in called if isinstance(rule := RULES[rpc], RequiresPermission)}
    assert {"iam.serviceAccounts.create", "run.services.update"} <= needed
    assert needed <= {permission for listed in FEATURES.values() for permission in listed}


def test_full_policy_is_reported_with_the_numbers_of_google_cloud(scene: Scene) -> None:
    exempted = [f"user:e{number}@example.com" for number in range(100)]
    policy = {
        "bindings": [
            {"role": role, "members": [f"user:u{number}@example.com" for number in range(700)]}
            for role in ("roles/browser", "roles/cloudsql.client")
        ],
        "auditConfigs": [
            {
                "service": "allServices",
                "auditLogConfigs": [{"logType": "DATA_READ", "exemptedMembers": exempted[:99]}],
            }
        ],
    }
    scene.cloud.write_policy(scene.project, policy, update_mask="bindings,etag,auditConfigs")
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    becomes(
        lambda: scene.status(f"ManagedProject/{scene.name}").get("issues"),
        [
            f"Project {scene.name} has 1500 of 1500 principals: 1 of namespace {scene.name}, 1400 unmanaged, "
            "99 exempted from audit logging"
        ],
    )

    scene.apply(VIEWERS.replace("viewers}", "late}").replace("ops@", "late@"))
    message = scene.fails("IAMBinding/late", "Rejected")
    assert "1500 of at most 1500 principals" in message
    assert "99 of them are exempted from audit logging" in message
    assert scene.cloud.policy(scene.project)["roles/viewer"] == ["group:ops@example.com"]
    log = [call["code"] for call in scene.cloud.log(f"{scene.name}/") if call["rpc"].endswith("SetIamPolicy")]
    assert log == ["OK"], "no write was refused"

    policy["bindings"] = []
    scene.cloud.write_policy(scene.project, policy)
    becomes(lambda: scene.status(f"ManagedProject/{scene.name}").get("issues"), None)
