"""What identities may do elsewhere, and who may act as them."""

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
    """The second project as a policy's resource."""
    return f"{scene.project}-b"


def states(scene: Scene, name: str) -> dict[str, str]:
    """The state of each grant of an object by its target, with the reason where there is one."""
    return {
        grant["target"]: " ".join(filter(None, (grant["state"], grant.get("reason"))))
        for grant in scene.status(name)["grants"]
    }


def test_roles_in_another_project_wait_for_it_and_for_its_own_guardrails(scene: Scene) -> None:
    """Each part goes by itself, and each step wakes the identity."""
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  roles:
  - {role: roles/cloudsql.client}
  - {role: roles/logging.logWriter, projectRef: {name: $scene-b}}
""")
    missing = f"spec.roles[1].projectRef: there is no ManagedProject {scene.name}-b"
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

    # What the own project admits, the other does not.
    roles = [
        {"role": role, "projectRef": {"name": f"{scene.name}-b"}}
        for role in ("roles/logging.logWriter", "roles/cloudsql.client")
    ]
    scene.patch("CloudRunIdentity/checkout", f"spec: {{roles: {roles}}}")
    message = scene.fails("CloudRunIdentity/checkout", "DeniedByGuardrail")
    assert f"ManagedProject {scene.name}-b" in message
    becomes(scene.policy, {})
    assert scene.cloud.policy(other(scene)) == {"roles/logging.logWriter": [checkout]}

    scene.removed("CloudRunIdentity/checkout")
    assert scene.cloud.policy(other(scene)) == {}


def test_nothing_is_granted_in_another_project_that_is_braked_and_what_stands_stays(scene: Scene) -> None:
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


def test_an_identity_is_deleted_only_while_the_other_project_is_not_braked(scene: Scene) -> None:
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

    # Observed, nothing is written there, and what stands is left.
    scene.patch(f"ManagedProject/{scene.name}-b", "spec: {suspend: false, managementPolicy: Observe}")
    scene.gone("CloudRunIdentity/checkout")
    assert scene.policy() == {}
    [left] = scene.cloud.policy(other(scene))["roles/logging.logWriter"]
    assert left.startswith(f"deleted:{scene.member('checkout')}?uid="), "as Google shows it of any account"
    assert scene.ledger_targets() == set()


def test_roles_on_a_workload_and_on_a_secret_under_conditions(scene: Scene) -> None:
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

    scene.removed("CloudRunIdentity/checkout")
    assert scene.cloud.policy("projects/acme-safe/secrets/paypal-key") == {}


def test_those_outside_of_cloud_run_may_act_as_an_identity(scene: Scene) -> None:
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


def test_a_chain_of_delegation_and_two_that_mint_for_each_other(scene: Scene) -> None:
    """Front may mint for middle, middle for back, and back for middle: made in one go, in any order."""
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
    scene.gone("CloudRunIdentity/back-end", "CloudRunIdentity/middle", "CloudRunIdentity/front-end")
    assert scene.cloud.accounts(scene.name) == {}
    assert scene.ledger_targets() == set()


def test_another_projects_cloud_run_may_run_as_an_identity(scene: Scene) -> None:
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
