"""What is done to a custom role, interrupted between any two steps: the next try ends as if nothing was."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from cloudrun_identity.api import CustomRole, ManagedProject, RoleState, TargetKind
from cloudrun_identity.controllers.custom_role.controller import CustomRoleController
from cloudrun_identity.controllers.custom_role.definitions import DeclaredRole, RoleDefinitions
from cloudrun_identity.controllers.gate import Passed
from cloudrun_identity.controllers.outcomes import InSync, Outcome, Refused
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.custom_roles import CustomRoles, CustomRoleState
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.ledger import Ledger, RoleRecord
from cloudrun_identity_playground.emulator.emulator import Emulator
from tests.gcp.conftest import SEED, Observer
from tests.unit.controllers.world import FakeWorld

NOW = datetime(2030, 1, 2, tzinfo=UTC)
PROJECT = Target(TargetKind.PROJECT, "shop-1234")


def lent(permissions: list[str]) -> ManagedProject:
    spec = {
        "projectID": PROJECT.project_id,
        "namespaces": {"names": ["payments"]},
        "guardrails": {"customRoles": {"permissions": permissions}},
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


class Killed(Exception):  # noqa: N818 - it names what happened
    """The process ended."""


class Life:
    """One custom role's world: the cloud is the emulator, the ledger is kept in memory and never lost."""

    def __init__(self, clients: GoogleClients) -> None:
        self.roles = CustomRoles(clients, clock=lambda: 0.0)
        self.ledger = Ledger(PROJECT)
        self.clock = NOW
        self.die_at = ""
        self.admitted = ["run.*"]
        definitions = RoleDefinitions(self.roles, Roles(clients), self, lambda: self.clock, self._checkpoint)
        self.controller = CustomRoleController(self.roles, definitions)

    async def update(self, target: Target, change: Callable[[Ledger], Ledger]) -> Ledger:
        assert target == PROJECT
        self.ledger = change(self.ledger)
        return self.ledger

    async def declared(self, obj: CustomRole) -> Outcome:
        """One pass over the object."""
        want = self.controller.desired(obj, Passed(lent(self.admitted), observe=False), self._world())
        if not isinstance(want, DeclaredRole):
            return want.outcome
        seen = await self.controller.observe(want, 0.0)
        return (await self.controller.apply(want, seen, self.controller.diff(want, seen))).outcome

    async def deleted(self, obj: CustomRole) -> Outcome:
        """One pass over the object on its way out."""
        return await self.controller.delete(obj, self._world(), abandon=False)

    async def seen(self) -> CustomRoleState | None:
        return await self.roles.role(PROJECT.project_id, "runner", 0.0)

    @property
    def record(self) -> RoleRecord | None:
        return self.ledger.roles.get("runner")

    def _world(self) -> FakeWorld:
        return FakeWorld(
            lent(self.admitted), namespaces=["payments", "shop"], roles=self.ledger.roles.values()
        )

    def _checkpoint(self, step: str) -> None:
        if step == self.die_at:
            self.die_at = ""
            raise Killed(step)


@pytest.fixture
def life(clients: GoogleClients) -> Life:
    return Life(clients)


@pytest.mark.parametrize("step", ["", "role recorded", "role created"])
async def test_a_role_is_made_once(life: Life, emulator: Emulator, step: str) -> None:
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
async def test_a_deleted_role_is_remembered_as_ours(life: Life, step: str) -> None:
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


@pytest.mark.parametrize("step", ["", "role recorded", "role brought back"])
async def test_a_role_that_we_deleted_is_brought_back_and_updated(life: Life, step: str) -> None:
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


async def test_what_the_guardrails_admit_no_more_is_not_brought_back_to_be_narrowed(
    life: Life, emulator: Emulator
) -> None:
    await life.declared(runner())
    await life.deleted(runner())
    life.admitted = ["run.jobs.get"]

    outcome = await life.declared(runner(permissions=["run.jobs.get"]))

    assert isinstance(outcome, Refused)
    assert outcome.message.startswith("spec.roleID: projects/shop-1234/roles/runner permits too much now")
    assert "run.jobs.run" in outcome.message
    assert emulator.calls["google.iam.admin.v1.IAM/UndeleteRole"] == 0


async def test_another_namespace_does_not_bring_back_what_was_not_its_own(life: Life) -> None:
    await life.declared(runner())
    await life.deleted(runner())

    outcome = await life.declared(runner(namespace="shop"))

    assert isinstance(outcome, Refused)
    assert "was CustomRole payments/runner's and is deleted" in outcome.message


async def test_after_a_week_a_deleted_role_does_not_come_back_and_its_id_says_when_it_is_free() -> None:
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


async def test_a_memory_of_deleted_roles_ends_when_their_ids_are_free(life: Life) -> None:
    await life.declared(runner())
    await life.deleted(runner())
    life.clock += timedelta(days=38)

    await life.declared(runner("other", roleID="reader"))

    assert set(life.ledger.roles) == {"reader"}
