"""Laws of policy syncers while addresses are aliases of others, and principals are renamed."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import TypeVar

import looptime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import Tombstone
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import Crash, fault
from tests.unit.policy.fakes import SyncerEnvironment

T = TypeVar("T")

TARGET = Target(TargetKind.PROJECT, "acme")
ROLES = ("roles/a", "roles/b")
ADDRESSES = [f"user:{name}@acme.example" for name in "abcdef"]
GRANTS = [Grant(TARGET, role, member) for role in ROLES for member in ADDRESSES]
OWNERS = [Owner("IAMBinding", "payments", name, "uid") for name in ("one", "two")]

ALL_BACKOFFS = 4000.0
"""Seconds after which every delayed grant is due."""

MOST_WRITES = 8
"""The writes after which a policy that only the operator writes is settled, whatever happened before."""

addresses = st.sampled_from(ADDRESSES)
grants = st.sampled_from(GRANTS)
owners = st.sampled_from(OWNERS)


class AddressesMachine(RuleBasedStateMachine):
    """Objects with grants for addresses, in a process that may restart."""

    @initialize()
    def start(self) -> None:
        self.loop = looptime.new_event_loop(start=1000)
        self.env = SyncerEnvironment()
        self.env.policies.create(TARGET)
        self.syncers = PolicySyncers(self.env.ports)
        self.declared: dict[Owner, DesiredGrants] = {owner: DesiredGrants(owner) for owner in OWNERS}

    def teardown(self) -> None:
        self.run(self.syncers.close())
        self.loop.close()

    @rule(owner=owners, desired=st.frozensets(grants, max_size=4))
    def declare(self, owner: Owner, desired: frozenset[Grant]) -> None:
        self.declared[owner] = replace(
            self.declared[owner], desired_grants=frozenset(map(DesiredGrant, desired))
        )
        self.sync(owner)

    @rule(owner=owners)
    def sync(self, owner: Owner) -> None:
        async def sync() -> None:
            for desired in self.declared.values():
                self.syncers.declare(desired)
            await self.syncers.sync(owner)

        try:
            self.run(sync())
        except Crash:
            self.process_restarts()

    def sync_all(self) -> None:
        for owner in OWNERS:
            self.sync(owner)

    @rule()
    def process_restarts(self) -> None:
        self.run(self.syncers.close())
        self.syncers = PolicySyncers(self.env.ports)

    @rule()
    def syncs_settle(self) -> None:
        writes = self.writes()
        for _ in range(3):
            self.sync_all()
            self.run(asyncio.sleep(ALL_BACKOFFS))
        assert self.writes() <= writes + MOST_WRITES
        settled = self.writes()
        for _ in range(3):
            self.sync_all()
            self.run(asyncio.sleep(ALL_BACKOFFS))
        assert self.writes() == settled, "no member is written once per interval"

    def writes(self) -> int:
        """Return the number of writes that took effect."""
        return self.env.journal.steps.count("policy")

    def present(self) -> frozenset[Grant]:
        return self.env.policies.present(TARGET)

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)


class AdversarialAddressesMachine(AddressesMachine):
    """Any address may become an alias of any other one at any time, even if it is a member of the policy."""

    @rule(owner=owners, role=st.sampled_from([*ROLES, ""]))
    def binding_becomes_exclusive(self, owner: Owner, role: str) -> None:
        bindings = {grant.binding_key for grant in GRANTS if grant.role == role}
        self.declared[owner] = replace(self.declared[owner], exclusive=frozenset(bindings))

    @rule(alias=addresses, primary=addresses)
    def address_becomes_an_alias(self, alias: str, primary: str) -> None:
        if alias != primary:
            self.env.policies.aliases[alias] = primary

    @rule(alias=addresses)
    def alias_ends(self, alias: str) -> None:
        self.env.policies.aliases.pop(alias, None)

    @rule(member=addresses, renamed=addresses)
    def principal_is_renamed(self, member: str, renamed: str) -> None:
        if member != renamed:
            self.env.policies.rename(TARGET, member, renamed)

    @rule(grant=grants)
    def another_writer_grants(self, grant: Grant) -> None:
        self.env.policies.grant(grant)

    @rule(grant=grants)
    def another_writer_revokes(self, grant: Grant) -> None:
        self.env.policies.revoke(grant)

    @rule(limit=st.sampled_from([0, 1, 100]))
    def removal_limit_changes(self, limit: int) -> None:
        self.env.removals_an_hour = limit

    @rule(steps=st.integers(0, 3), owner=owners)
    def process_crashes_during_a_sync(self, steps: int, owner: Owner) -> None:
        self.env.journal.crash_before = len(self.env.journal.steps) + steps
        self.sync(owner)
        self.env.journal.crash_before = None

    @rule(owner=owners)
    def reply_is_lost(self, owner: Owner) -> None:
        def lose() -> None:
            raise fault(Fault.UNAVAILABLE)

        self.env.policies.after_set = [lose]
        self.sync(owner)
        self.env.policies.after_set = []


TestAdversarialAddressesLaws = AdversarialAddressesMachine.TestCase
TestAdversarialAddressesLaws.settings = settings(stateful_step_count=25)


class WorkspaceMachine(AddressesMachine):
    """Addresses belong to principals, as in Google Workspace: only free addresses become aliases.

    Each principal is known by its primary address. Another writer grants roles to two principals that no
    object names: neither by their addresses nor by their aliases.
    """

    @initialize()
    def start(self) -> None:
        super().start()
        self.unmanaged: set[Grant] = set()
        self.theirs = ["user:x@other.example", "user:y@other.example"]
        self.names = 0

    @rule(alias=addresses, primary=st.integers(0, 3))
    def free_address_becomes_an_alias(self, alias: str, primary: int) -> None:
        """A secondary address of an account outside the domain, which no object names."""
        aliases = self.env.policies.aliases
        if alias not in aliases and all(grant.member != alias for grant in self.present()):
            aliases[alias] = f"user:{primary}@mail.example"

    @rule(number=st.integers(0, 10))
    def principal_of_ours_is_renamed(self, number: int) -> None:
        """No other writer adds a user between the syncs before and after: the rename would be reported."""
        self.sync_all()
        ours = self.ours()
        if ours:
            self.names += 1
            renamed = f"user:renamed-{self.names}@acme.example"
            self.env.policies.rename(TARGET, ours[number % len(ours)], renamed)
            self.sync_all()

    @rule(number=st.integers(0, 10))
    def principal_of_ours_is_deleted(self, number: int) -> None:
        """The operator sees the grant before and after."""
        self.sync_all()
        ours = self.ours()
        if ours:
            self.names += 1
            self.env.policies.delete(TARGET, ours[number % len(ours)], str(self.names))
            self.sync_all()

    @rule(number=st.integers(0, 10))
    def principal_of_ours_is_restored(self, number: int) -> None:
        tombstones = sorted(
            {str(each) for grant in self.present() if (each := Tombstone.parse(grant.member))}
        )
        if not tombstones:
            return
        restored = Tombstone.parse(tombstones[number % len(tombstones)])
        assert restored
        if restored.member in self.env.policies.refused:
            self.env.policies.restore(TARGET, restored.member, restored.uid)
            self.sync_all()

    @rule(number=st.integers(0, 10))
    def principal_is_created_at_the_address_of_a_deleted_one(self, number: int) -> None:
        refused = sorted(self.env.policies.refused)
        if refused:
            self.env.policies.refused.discard(refused[number % len(refused)])

    @rule(number=st.integers(0, 1))
    def principal_of_theirs_is_renamed(self, number: int) -> None:
        self.names += 1
        former, renamed = self.theirs[number], f"user:their-{self.names}@other.example"
        self.theirs[number] = renamed
        self.unmanaged = {
            replace(grant, member=renamed) if grant.member == former else grant for grant in self.unmanaged
        }
        self.env.policies.rename(TARGET, former, renamed)

    @rule(number=st.integers(0, 1), role=st.sampled_from(ROLES))
    def another_writer_grants(self, number: int, role: str) -> None:
        grant = Grant(TARGET, role, self.theirs[number])
        if grant not in self.unmanaged:
            self.unmanaged.add(grant)
            self.env.policies.grant(grant)

    @rule(number=st.integers(0, 1), role=st.sampled_from(ROLES))
    def another_writer_revokes(self, number: int, role: str) -> None:
        grant = Grant(TARGET, role, self.theirs[number])
        self.unmanaged.discard(grant)
        self.env.policies.revoke(grant)

    @rule(steps=st.integers(0, 3), owner=owners)
    def process_crashes_during_a_sync(self, steps: int, owner: Owner) -> None:
        self.env.journal.crash_before = len(self.env.journal.steps) + steps
        self.sync(owner)
        self.env.journal.crash_before = None

    @rule(steps=st.integers(0, 4), owner=owners, desired=st.frozensets(grants, max_size=4))
    def process_crashes_while_it_adds(self, steps: int, owner: Owner, desired: frozenset[Grant]) -> None:
        """No other writer changes the policy before the next process syncs: its grants would be uncertain."""
        self.env.journal.crash_before = len(self.env.journal.steps) + steps
        self.declare(owner, desired)
        self.env.journal.crash_before = None
        self.sync_all()

    def ours(self) -> list[str]:
        """Return the members of the policy that exist and have no grant of another writer."""
        shown = {grant.member for grant in self.present()}
        return sorted(member for member in shown - {*self.theirs} if not Tombstone.parse(member))

    @invariant()
    def grants_of_others_stay(self) -> None:
        assert self.unmanaged <= self.present()

    @rule()
    def all_objects_release_their_grants(self) -> None:
        self.sync_all()
        self.declared = {owner: DesiredGrants(owner) for owner in OWNERS}
        self.sync_all()
        assert self.present() == self.unmanaged
        assert not self.env.ledgers.ledger(TARGET).entries


TestWorkspaceLaws = WorkspaceMachine.TestCase
TestWorkspaceLaws.settings = settings(stateful_step_count=25)
