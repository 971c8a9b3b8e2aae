"""Roles that are granted in a project, compared between resyncs."""

import asyncio
from collections import Counter
from collections.abc import Iterable

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.manager.role_watch import RoleWatch

PROJECT = Target(TargetKind.PROJECT, "acme")
CUSTOM, PREDEFINED = "projects/acme/roles/deployer", "roles/viewer"


class FakeRoles:
    """Roles, and the ledgers that grant them."""

    def __init__(self) -> None:
        self.changed: Counter[str] = Counter()
        self.reads: dict[str, float] = {}
        self.fault: Fault | None = None
        self.both_asked: asyncio.Barrier | None = None
        self.granted = [CUSTOM, PREDEFINED]

    async def permissions(self, role: str, project_id: str, max_age: float) -> frozenset[str]:
        self.reads[role] = max_age
        if self.both_asked:
            await self.both_asked.wait()
        if self.fault:
            raise GoogleError(self.fault, "google.Service/Method", "no")
        return frozenset()

    def changes(self, role: str, project_id: str) -> int:
        return self.changed[role]

    def ledgers(self, project_id: str) -> Iterable[Ledger]:
        grants = [Grant(PROJECT, role, "user:ann@example.com") for role in self.granted]
        owners = ["IAMBinding/payments/web/uid-1"]
        return [
            Ledger.of(PROJECT, {each: entry_of(each, owners, state=GrantState.GRANTED) for each in grants})
        ]


async def test_role_that_never_changed_concerns_no_object() -> None:
    roles = FakeRoles()
    assert not (await RoleWatch(roles, roles).read("acme", 2.0)).have_changed
    assert roles.reads == {CUSTOM: 2.0, PREDEFINED: 60.0}


async def test_changed_role_is_reported_until_all_objects_are_compared() -> None:
    roles = FakeRoles()
    watch = RoleWatch(roles, roles)
    roles.changed[CUSTOM] += 1
    assert (await watch.read("acme", 2.0)).have_changed
    read = await watch.read("acme", 2.0)
    assert read.have_changed
    roles.changed[PREDEFINED] += 1
    watch.note_compared(read)
    again = await watch.read("acme", 2.0)
    assert again.have_changed, "the comparison began before this change"
    watch.note_compared(again)
    assert not (await watch.read("acme", 2.0)).have_changed


async def test_roles_are_read_at_the_same_time() -> None:
    roles = FakeRoles()
    roles.both_asked = asyncio.Barrier(2)
    async with asyncio.timeout(5):
        await RoleWatch(roles, roles).read("acme", 2.0)


async def test_change_before_the_first_comparison_is_reported() -> None:
    roles = FakeRoles()
    roles.changed[PREDEFINED] += 1
    assert (await RoleWatch(roles, roles).read("acme", 2.0)).have_changed


async def test_role_that_cannot_be_read_counts_as_changed() -> None:
    roles = FakeRoles()
    watch = RoleWatch(roles, roles)
    roles.fault = Fault.PERMISSION_DENIED
    assert (await watch.read("acme", 2.0)).have_changed
    assert (await watch.read("acme", 2.0)).have_changed
    roles.fault = None
    assert not (await watch.read("acme", 2.0)).have_changed
