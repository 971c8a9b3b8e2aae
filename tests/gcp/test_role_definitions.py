"""The lifecycle of a custom role, with a crash between any two steps."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from cloudrun_identity.api import CustomRole, LedgerRole, ManagedProject, Origin, RoleState, TargetKind
from cloudrun_identity.controllers.custom_role.controller import CustomRoleController
from cloudrun_identity.controllers.custom_role.execution import RoleExecution
from cloudrun_identity.controllers.custom_role.role import RoleWant
from cloudrun_identity.controllers.custom_role.role_records import RoleRecords
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.custom_roles import CustomRoles, CustomRoleState, RoleFields
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Refused
from cloudrun_identity.reconcile.preconditions import Allowed
from cloudrun_identity_playground.emulator.emulator import Emulator
from tests.gcp.conftest import SEED, Observer
from tests.unit.controllers.carry_out import carried_out
from tests.unit.controllers.cluster_state import FakeClusterState

NOW = datetime(2030, 1, 2, tzinfo=UTC)
PROJECT = Target(TargetKind.PROJECT, "shop-1234")


def delegated(permissions: list[str]) -> ManagedProject:
    spec = {
        "projectID": PROJECT.project_id,
        "namespaces": {"names": ["payments", "shop"]},
        "guardrails": {
            "customRoles": {"permissions": permissions, "namespaces": ["*"]},
            "adoptableRoles": [{"roleID": "*", "namespaces": ["*"]}],
        },
    }
    return ManagedProject.model_validate(
        {
            "kind": "ManagedProject",
            "metadata": {"name": "shop"},
            "spec": spec,
            "status": {"projectNumber": "1"},
        }
    )


def runner(name: str = "runner", namespace: str = "payments", **spec: object) -> CustomRole:
    declared = {
        "projectRef": {"name": "shop"},
        "roleID": "runner",
        "title": "Runner",
        "permissions": ["run.jobs.get", "run.jobs.run"],
    }
    metadata = {"name": name, "namespace": namespace, "uid": f"u-{name}"}
    return CustomRole.model_validate({"kind": "CustomRole", "metadata": metadata, "spec": declared | spec})


class Killed(Exception):  # noqa: N818 - the name describes an event
    """The process crashed."""


class Life:
    """A custom role on the emulator, with a ledger in memory that survives each crash."""

    def __init__(self, clients: GoogleClients) -> None:
        self.roles = CustomRoles(clients, clock=lambda: 0.0)
        self.stored = Ledger.of(PROJECT)
        self.clock = NOW
        self.die_at = ""
        self.admitted = ["run.*"]
        self.desired_grants: list[tuple[Grant, str]] = []
        records = RoleRecords(self, lambda: self.clock)
        execution = RoleExecution(self.roles, Roles(clients), records, lambda: self.clock, self._checkpoint)
        self.controller = CustomRoleController(
            self.roles, records, execution, self, Policies(clients), lambda: self.clock
        )

    def ledger(self, target: Target) -> Ledger:
        assert target == PROJECT
        return self.stored

    async def update(self, target: Target, change: Callable[[Ledger], Ledger]) -> Ledger:
        assert target == PROJECT
        self.stored = change(self.stored)
        return self.stored

    def about_to_hold(self, role: str, project_id: str) -> Iterable[tuple[Grant, str]]:
        return self.desired_grants

    async def declared(self, obj: CustomRole) -> Outcome:
        """Reconcile the object."""
        want = self.controller.resolve(obj, Allowed(delegated(self.admitted), observe=False), self._world())
        if not isinstance(want, RoleWant):
            return want.outcome
        return (await carried_out(self.controller, want, now=self.clock)).outcome

    async def deleted(self, obj: CustomRole) -> Outcome:
        """Reconcile the object while it is being deleted."""
        want = self.controller.resolve_deletion(obj, self._world(), abandon=False)
        return (await carried_out(self.controller, want, now=self.clock)).outcome if want else InSync()

    def overtake(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[bytes], Awaitable[object]]) -> None:
        """Let another client act on the role right before the operator deletes it."""
        delete = self.roles.delete

        async def overtaken(project_id: str, role_id: str, etag: bytes) -> CustomRoleState:
            monkeypatch.setattr(self.roles, "delete", delete)
            await act(etag)
            return await delete(project_id, role_id, etag)

        monkeypatch.setattr(self.roles, "delete", overtaken)

    async def seen(self) -> CustomRoleState | None:
        return await self.roles.role(PROJECT.project_id, "runner", 0.0)

    @property
    def record(self) -> LedgerRole | None:
        return self.stored.role("runner")

    def _world(self) -> FakeClusterState:
        return FakeClusterState(
            delegated(self.admitted), namespaces=["payments", "shop"], roles=self.stored.roles
        )

    def _checkpoint(self, step: str) -> None:
        if step == self.die_at:
            self.die_at = ""
            raise Killed(step)


@pytest.fixture
def life(clients: GoogleClients) -> Life:
    return Life(clients)


@pytest.mark.parametrize("step", ["", "role recorded", "role created"])
async def test_role_is_created_once(life: Life, emulator: Emulator, step: str) -> None:
    life.die_at = step
    if step:
        with pytest.raises(Killed):
            await life.declared(runner())

    assert await life.declared(runner()) == InSync()

    assert emulator.calls["google.iam.admin.v1.IAM/CreateRole"] == 1
    assert life.record is not None
    assert (life.record.state, life.record.origin) == (RoleState.PRESENT, "Created")
    assert await life.declared(runner()) == InSync()
    assert emulator.calls["google.iam.admin.v1.IAM/UpdateRole"] == 0


@pytest.mark.parametrize("step", ["", "role deleted"])
async def test_deleted_role_stays_in_the_ledger(life: Life, step: str) -> None:
    await life.declared(runner())
    life.die_at = step
    if step:
        with pytest.raises(Killed):
            await life.deleted(runner())

    assert await life.deleted(runner()) == InSync()

    role = await life.seen()
    assert role is not None
    assert role.deleted
    assert life.record is not None
    assert (life.record.state, life.record.deleted_time) == (RoleState.DELETED, NOW)


@pytest.mark.parametrize(
    ("policy", "is_left"), [("DeleteIfCreated", True), ("Delete", False), ("Abandon", True)]
)
async def test_deletion_policy_decides_about_an_adopted_role(life: Life, policy: str, is_left: bool) -> None:
    fields = RoleFields("theirs", None, "GA", frozenset({"run.jobs.get"}))
    await life.roles.create(PROJECT.project_id, "runner", fields)
    adopting = runner(adoption="Adopt", deletionPolicy=policy)
    assert await life.declared(adopting) == InSync()

    assert await life.deleted(adopting) == InSync()

    role = await life.seen()
    assert role is not None
    assert role.deleted is not is_left
    assert (life.record is None) is is_left


@pytest.mark.parametrize(
    ("policy", "is_left"), [("DeleteIfCreated", False), ("Delete", False), ("Abandon", True)]
)
async def test_deletion_policy_decides_about_a_created_role(life: Life, policy: str, is_left: bool) -> None:
    await life.declared(runner(deletionPolicy=policy))

    assert await life.deleted(runner(deletionPolicy=policy)) == InSync()

    role = await life.seen()
    assert role is not None
    assert role.deleted is not is_left
    assert life.record is not None
    assert life.record.state is (RoleState.ABANDONED if is_left else RoleState.DELETED)


async def test_role_edited_during_its_deletion_is_deleted(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    await life.declared(runner())
    fields = RoleFields("theirs", None, "GA", frozenset({"run.jobs.get"}))
    life.overtake(monkeypatch, lambda etag: life.roles.update(PROJECT.project_id, "runner", fields, etag))

    assert await life.deleted(runner()) == InSync()

    role = await life.seen()
    assert role is not None
    assert role.deleted


async def test_role_deleted_by_another_client_can_be_undeleted(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    await life.declared(runner())
    life.overtake(monkeypatch, lambda etag: life.roles.delete(PROJECT.project_id, "runner", etag))

    assert await life.deleted(runner()) == InSync()

    assert life.record is not None
    assert life.record.state is RoleState.DELETED
    assert await life.declared(runner()) == InSync()
    assert life.record.state is RoleState.PRESENT


async def test_role_undeleted_by_another_client_must_be_adopted(life: Life) -> None:
    await life.declared(runner())
    await life.deleted(runner())
    gone = await life.seen()
    assert gone is not None
    await life.roles.undelete(PROJECT.project_id, "runner", gone.etag)

    outcome = await life.declared(runner())

    assert isinstance(outcome, Refused)
    assert "exists already; set spec.adoption to Adopt" in outcome.message
    assert await life.declared(runner(adoption="Adopt")) == InSync()
    assert life.record is not None
    assert life.record.origin is Origin.ADOPTED


@pytest.mark.parametrize("step", ["", "role recorded", "role brought back"])
async def test_role_deleted_by_the_operator_is_undeleted_and_updated(life: Life, step: str) -> None:
    await life.declared(runner())
    await life.deleted(runner())
    narrower = runner("other", permissions=["run.jobs.get"])
    life.die_at = step
    if step:
        with pytest.raises(Killed):
            await life.declared(narrower)

    assert await life.declared(narrower) == InSync()

    role = await life.seen()
    assert role is not None
    assert (role.deleted, role.permissions) == (False, {"run.jobs.get"})
    assert life.record is not None
    assert (life.record.state, life.record.owner) == (RoleState.PRESENT, "payments/other")


async def test_role_beyond_the_guardrails_is_not_undeleted(life: Life, emulator: Emulator) -> None:
    await life.declared(runner())
    await life.deleted(runner())
    life.admitted = ["run.jobs.get"]

    outcome = await life.declared(runner(permissions=["run.jobs.get"]))

    assert isinstance(outcome, Refused)
    assert outcome.message.startswith(
        "spec.roleID: projects/shop-1234/roles/runner has permissions that are not admitted"
    )
    assert "run.jobs.run" in outcome.message
    assert emulator.calls["google.iam.admin.v1.IAM/UndeleteRole"] == 0


async def test_role_is_not_undeleted_for_another_namespace(life: Life) -> None:
    await life.declared(runner())
    await life.deleted(runner())

    outcome = await life.declared(runner(namespace="shop"))

    assert isinstance(outcome, Refused)
    assert "belonged to another namespace and is deleted" in outcome.message


async def test_role_deleted_a_week_ago_is_refused_with_the_free_date() -> None:
    clock = [NOW.timestamp()]
    async with Emulator(seed=SEED, clock=lambda: clock[0]) as emulator:
        clients = GoogleClients(emulator.grpc_address, Observer())
        life = Life(clients)
        await life.declared(runner())
        await life.deleted(runner())
        clock[0] += timedelta(days=8).total_seconds()

        outcome = await life.declared(runner())

        await clients.close()
    assert isinstance(outcome, Refused)
    assert "choose another roleID until 2030-02-08" in outcome.message
    assert life.record is not None
    assert life.record.state is RoleState.DELETED


async def test_deleted_role_leaves_the_ledger_when_its_id_is_free(life: Life) -> None:
    await life.declared(runner())
    await life.deleted(runner())
    life.clock += timedelta(days=38)

    await life.declared(runner("other", roleID="reader"))

    assert {role.role_id for role in life.stored.roles} == {"reader"}


OPS = Grant(PROJECT, "projects/shop-1234/roles/runner", "group:ops@example.com")
BY_OPS = "IAMBinding/payments/ops/u-ops"


@pytest.mark.parametrize("wider", [{"permissions": ["run.jobs.run", "run.jobs.delete"]}, {"stage": "GA"}])
async def test_role_is_not_expanded_for_members_that_are_not_admitted(
    life: Life, emulator: Emulator, wider: dict[str, object]
) -> None:
    await life.declared(runner(stage="DISABLED") if "stage" in wider else runner())
    life.desired_grants = [(OPS, BY_OPS)]

    outcome = await life.declared(runner(**wider))

    assert isinstance(outcome, Refused)
    assert outcome.message.startswith("spec.permissions: IAMBinding payments/ops grants the role already")
    assert emulator.calls["google.iam.admin.v1.IAM/UpdateRole"] == 0


async def test_role_is_narrowed_and_renamed_for_any_member(life: Life) -> None:
    await life.declared(runner())
    life.desired_grants = [(OPS, BY_OPS)]

    assert await life.declared(runner(title="Other", permissions=["run.jobs.run"])) == InSync()

    role = await life.seen()
    assert role is not None
    assert (role.title, role.permissions) == ("Other", {"run.jobs.run"})


async def test_role_is_not_undeleted_for_members_that_are_not_admitted(
    life: Life, emulator: Emulator
) -> None:
    await life.declared(runner())
    role = await life.seen()
    assert role is not None
    await life.roles.delete(PROJECT.project_id, "runner", role.etag)
    life.desired_grants = [(OPS, BY_OPS)]

    assert isinstance(await life.declared(runner()), Refused)
    assert emulator.calls["google.iam.admin.v1.IAM/UndeleteRole"] == 0


CREATE_ROLE = "google.iam.admin.v1.IAM/CreateRole"
UNDELETE_ROLE = "google.iam.admin.v1.IAM/UndeleteRole"
UNKNOWN_OUTCOMES = [
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
]


@pytest.mark.parametrize("code", UNKNOWN_OUTCOMES, ids=lambda code: code.name)
async def test_create_with_an_unknown_outcome_is_looked_up(
    life: Life, emulator: Emulator, code: grpc.StatusCode
) -> None:
    emulator.faults.inject(CREATE_ROLE, code, applied=True)

    assert await life.declared(runner()) == InSync()
    assert emulator.calls[CREATE_ROLE] == 1
    assert life.record is not None
    assert life.record.state is RoleState.PRESENT


@pytest.mark.parametrize("code", UNKNOWN_OUTCOMES, ids=lambda code: code.name)
async def test_create_that_is_not_found_is_repeated(
    life: Life, emulator: Emulator, code: grpc.StatusCode
) -> None:
    emulator.faults.inject(CREATE_ROLE, code)
    with pytest.raises(GoogleError):
        await life.declared(runner())

    assert await life.declared(runner()) == InSync()
    assert emulator.calls[CREATE_ROLE] == 2


async def test_create_found_only_by_the_next_create_is_managed(life: Life, emulator: Emulator) -> None:
    """The lookup and the next read lag, so that the operator creates the role once more."""
    emulator.faults.inject(CREATE_ROLE, grpc.StatusCode.UNKNOWN, applied=True)
    emulator.faults.inject("google.iam.admin.v1.IAM/GetRole", grpc.StatusCode.NOT_FOUND, times=3)
    with pytest.raises(GoogleError):
        await life.declared(runner())

    assert await life.declared(runner()) == InSync()
    assert emulator.calls[CREATE_ROLE] == 2
    assert life.record is not None
    assert life.record.state is RoleState.PRESENT


async def test_role_of_another_user_is_not_taken_for_a_lost_create(life: Life, emulator: Emulator) -> None:
    emulator.faults.inject(CREATE_ROLE, grpc.StatusCode.PERMISSION_DENIED)
    with pytest.raises(GoogleError):
        await life.declared(runner())
    fields = RoleFields("Other", "", "GA", frozenset({"run.jobs.get"}))
    await life.roles.create(PROJECT.project_id, "runner", fields)

    refused = await life.declared(runner())

    assert isinstance(refused, Refused)
    assert "exists already" in refused.message


@pytest.mark.parametrize("code", UNKNOWN_OUTCOMES[:2], ids=lambda code: code.name)
async def test_undelete_with_an_unknown_outcome_is_looked_up(
    life: Life, emulator: Emulator, code: grpc.StatusCode
) -> None:
    await life.declared(runner())
    await life.deleted(runner())
    emulator.faults.inject(UNDELETE_ROLE, code, applied=True)

    assert await life.declared(runner()) == InSync()
    assert emulator.calls[UNDELETE_ROLE] == 1
