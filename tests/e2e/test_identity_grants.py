"""Test roles of identities in other projects, and grants on identities."""

from tests.e2e.eventually import becomes
from tests.e2e.scene import Scene

OTHER = """
kind: ManagedProject
metadata: {name: $scene-b}
spec:
  driftInterval: 1s
  locations: [europe-west1]
  namespaces: {names: [$scene]}
  guardrails:
    grants:
    - {roles: [roles/logging.logWriter], targetKinds: [Project], members: [identities]}
"""
ACTORS = "roles/iam.serviceAccountTokenCreator"


def other(scene: Scene) -> str:
    """Return the resource name of the second project."""
    return f"{scene.project}-b"


def states(scene: Scene, name: str) -> dict[str, str]:
    """Return the state and reason of each grant of an object, by target."""
    return {
        grant["target"]: " ".join(filter(None, (grant["state"], grant.get("reason"))))
        for grant in scene.status(name)["grants"]
    }


def test_roles_in_another_project_need_its_guardrails(scene: Scene) -> None:
    """Each step requeues the identity."""
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  roles:
  - {role: roles/cloudsql.client}
  - {role: roles/logging.logWriter, projectRef: {name: $scene-b}}
""")
    missing = f"spec.roles[1].projectRef: ManagedProject {scene.name}-b does not exist"
    scene.fails("CloudRunIdentity/checkout", "DependencyNotFound", saying=missing)
    checkout = scene.member("checkout")
    assert states(scene, "CloudRunIdentity/checkout") == {
        f"Project {scene.name}": "Granted",
        f"ManagedProject {scene.name}-b": "Pending DependencyNotFound",
    }

    scene.apply(OTHER.replace("[$scene]", "[nobody]"))
    assert "does not admit namespace" in scene.fails("CloudRunIdentity/checkout", "DeniedByGuardrail")
    scene.patch(f"ManagedProject/{scene.name}-b", f"spec: {{namespaces: {{names: [{scene.name}]}}}}")
    scene.ready("CloudRunIdentity/checkout")

    assert scene.policy() == {"roles/cloudsql.client": [checkout]}
    assert scene.cloud.policy(other(scene)) == {"roles/logging.logWriter": [checkout]}

    # The other project does not admit the grants that the own project admits.
    roles = [
        {"role": role, "projectRef": {"name": f"{scene.name}-b"}}
        for role in ("roles/logging.logWriter", "roles/cloudsql.client")
    ]
    scene.patch("CloudRunIdentity/checkout", f"spec: {{roles: {roles}}}")
    message = scene.fails("CloudRunIdentity/checkout", "DeniedByGuardrail")
    assert f"ManagedProject {scene.name}-b" in message
    becomes(scene.policy, {})
    assert scene.cloud.policy(other(scene)) == {"roles/logging.logWriter": [checkout]}

    scene.delete_and_wait("CloudRunIdentity/checkout")
    assert scene.cloud.policy(other(scene)) == {}


def test_grants_in_a_suspended_other_project_are_retained(scene: Scene) -> None:
    scene.apply(OTHER)
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {roles: [{role: roles/logging.logWriter, projectRef: {name: $scene-b}}]}
""")
    scene.ready("CloudRunIdentity/checkout")

    scene.patch(f"ManagedProject/{scene.name}-b", "spec: {suspend: true}")
    scene.fails("CloudRunIdentity/checkout", "DependencyNotReady")
    scene.cloud.remove(other(scene), "roles/logging.logWriter", scene.member("checkout"))
    scene.patch(f"ManagedProject/{scene.name}-b", "spec: {suspend: false, managementPolicy: Observe}")
    scene.fails("CloudRunIdentity/checkout", "DependencyNotReady", saying="observed")
    assert scene.cloud.policy(other(scene)) == {}

    scene.patch(f"ManagedProject/{scene.name}-b", "spec: {managementPolicy: Manage}")
    scene.ready("CloudRunIdentity/checkout")
    assert scene.cloud.policy(other(scene)) == {"roles/logging.logWriter": [scene.member("checkout")]}


def test_identity_deletion_waits_for_a_suspended_other_project(scene: Scene) -> None:
    scene.apply(OTHER)
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  roles:
  - {role: roles/cloudsql.client}
  - {role: roles/logging.logWriter, projectRef: {name: $scene-b}}
""")
    scene.ready("CloudRunIdentity/checkout")
    held = [scene.policy(), scene.cloud.policy(other(scene))]

    scene.patch(f"ManagedProject/{scene.name}-b", "spec: {suspend: true}")
    scene.fails("CloudRunIdentity/checkout", "DependencyNotReady")
    scene.patch("CloudRunIdentity/checkout", "spec: {roles: [{role: roles/cloudsql.client}]}")
    suspended = f"project {scene.name}-b is suspended"
    scene.fails("CloudRunIdentity/checkout", "DependencyNotReady", saying=suspended)
    scene.delete("CloudRunIdentity/checkout")
    message = scene.fails("CloudRunIdentity/checkout", "Suspended")
    assert f"ManagedProject {scene.name}-b" in message
    assert [scene.policy(), scene.cloud.policy(other(scene))] == held

    # With Observe, the operator writes nothing there and leaves existing grants.
    scene.patch(f"ManagedProject/{scene.name}-b", "spec: {suspend: false, managementPolicy: Observe}")
    scene.wait_until_deleted("CloudRunIdentity/checkout")
    assert scene.policy() == {}
    [left] = scene.cloud.policy(other(scene))["roles/logging.logWriter"]
    assert left.startswith(f"deleted:{scene.member('checkout')}?uid="), "as Google shows it of any account"
    assert scene.ledger_targets() == set()


def test_identity_roles_on_workload_and_secret_with_conditions(scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "pricing")
    scene.apply("""
kind: ManagedProject
metadata: {name: $scene-safe}
spec:
  projectID: acme-safe
  namespaces: {names: [$scene]}
  guardrails:
    grants:
    - roles: [roles/secretmanager.secretAccessor]
      targetKinds: [Secret]
      names: [paypal-key]
      members: ["identity:$scene/checkout"]
---
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  roles:
  - role: roles/run.invoker
    target: {kind: Service, location: europe-west1, name: pricing}
    condition: {title: by day, expression: "request.time.getHours() < 18"}
  - role: roles/secretmanager.secretAccessor
    projectRef: {name: $scene-safe}
    target: {kind: Secret, name: paypal-key}
""")
    scene.ready("CloudRunIdentity/checkout")
    checkout = scene.member("checkout")
    assert scene.cloud.policy(service) == {"roles/run.invoker if by day": [checkout]}
    assert scene.cloud.policy("projects/acme-safe/secrets/paypal-key") == {
        "roles/secretmanager.secretAccessor": [checkout]
    }
    assert states(scene, "CloudRunIdentity/checkout") == {
        "Service europe-west1/pricing": "Granted",
        "Secret paypal-key": "Granted",
    }

    scene.delete_and_wait("CloudRunIdentity/checkout")
    assert scene.cloud.policy("projects/acme-safe/secrets/paypal-key") == {}


def test_workload_identity_users_may_act_as_an_identity(scene: Scene) -> None:
    pool = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/ci/subject/main"
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: runner}
spec:
  openIDTokenCreators: [{principal: "group:testers@example.com"}]
  workloadIdentityUsers:
  - kubernetes: {projectRef: {name: $scene-b}, namespace: jobs, serviceAccount: prefect}
  - principal: principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/ci/subject/main
""")
    scene.fails("CloudRunIdentity/runner", "DependencyNotFound")
    scene.apply(OTHER)
    scene.ready("CloudRunIdentity/runner")

    assert scene.cloud.policy(scene.account("runner")) == {
        "roles/iam.serviceAccountOpenIdTokenCreator": ["group:testers@example.com"],
        "roles/iam.workloadIdentityUser": [
            pool,
            f"serviceAccount:{scene.name}-b.svc.id.goog[jobs/prefect]",
        ],
    }
    assert scene.grants("CloudRunIdentity/runner").keys() == {
        "group:testers@example.com",
        pool,
        f"serviceAccount:{scene.name}-b.svc.id.goog[jobs/prefect]",
    }


def test_token_creators_form_chains_and_circles(scene: Scene) -> None:
    """Front may create tokens for middle, middle for back, and back for middle, in any order."""
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: back-end}
spec: {tokenCreators: [{identityRef: {name: middle}}]}
---
kind: CloudRunIdentity
metadata: {name: middle}
spec: {tokenCreators: [{identityRef: {name: front-end}}, {identityRef: {name: back-end}}]}
---
kind: CloudRunIdentity
metadata: {name: front-end}
""")
    scene.ready("CloudRunIdentity/back-end", "CloudRunIdentity/middle", "CloudRunIdentity/front-end")

    assert scene.cloud.policy(scene.account("back-end")) == {ACTORS: [scene.member("middle")]}
    assert {role: set(members) for role, members in scene.cloud.policy(scene.account("middle")).items()} == {
        ACTORS: {scene.member("front-end"), scene.member("back-end")}
    }

    scene.delete("CloudRunIdentity/back-end", "CloudRunIdentity/middle", "CloudRunIdentity/front-end")
    scene.wait_until_deleted(
        "CloudRunIdentity/back-end", "CloudRunIdentity/middle", "CloudRunIdentity/front-end"
    )
    assert scene.cloud.accounts(scene.name) == {}
    assert scene.ledger_targets() == set()


def test_cloud_run_of_another_project_may_run_as_an_identity(scene: Scene) -> None:
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {usableFrom: [{projectRef: {name: $scene-b}}]}
""")
    scene.fails("CloudRunIdentity/checkout", "DependencyNotFound")
    scene.apply(OTHER)
    scene.ready("CloudRunIdentity/checkout")

    number = scene.cloud.project_number(f"{scene.name}-b")
    agent = f"serviceAccount:service-{number}@serverless-robot-prod.iam.gserviceaccount.com"
    assert scene.cloud.policy(scene.account("checkout")) == {ACTORS: [agent]}

    scene.patch("CloudRunIdentity/checkout", "spec: {usableFrom: []}")
    becomes(lambda: scene.cloud.policy(scene.account("checkout")), {})
