"""Test attacks through custom roles: permissions for members that the ledgers do not know, and role theft.

The platform team lets every namespace define roles that escalate, and grant none of them. Mallory has full
rights in a namespace that shares the project. A role that she may widen is held by members that she chose
before, in ways that leave no entry in a ledger.
"""

import itertools
from collections.abc import Callable

import pytest

from tests.e2e.eventually import eventually
from tests.e2e.tenants import Tenants

MALLORY = "user:mallory@example.com"
NARROW, WIDE = "run.jobs.run", "iam.serviceAccounts.getAccessToken"
ROLE = "{roleID: %s, permissions: [%s]}"
WIDENED = f"spec: {{permissions: [{NARROW}, {WIDE}]}}"
BINDING = (
    "{target: %s, role: projects/$scene/roles/%s, deletionPolicy: %s, "
    f"members: [{{principal: '{MALLORY}'}}]}}"
)
PROJECT = "{kind: Project}"
SERVICE = "{kind: Service, location: europe-west1, name: mallory-web}"
GUARDRAILS = """
spec:
  guardrails:
    customRoles: {permissions: ["run.*", "iam.serviceAccounts.*"], namespaces: ["*"], allowEscalation: true}
    grants:
    - {roles: ["projects/*/roles/*"], targetKinds: [Project, Service], members: ["*"], namespaces: ["*"]}
    - {roles: [roles/cloudsql.client], targetKinds: [Project], members: ["*"], namespaces: ["*"]}
"""
_ids = itertools.count()


@pytest.fixture
def role_id() -> str:
    """Return the ID of a role that no other test uses."""
    return f"role{next(_ids)}"


@pytest.fixture(autouse=True)
def guardrails(tenants: Tenants) -> None:
    """Let every namespace define roles that escalate, and grant custom roles that do not."""
    tenants.scene.patch(f"ManagedProject/{tenants.scene.name}", GUARDRAILS)


class Role:
    """A role of Mallory, and what she does with it."""

    def __init__(self, tenants: Tenants, role_id: str) -> None:
        self.tenants = tenants
        self.scene = tenants.scene
        self.role_id = role_id
        self.name = f"CustomRole/{role_id}"
        self.resource = f"{tenants.scene.project}/roles/{role_id}"

    def define(self, permissions: str = NARROW, more: str = "") -> None:
        spec = ROLE % (self.role_id, permissions)
        self.tenants.apply("CustomRole", spec[:-1] + f"{more}}}", self.role_id)

    def ready(self) -> None:
        self.scene.ready(self.name, namespace=self.tenants.mallory)

    def bind(self, target: str = PROJECT, policy: str = "Abandon") -> str:
        name = self.tenants.apply("IAMBinding", BINDING % (target, self.role_id, policy), self.role_id)
        self.scene.ready(name, namespace=self.tenants.mallory)
        return name

    def remove(self, name: str) -> None:
        self.scene.delete(name, namespace=self.tenants.mallory)
        self.scene.wait_until_deleted(name, namespace=self.tenants.mallory)

    def widen(self) -> None:
        self.scene.patch(self.name, WIDENED, namespace=self.tenants.mallory)

    def refused(self, saying: str = MALLORY, reason: str = "DeniedByGuardrail") -> str:
        """Wait for the refusal; check that Google was not asked to write a role meanwhile."""
        message = self.scene.fails(self.name, reason, saying=saying, namespace=self.tenants.mallory)
        assert WIDE not in self.permissions()
        return message

    def permissions(self) -> list[str]:
        found = self.scene.cloud.role(self.resource) or {}
        return [] if found.get("deleted") else list(found.get("includedPermissions", ()))

    def left_on(self, target: str) -> list[str]:
        """Return the members of left grants of the role that the ledger of a policy records."""
        left = self.scene.ledger(target).get("leftGrants", ())
        return [each["member"] for each in left if each["role"] == self.resource]

    def writes(self) -> int:
        calls = self.scene.cloud.calls()
        return calls["IAM/CreateRole"] + calls["IAM/UpdateRole"] + calls["IAM/UndeleteRole"]


@pytest.fixture
def role(tenants: Tenants, role_id: str) -> Role:
    return Role(tenants, role_id)


def abandon_binding(role: Role) -> str:
    role.remove(role.bind())
    return MALLORY


def abandon_binding_on_service(role: Role) -> str:
    role.remove(role.bind(SERVICE))
    return MALLORY


def abandon_identity(role: Role) -> str:
    account = f"acc-{role.role_id}"
    spec = f"{{roles: [{{customRoleRef: {{name: {role.role_id}}}}}], deletionPolicy: Abandon}}"
    name = role.tenants.apply("CloudRunIdentity", spec, account)
    role.scene.ready(name, namespace=role.tenants.mallory)
    role.remove(name)
    return role.scene.member(account)


def grant_by_hand(role: Role) -> str:
    role.scene.cloud.add(role.scene.project, role.resource, MALLORY)
    return MALLORY


def restore_the_ledger(role: Role) -> str:
    """Bind the role, restore the ledger as it was before, and delete the binding."""
    target = f"//cloudresourcemanager.googleapis.com/{role.scene.project}"
    before = role.scene.ledger(target)
    binding = role.bind(policy="Delete")
    role.scene.edit_ledger(role.scene.raw_ledger(target), {"bindings": before.get("bindings", [])})
    role.remove(binding)
    assert role.scene.policy()[role.resource] == [MALLORY]
    return MALLORY


WAYS = [
    abandon_binding,
    abandon_binding_on_service,
    abandon_identity,
    grant_by_hand,
    restore_the_ledger,
]


@pytest.mark.parametrize("hold", WAYS, ids=lambda way: way.__name__)
def test_role_is_not_widened_for_a_holder_that_no_object_declares(
    role: Role, hold: Callable[[Role], str]
) -> None:
    role.define()
    role.ready()
    member = hold(role)
    writes = role.writes()

    role.widen()

    message = role.refused(member)
    assert f"{member} holds the role on" in message
    assert role.writes() == writes
    assert role.scene.is_stalled(role.name, namespace=role.tenants.mallory)


def test_role_is_not_undeleted_wider_for_a_forgotten_holder(role: Role) -> None:
    role.define()
    role.ready()
    abandon_binding(role)
    role.remove(role.name)
    writes = role.writes()

    role.define(f"{NARROW}, {WIDE}")

    role.refused()
    assert role.writes() == writes


def test_role_is_not_adopted_wider_for_a_holder_by_hand(role: Role) -> None:
    scene = role.scene
    scene.cloud.create_role(scene.name, role.role_id, [NARROW])
    grant_by_hand(role)
    listed = f"[{{roleID: {role.role_id}, namespaces: ['{role.tenants.mallory}']}}]"
    scene.patch(f"ManagedProject/{scene.name}", f"spec: {{guardrails: {{adoptableRoles: {listed}}}}}")
    writes = role.writes()

    role.define(f"{NARROW}, {WIDE}", ", adoption: Adopt")

    role.refused()
    assert role.writes() == writes


def test_observing_role_reports_the_same_refusal(role: Role) -> None:
    role.define()
    role.ready()
    abandon_binding(role)
    change = f"spec: {{managementPolicy: Observe, permissions: [{NARROW}, {WIDE}]}}"
    role.scene.patch(role.name, change, namespace=role.tenants.mallory)
    assert "holds the role on" in role.refused()


def test_role_is_not_widened_while_a_policy_cannot_be_read(role: Role) -> None:
    scene = role.scene
    role.define()
    role.ready()
    role.bind(SERVICE, "Delete")
    scene.patch(f"IAMBinding/{role.role_id}", "spec: {suspend: true}", namespace=role.tenants.mallory)
    scene.fails(f"IAMBinding/{role.role_id}", "Suspended", namespace=role.tenants.mallory)
    scene.cloud.fail("*Services/GetIamPolicy", "PERMISSION_DENIED", times=1000)

    scene.patch(
        role.name, "spec: {permissions: [run.jobs.run, run.jobs.get]}", namespace=role.tenants.mallory
    )

    message = role.refused("Service europe-west1/mallory-web", "PermissionDenied")
    assert f"reading the holders of {role.resource}" in message
    scene.cloud.recover()
    requested = "metadata: {annotations: {cloudrun-identity.dev/reconcile-requested-at: now}}"
    scene.patch(role.name, requested, namespace=role.tenants.mallory)
    role.ready()


def test_role_is_widened_once_nobody_holds_it(role: Role) -> None:
    role.define()
    role.ready()
    abandon_binding_on_service(role)
    target = f"//run.googleapis.com/{role.scene.service('mallory-web')}"
    assert role.left_on(target) == [MALLORY]
    role.widen()
    role.refused()

    role.scene.cloud.remove(role.scene.service("mallory-web"), role.resource, MALLORY)
    requested = "metadata: {annotations: {cloudrun-identity.dev/reconcile-requested-at: again}}"
    role.scene.patch(role.name, requested, namespace=role.tenants.mallory)

    role.ready()
    assert WIDE in role.permissions()
    assert role.left_on(target) == []


def test_restored_ledger_does_not_remove_a_grant_by_hand(role: Role) -> None:
    """The grant was the operator's when the ledger was backed up, and another user's when it is restored."""
    scene, client = role.scene, "roles/cloudsql.client"
    target = f"//cloudresourcemanager.googleapis.com/{scene.project}"
    spec = f"{{target: {{kind: Project}}, role: {client}, members: %s}}"
    both = f"[{{principal: '{MALLORY}'}}, {{principal: 'group:ops@example.com'}}]"
    name = role.tenants.apply("IAMBinding", spec % both, role.role_id)
    scene.ready(name, namespace=role.tenants.mallory)
    backup = scene.ledger(target)
    role.tenants.apply("IAMBinding", spec % f"[{{principal: '{MALLORY}'}}]", role.role_id)
    scene.ready(name, namespace=role.tenants.mallory)
    scene.cloud.add(scene.project, client, "group:ops@example.com")

    scene.edit_ledger(scene.raw_ledger(target), {"bindings": backup["bindings"]})
    requested = "metadata: {annotations: {cloudrun-identity.dev/reconcile-requested-at: restored}}"
    scene.patch(name, requested, namespace=role.tenants.mallory)

    eventually(lambda: scene.ledger(target)["bindings"], lambda bindings: bindings != backup["bindings"])
    assert set(scene.policy()[client]) == {MALLORY, "group:ops@example.com"}
    assert not scene.ledger(target)["restored"]
    role.remove(name)
    assert scene.policy()[client] == ["group:ops@example.com"]


def test_idle_role_reads_no_policies(role: Role) -> None:
    role.define()
    role.ready()
    abandon_binding(role)
    calls = role.tenants.calls_for()
    role.scene.patch(role.name, "spec: {title: Renamed}", namespace=role.tenants.mallory)
    role.ready()
    asked = role.tenants.calls_for() - calls
    assert asked["IAM/UpdateRole"] == 1
    assert asked["Projects/GetIamPolicy"] == 0


def test_left_role_is_taken_back_by_its_namespace_only(tenants: Tenants, role: Role) -> None:
    """The case of a waiting object of another namespace, which is older than the object that returns."""
    scene, name = tenants.scene, role.name
    pay_role = f"""
kind: CustomRole
metadata: {{name: pay-{role.role_id}}}
spec: {{roleID: {role.role_id}, permissions: [run.jobs.get, run.jobs.run], deletionPolicy: Abandon}}
"""
    pay = f"CustomRole/pay-{role.role_id}"
    scene.apply(pay_role)
    scene.ready(pay)
    scene.cloud.add(scene.project, role.resource, "group:pay-ops@example.com")
    role.define(more=", adoption: Adopt")
    scene.fails(name, "Conflict", saying="another namespace", namespace=tenants.mallory)
    before = scene.cloud.role(role.resource)

    scene.delete_and_wait(pay)
    message = scene.fails(name, "DeniedByGuardrail", saying="adoptableRoles", namespace=tenants.mallory)
    assert f"pay-{role.role_id}" not in message
    assert scene.cloud.role(role.resource) == before
    scene.apply(pay_role)
    scene.ready(pay)
    assert scene.cloud.role(role.resource) == before
    assert scene.status(pay)["origin"] == "Created"

    role.remove(name)
    assert scene.cloud.role(role.resource) == before


@pytest.mark.parametrize("adoption", ["Fail", "Adopt"])
def test_left_account_is_taken_back_by_its_namespace_only(
    tenants: Tenants, role_id: str, adoption: str
) -> None:
    scene, account = tenants.scene, f"acc-{role_id}"
    paying = f"""
kind: CloudRunIdentity
metadata: {{name: {account}}}
spec: {{deletionPolicy: Abandon}}
"""
    pay = f"CloudRunIdentity/{account}"
    scene.apply(paying)
    scene.ready(pay)
    unique_id = scene.cloud.accounts(scene.name)[account]["uniqueId"]
    creators = f"tokenCreators: [{{principal: '{MALLORY}'}}]"
    spec = f"{{accountID: {account}, adoption: {adoption}, {creators}}}"
    waiting = tenants.apply("CloudRunIdentity", spec, f"lurk-{role_id}")
    reason, saying = {
        "Adopt": ("DeniedByGuardrail", "adoptableAccounts"),
        "Fail": ("Conflict", "another namespace"),
    }[adoption]
    scene.fails(waiting, reason, saying=saying, namespace=tenants.mallory)

    scene.delete_and_wait(pay)
    scene.apply(paying)
    scene.ready(pay)
    scene.fails(waiting, reason, saying=saying, namespace=tenants.mallory)

    assert scene.cloud.accounts(scene.name)[account]["uniqueId"] == unique_id
    assert scene.status(pay)["origin"] == "Created"
    assert scene.cloud.policy(scene.account(account)) == {}
    scene.delete(waiting, namespace=tenants.mallory)
    scene.wait_until_deleted(waiting, namespace=tenants.mallory)
    assert account in scene.cloud.accounts(scene.name)


def test_left_role_in_use_is_released_and_keeps_its_grants(role: Role) -> None:
    role.define(more=", deletionPolicy: Abandon")
    role.ready()
    binding = role.bind(policy="Delete")
    role.remove(role.name)
    assert role.permissions() == [NARROW]
    assert role.scene.policy()[role.resource] == [MALLORY]
    role.remove(binding)
    assert role.resource not in role.scene.policy()


def test_foreign_binding_does_not_hold_a_role_of_another_team(tenants: Tenants, role: Role) -> None:
    scene = tenants.scene
    scene.apply(
        f"""
kind: CustomRole
metadata: {{name: {role.role_id}}}
spec: {{roleID: {role.role_id}, permissions: [run.jobs.get, run.jobs.run]}}
"""
    )
    scene.ready(role.name)
    binding = role.bind(policy="Delete")

    scene.patch(role.name, "spec: {permissions: [run.jobs.run]}")
    scene.ready(role.name)
    assert role.permissions() == [NARROW]
    scene.patch(role.name, WIDENED)
    message = scene.fails(role.name, "DeniedByGuardrail", saying="an object of another namespace")
    assert tenants.mallory not in message
    scene.delete_and_wait(role.name)

    assert role.permissions() == []
    message = scene.fails(binding, "DependencyNotFound", saying="is deleted", namespace=tenants.mallory)
    assert role.resource in message
    role.remove(binding)
