"""Edits of a custom role and a binding, in any order and timing, grant only admitted permissions."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import Any

import looptime
import pytest
from google.cloud.iam_admin_v1 import types
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import CustomRole, LedgerEntry, LedgerRole, Origin, RoleState, TargetKind
from cloudrun_identity.controllers.custom_role.controller import CustomRoleController
from cloudrun_identity.controllers.custom_role.execution import RoleExecution
from cloudrun_identity.controllers.custom_role.role import RoleWant
from cloudrun_identity.controllers.custom_role.role_records import RoleRecords
from cloudrun_identity.gcp.custom_roles import CustomRoles
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrants
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.grants.members import GrantMember
from cloudrun_identity.reconcile.grants.resolver import GrantResolver, RequestedGrant
from cloudrun_identity.reconcile.preconditions import Allowed
from tests.unit.controllers.carry_out import carried_out
from tests.unit.controllers.cluster_state import FakeClusterState, project
from tests.unit.policy.fake_policies import fault
from tests.unit.policy.fakes import NOON, SyncerEnvironment

NARROW = ("run.jobs.run",)
WIDE = ("run.jobs.run", "run.jobs.runWithOverrides")  # the second one escalates
PROJECT = project(
    guardrails={
        "customRoles": {"permissions": ["run.*"], "allowEscalation": True, "namespaces": ["*"]},
        "grants": [
            {"roles": ["projects/*"], "targetKinds": ["Project"], "members": ["group:*"], "namespaces": ["*"]}
        ],
    }
)
TARGET = Target(TargetKind.PROJECT, PROJECT.project_id)
GRANT = Grant(TARGET, f"projects/{PROJECT.project_id}/roles/runner", "group:ops@example.com")
BINDING = Owner("IAMBinding", "payments", "ops", "u-ops")


class Google:
    """The IAM API with one role. Calls take time, and a write may take effect and lose its reply."""

    get_role = update_role = query_testable_permissions = None

    def __init__(self, chance: Random, check: Callable[[], None]) -> None:
        self.permissions = NARROW
        self._chance = chance
        self._check = check
        self._writes = 0

    def for_project(self, _: str) -> "Google":
        return self

    def client(self, *_: object) -> "Google":
        return self

    async def call(self, _: object, method: str, invoke: object, request: Any, **__: object) -> object:
        await asyncio.sleep(self._chance.random())
        reply = self._served(method.rpartition("/")[2], request)
        await asyncio.sleep(self._chance.random())
        if method.endswith("UpdateRole") and self._chance.random() < 0.2:
            raise fault(Fault.UNAVAILABLE)
        return reply

    def _served(self, verb: str, request: Any) -> object:
        if verb == "QueryTestablePermissions":
            return types.QueryTestablePermissionsResponse()
        if verb == "UpdateRole":
            if request.role.etag != self._etag:
                raise fault(Fault.ABORTED)
            self.permissions = tuple(request.role.included_permissions)
            self._writes += 1
            self._check()
        return types.Role(name=GRANT.role, stage="GA", included_permissions=self.permissions, etag=self._etag)

    @property
    def _etag(self) -> bytes:
        return b"%d" % self._writes


class History:
    """The role and the binding as declared. One reconcile of each runs at a time."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.env = SyncerEnvironment()
        self.env.policies.create(TARGET)
        record = LedgerRole(
            role_id="runner",
            owner="payments/runner",
            owner_uid="u-runner",
            origin=Origin.CREATED,
            state=RoleState.PRESENT,
        )
        self.env.ledgers.stored[TARGET] = Ledger.of(TARGET).with_role(record)
        self.google = Google(chance, self.check)
        self.permissions, self.binds, self.suspended = NARROW, False, False
        self.syncers = PolicySyncers(self.env.ports)
        expansions = Roles(self.google, asyncio.get_running_loop().time)
        self.resolver = GrantResolver(expansions)
        custom_roles = CustomRoles(self.google, asyncio.get_running_loop().time)
        records = RoleRecords(self.env.ledgers, lambda: NOON)
        execution = RoleExecution(custom_roles, expansions, records, lambda: NOON, lambda _: None)
        self.controller = CustomRoleController(
            custom_roles, records, execution, self.syncers, self.env.policies, lambda: NOON
        )

    def check(self) -> None:
        held = GRANT in self.env.policies.present(TARGET)
        assert not (held and set(self.google.permissions) == set(WIDE)), (
            "a permission is granted that is not admitted"
        )

    @property
    def role(self) -> CustomRole:
        return CustomRole.model_validate(
            {
                "metadata": {"name": "runner", "namespace": "payments", "uid": "u-runner"},
                "spec": {
                    "projectRef": {"name": PROJECT.metadata.name},
                    "roleID": "runner",
                    "permissions": self.permissions,
                },
            }
        )

    async def reconcile_role(self) -> None:
        cluster = LiveClusterState(self)
        want = self.controller.resolve(self.role, Allowed(PROJECT, observe=False), cluster)
        assert isinstance(want, RoleWant)
        await carried_out(self.controller, want)

    async def reconcile_binding(self) -> None:
        if self.suspended:
            self.syncers.declare(DesiredGrants(BINDING, retains=(RETAIN_ALL,), writable=False))
            return
        listed = (
            (RequestedGrant("spec.members[0]", TARGET, GRANT.role, GrantMember(GRANT.member)),)
            if self.binds
            else ()
        )
        max_age = self.chance.choice((0.0, 1000.0))
        resolved = await self.resolver.resolve(
            listed, BINDING.namespace, PROJECT, LiveClusterState(self), max_age
        )
        self.syncers.declare(DesiredGrants(BINDING, resolved.desired, resolved.retains))
        self.env.policies.latency = self.chance.random()
        self.env.policies.after_set = [self.check]
        await self.syncers.sync(BINDING)


class LiveClusterState(FakeClusterState):
    """Current objects and ledgers."""

    def __init__(self, history: History) -> None:
        super().__init__(PROJECT)
        self._history = history

    def custom_role(self, namespace: str, name: str) -> CustomRole | None:
        return self._history.role

    def ledger(self, target: Target) -> Ledger:
        return self._history.env.ledgers.ledger(target)

    def role(self, project_id: str, role_id: str) -> LedgerRole | None:
        return self.ledger(TARGET).role(role_id)

    def held_by_role(self, role: str) -> Iterable[tuple[Grant, LedgerEntry]]:
        return self.ledger(TARGET).entries.items()


async def retried(reconcile: Callable[[], Awaitable[None]]) -> None:
    """Reconcile an object until it succeeds, as the work queue does."""
    while True:
        try:
            return await reconcile()
        except GoogleError:
            await asyncio.sleep(0.1)


async def history_of(chance: Random, edits: list[tuple[str, bool, float]]) -> History:
    """Edit the two objects at these intervals; each edit requeues the edited object."""
    history = History(chance)
    role, binding = asyncio.Lock(), asyncio.Lock()

    async def work(lock: asyncio.Lock) -> None:
        async with lock:
            await retried(history.reconcile_role if lock is role else history.reconcile_binding)

    async with asyncio.TaskGroup() as tasks:
        for edited, yes, after in edits:
            await asyncio.sleep(after)
            match edited:
                case "role expanded":
                    history.permissions = WIDE if yes else NARROW
                case "bound":
                    history.binds = yes
                case "suspended":
                    history.suspended = yes
            tasks.create_task(work(role if edited == "role expanded" else binding))
    await work(binding)  # the resync
    await history.syncers.close()
    return history


def run(chance: Random, edits: list[tuple[str, bool, float]]) -> History:
    loop = looptime.new_event_loop(start=1000)
    try:
        return loop.run_until_complete(history_of(chance, edits))
    finally:
        loop.close()


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param(["bound", "role expanded"], id="grant, then expansion"),
        pytest.param(["role expanded", "bound"], id="expansion, then grant"),
        pytest.param(["role expanded", "role reduced", "bound"], id="expansion that is reverted"),
        pytest.param(["bound", "suspended", "role expanded"], id="grant that is retained"),
    ],
)
def test_edits_in_any_timing_grant_only_admitted_permissions(edits: list[str]) -> None:
    for tenths in range(0, 30, 3):
        steps = [(edit.replace("reduced", "expanded"), "reduced" not in edit) for edit in edits]
        script = [(*step, tenths / 10) for step in steps]
        run(Random(tenths), script)
        run(Random(tenths + 1), [*script[:-1], (*script[-1][:2], tenths / 20)])


EDITS = st.lists(
    st.tuples(st.sampled_from(("role expanded", "bound", "suspended")), st.booleans(), st.floats(0.0, 2.0)),
    max_size=8,
)


@given(chance=st.randoms(use_true_random=False), edits=EDITS)
def test_no_interleaving_grants_permissions_that_are_not_admitted(
    chance: Random, edits: list[tuple[str, bool, float]]
) -> None:
    history = run(chance, edits)
    held = GRANT in history.env.policies.present(TARGET)
    if not history.suspended and history.permissions == NARROW:
        assert held == history.binds, "a grant that the expansion delayed is written in the end"
        assert set(history.google.permissions) == set(NARROW)
