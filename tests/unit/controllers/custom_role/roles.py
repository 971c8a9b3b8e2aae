"""A CustomRole, its project, the states of its role, and a fake of the roles of a project."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

from google.iam.v1.policy_pb2 import Binding, Policy

from cloudrun_identity.api import CustomRole, LedgerRole, Origin, RoleState, TargetKind
from cloudrun_identity.controllers.custom_role.controller import CustomRoleController
from cloudrun_identity.controllers.custom_role.execution import RoleExecution
from cloudrun_identity.controllers.custom_role.holders import RoleHolders
from cloudrun_identity.controllers.custom_role.role import RoleSeen, RoleWant
from cloudrun_identity.controllers.custom_role.role_records import RoleRecords
from cloudrun_identity.gcp.custom_roles import CustomRoleState, RoleFields
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.reconcile.preconditions import Allowed
from tests.unit.controllers.carry_out import NOON
from tests.unit.controllers.cluster_state import FakeClusterState, parsed, project
from tests.unit.policy.fake_policies import fault
from tests.unit.policy.fakes import FakeLedgers

ROLE = """
kind: CustomRole
metadata: {name: runner, namespace: payments, uid: u-runner}
spec:
  projectRef: {name: payments-prod}
  roleID: runner
  title: Runner
  permissions: [run.jobs.get, run.jobs.run]
"""
PROJECT = project(
    guardrails={
        "customRoles": {"permissions": ["run.*"], "namespaces": ["payments"]},
        "adoptableRoles": [{"roleID": "runner", "namespaces": ["payments"]}],
    }
)
TARGET = Target(TargetKind.PROJECT, "payments-prod-1234")
NAME = "projects/payments-prod-1234/roles/runner"
RECORD = LedgerRole(
    role_id="runner",
    owner="payments/runner",
    owner_uid="u-runner",
    origin=Origin.CREATED,
    state=RoleState.PRESENT,
)
CREATING = RECORD.replace(state=RoleState.CREATING)
ADOPTED = RECORD.replace(origin=Origin.ADOPTED)
LEFT = RECORD.replace(state=RoleState.ABANDONED)
DELETED = RECORD.replace(state=RoleState.DELETED, deleted_time=NOON)
AS_DECLARED = CustomRoleState(NAME, "Runner", "", "GA", frozenset({"run.jobs.get", "run.jobs.run"}), b"1")
NOT_HELD = RoleHolders()
OTHER_NAMESPACE = DELETED.replace(owner="shop/runner")
WIDE = AS_DECLARED.permissions | {"run.jobs.delete"}
NARROW = frozenset({"run.jobs.run"})
OPS = (Grant(TARGET, NAME, "group:ops@example.com"), "IAMBinding/payments/ops/u")
"""A registered grant of the role that no guardrail of PROJECT admits."""


class OnePolicy:
    """The policy of the project, in which these members have the role."""

    def __init__(self, *members: str) -> None:
        self._members = members
        self.reads = 0

    async def get(self, target: Target) -> Policy:
        self.reads += 1
        return Policy(bindings=[Binding(role=NAME, members=self._members)])


class RegisteredGrants:
    """Grants of the role that objects have registered."""

    def __init__(self, *grants: tuple[Grant, str]) -> None:
        self._grants = grants

    def about_to_hold(self, role: str, project_id: str) -> Iterable[tuple[Grant, str]]:
        return self._grants


class FakeCustomRoles:
    """The custom role of one project, as the IAM API serves it."""

    def __init__(self, role: CustomRoleState | None, unsupported: frozenset[str] = frozenset()) -> None:
        self.stored = role
        self.calls: list[str] = []
        self._unsupported = unsupported

    async def role(self, project_id: str, role_id: str, max_age: float) -> CustomRoleState | None:
        return self.stored

    async def unsupported(self, project_id: str, permissions: frozenset[str]) -> frozenset[str]:
        return permissions & self._unsupported

    async def create(self, project_id: str, role_id: str, fields: RoleFields) -> CustomRoleState:
        self.calls.append("create")
        if self.stored:
            raise fault(Fault.FAILED_PRECONDITION if self.stored.deleted else Fault.ALREADY_EXISTS)
        name = f"projects/{project_id}/roles/{role_id}"
        return self._store(CustomRoleState(name, "", "", fields.stage, frozenset(), b"0"), fields)

    async def update(self, project_id: str, role_id: str, fields: RoleFields, etag: bytes) -> CustomRoleState:
        self.calls.append("update")
        return self._store(self._found(etag), fields)

    async def delete(self, project_id: str, role_id: str, etag: bytes) -> CustomRoleState:
        self.calls.append("delete")
        self.stored = replace(self._found(etag), deleted=True)
        return self.stored

    async def undelete(self, project_id: str, role_id: str, etag: bytes) -> CustomRoleState:
        self.calls.append("undelete")
        self.stored = replace(self._found(etag), deleted=False)
        return self.stored

    def _found(self, etag: bytes) -> CustomRoleState:
        if self.stored is None:
            raise fault(Fault.NOT_FOUND)
        if self.stored.etag != etag:
            raise fault(Fault.ABORTED)
        return self.stored

    def _store(self, role: CustomRoleState, fields: RoleFields) -> CustomRoleState:
        assert not fields.permissions & self._unsupported
        self.stored = replace(
            role,
            title=role.title if fields.title is None else fields.title,
            description=role.description if fields.description is None else fields.description,
            stage=fields.stage,
            permissions=fields.permissions,
            etag=role.etag + b"+",
        )
        return self.stored


def ledgers_with(record: LedgerRole | None) -> FakeLedgers:
    """Return ledgers with the record of the role."""
    ledgers = FakeLedgers()
    if record:
        ledgers.stored[TARGET] = Ledger.of(TARGET).with_role(record)
    return ledgers


def controller(
    *grants: tuple[Grant, str],
    record: LedgerRole | None = RECORD,
    roles: FakeCustomRoles | None = None,
    policies: "OnePolicy | None" = None,
) -> CustomRoleController:
    """Return the kind CustomRole with these registered grants and this record of the role."""
    no_clients: Any = None
    fake: Any = roles or FakeCustomRoles(None)
    records = RoleRecords(ledgers_with(record), lambda: NOON)
    execution = RoleExecution(fake, Roles(no_clients, lambda: 0.0), records, lambda: NOON, lambda _: None)
    registered = RegisteredGrants(*grants)
    return CustomRoleController(fake, records, execution, registered, policies or OnePolicy(), lambda: NOON)


def role(**spec: Any) -> CustomRole:
    return cast("CustomRole", parsed(ROLE, **spec))


def cluster_with(record: LedgerRole | None = RECORD) -> FakeClusterState:
    """Return a cluster with the project and the record of the role."""
    return FakeClusterState(PROJECT, roles=[record] if record else ())


def want(
    record: LedgerRole | None = RECORD,
    *grants: tuple[Grant, str],
    **spec: Any,
) -> RoleWant:
    """Return the declared role, if the guardrails admit it."""
    kind = controller(*grants, record=record)
    resolved = kind.resolve(role(**spec), Allowed(PROJECT, observe=False), cluster_with(record))
    assert isinstance(resolved, RoleWant)
    return resolved


def declared(record: LedgerRole | None = RECORD, *, denied: bool = False, adopts: bool = False) -> RoleWant:
    """Return the declared role. If `denied`, the guardrails do not admit the grants of the role."""
    return want(record, *([OPS] if denied else []), adoption="Adopt" if adopts else "Fail")


def deletion(*users: str, abandon: bool = False) -> RoleWant:
    """Return the deletion of the role, whether or not the object manages it."""
    return RoleWant(
        role(),
        TARGET.project_id,
        None,
        None,
        _no_holders,
        _no_ledgers,
        users=users,
        deletes=True,
        abandon=abandon,
    )


def seen(*unsupported: str, record: LedgerRole | None = RECORD, **fields: Any) -> RoleSeen:
    """Return the role as read: as declared, but for these fields."""
    return RoleSeen(replace(AS_DECLARED, **fields), record, frozenset(unsupported), NOT_HELD)


def _no_holders() -> Iterable[Any]:
    return ()


def _no_ledgers() -> Iterable[Ledger]:
    return ()
