"""Test identities: accounts, adoption, conflicts and references."""

from tests.e2e.scene import Scene

CHECKOUT = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {displayName: Checkout, description: Runs the shop}
"""


def test_account_follows_its_declaration(scene: Scene) -> None:
    scene.apply(CHECKOUT)
    scene.ready("CloudRunIdentity/checkout")
    account = scene.cloud.accounts(scene.name)["checkout"]
    assert (account["displayName"], account["description"]) == ("Checkout", "Runs the shop")
    status = scene.status("CloudRunIdentity/checkout")
    assert status["email"] == scene.email("checkout")
    assert status["member"] == scene.member("checkout")
    assert status["uniqueID"] == account["uniqueId"]

    scene.patch("CloudRunIdentity/checkout", "spec: {displayName: Till, description: Sells, disabled: true}")
    scene.ready("CloudRunIdentity/checkout")

    account = scene.cloud.accounts(scene.name)["checkout"]
    assert (account["displayName"], account["description"]) == ("Till", "Sells")
    assert account["disabled"]


def test_existing_account_is_adopted_if_spec_and_guardrails_permit_it(scene: Scene) -> None:
    email = scene.cloud.create_account(scene.name, "checkout", "Old till")
    scene.apply(CHECKOUT)
    assert email in scene.fails("CloudRunIdentity/checkout", "Conflict")
    assert scene.is_stalled("CloudRunIdentity/checkout")
    assert scene.ledger_targets() == set()

    scene.patch("CloudRunIdentity/checkout", "spec: {adoption: Adopt}")
    message = scene.fails("CloudRunIdentity/checkout", "DeniedByGuardrail")
    assert "adoptableAccounts" in message
    assert scene.cloud.accounts(scene.name)["checkout"]["displayName"] == "Old till"

    scene.patch(
        f"ManagedProject/{scene.name}", f"spec: {{guardrails: {{adoptableAccounts: [{{email: '{email}'}}]}}}}"
    )
    scene.ready("CloudRunIdentity/checkout")
    assert scene.status("CloudRunIdentity/checkout")["origin"] == "Adopted"
    assert scene.cloud.accounts(scene.name)["checkout"]["displayName"] == "Checkout"


def test_adopted_account_remains_when_its_identity_is_deleted(scene: Scene) -> None:
    email = scene.cloud.create_account(scene.name, "checkout")
    scene.patch(
        f"ManagedProject/{scene.name}", f"spec: {{guardrails: {{adoptableAccounts: [{{email: '{email}'}}]}}}}"
    )
    scene.apply(CHECKOUT.replace("displayName: Checkout", "adoption: Adopt"))
    scene.ready("CloudRunIdentity/checkout")

    scene.delete_and_wait("CloudRunIdentity/checkout")

    assert "checkout" in scene.cloud.accounts(scene.name)
    assert scene.ledger_targets() == set()


def test_younger_identity_takes_over_the_account_of_the_older_one(scene: Scene) -> None:
    scene.apply(CHECKOUT)
    scene.ready("CloudRunIdentity/checkout")
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: rival}
spec: {accountID: checkout, displayName: Rival}
""")
    assert "checkout" in scene.fails("CloudRunIdentity/rival", "Conflict")
    assert scene.is_stalled("CloudRunIdentity/rival")
    assert scene.cloud.accounts(scene.name)["checkout"]["displayName"] == "Checkout"

    scene.delete_and_wait("CloudRunIdentity/checkout")
    scene.ready("CloudRunIdentity/rival")

    assert scene.cloud.accounts(scene.name)["checkout"]["displayName"] == "Rival"


def test_objects_can_be_applied_in_any_order(closed_scene: Scene) -> None:
    scene = closed_scene
    scene.apply("""
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/viewer
  members: [{identityRef: {name: checkout}}]
---
kind: IAMBinding
metadata: {name: deployers}
spec:
  target: {kind: ServiceAccount, identityRef: {name: checkout}}
  role: roles/iam.serviceAccountUser
  members: [{principal: "group:deployers@example.com"}]
""")
    scene.fails("IAMBinding/viewers", "DependencyNotFound")
    scene.apply(CHECKOUT)
    scene.fails("CloudRunIdentity/checkout", "DependencyNotFound")
    assert scene.cloud.accounts(scene.name) == {}

    scene.apply("""
kind: ManagedProject
metadata: {name: $scene}
spec:
  namespaces: {names: [$scene]}
  guardrails:
    grants: [{roles: [roles/viewer], targetKinds: [Project], members: [identities], allowEscalation: true}]
""")
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/viewers", "IAMBinding/deployers")

    assert scene.policy() == {"roles/viewer": [scene.member("checkout")]}
    assert scene.cloud.policy(scene.account("checkout")) == {
        "roles/iam.serviceAccountUser": ["group:deployers@example.com"]
    }


def test_two_identities_can_be_users_of_each_other(scene: Scene) -> None:
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: chicken}
spec: {accountID: chicken, users: [{identityRef: {name: hen-egg}}]}
---
kind: CloudRunIdentity
metadata: {name: hen-egg}
spec: {tokenCreators: [{identityRef: {name: chicken}}]}
""")
    scene.ready("CloudRunIdentity/chicken", "CloudRunIdentity/hen-egg")

    assert scene.cloud.policy(scene.account("chicken")) == {
        "roles/iam.serviceAccountUser": [scene.member("hen-egg")]
    }
    assert scene.cloud.policy(scene.account("hen-egg")) == {
        "roles/iam.serviceAccountTokenCreator": [scene.member("chicken")]
    }


def test_cross_namespace_reference_needs_allowed_namespaces(scene: Scene) -> None:
    other = scene.add_namespace(f"{scene.name}-other")
    scene.patch(f"ManagedProject/{scene.name}", f"spec: {{namespaces: {{names: [{scene.name}, {other}]}}}}")
    scene.apply(CHECKOUT)
    scene.apply(
        """
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/viewer
  members: [{identityRef: {name: checkout, namespace: $scene}}]
""",
        namespace=other,
    )
    message = scene.fails("IAMBinding/viewers", "DeniedByGuardrail", namespace=other)
    assert "allowedNamespaces" in message
    assert scene.policy() == {}

    scene.patch("CloudRunIdentity/checkout", f"spec: {{allowedNamespaces: [{other}]}}")
    scene.ready("IAMBinding/viewers", namespace=other)
    assert scene.policy() == {"roles/viewer": [scene.member("checkout")]}
