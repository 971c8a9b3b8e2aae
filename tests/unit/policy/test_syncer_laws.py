"""Laws of policy syncers under any sequence of declarations, edits, conflicts, outages and crashes."""

from collections.abc import Coroutine
from typing import TypeVar

import looptime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.target_resources import target_of_each_kind
from tests.unit.policy.fake_policies import Crash, fault
from tests.unit.policy.fakes import SyncerEnvironment

T = TypeVar("T")

Slot = tuple[int, str]
"""Index of one of the two targets, and the name of a member."""

SLOTS = [(index, name) for index in (0, 1) for name in "ab"]
slots = st.sampled_from(SLOTS)
kinds = st.sampled_from(list(target_of_each_kind("acme").values()))
pairs = st.lists(kinds, min_size=2, max_size=2, unique=True)
OWNERS = [Owner("IAMBinding", "payments", name, "uid") for name in ("one", "two", "three")]


class PolicySyncersMachine(RuleBasedStateMachine):
    """Model of the desired grants of each object and of the grants of other writers."""

    @initialize(pair=pairs)
    def start(self, pair: list[Target]) -> None:
        self.targets = pair
        self.loop = looptime.new_event_loop(start=1000)
        self.env = SyncerEnvironment()
        for target in self.targets:
            self.env.policies.create(target)
        self.syncers = PolicySyncers(self.env.ports)
        self.declared: dict[Owner, frozenset[Grant]] = {}
        self.unmanaged: set[Grant] = set()
        self.unproven: set[Grant] = set()

    def teardown(self) -> None:
        self.run(self.syncers.close())
        self.loop.close()

    @rule(owner=st.sampled_from(OWNERS), wanted=st.frozensets(slots))
    def declare(self, owner: Owner, wanted: frozenset[Slot]) -> None:
        self.declared[owner] = frozenset(map(self.desirable, wanted))
        self.redeclare(owner)
        self.sync(owner)

    @rule(owner=st.sampled_from(OWNERS))
    def delete(self, owner: Owner) -> None:
        self.declared[owner] = frozenset()
        self.redeclare(owner)
        if self.sync(owner):
            self.run(self.forget(owner))
            del self.declared[owner]

    @rule(slot=slots)
    def another_writer_grants(self, slot: Slot) -> None:
        grant = self.unmanageable(slot)
        if grant not in self.unmanaged:
            self.note_unproven(grant.target)
            self.unmanaged.add(grant)
            self.env.policies.grant(grant)

    @rule(slot=slots)
    def another_writer_revokes(self, slot: Slot) -> None:
        grant = self.desirable(slot)
        self.note_unproven(grant.target)
        self.env.policies.revoke(grant)

    @rule(slot=slots, owner=st.sampled_from(OWNERS))
    def another_writer_writes_concurrently(self, slot: Slot, owner: Owner) -> None:
        self.env.policies.before_set = [lambda: self.another_writer_grants(slot)]
        self.sync(owner)
        self.env.policies.before_set = []

    @rule(owner=st.sampled_from(OWNERS), kind=st.sampled_from([Fault.UNAVAILABLE, Fault.ABORTED]))
    def google_returns_a_fault(self, owner: Owner, kind: Fault) -> None:
        self.env.policies.faults = [fault(kind)]
        self.sync(owner)
        self.env.policies.faults = []

    @rule(
        owner=st.sampled_from(OWNERS),
        wanted=st.frozensets(slots),
        steps=st.integers(0, 4),
    )
    def process_crashes_during_a_sync(self, owner: Owner, wanted: frozenset[Slot], steps: int) -> None:
        self.declared[owner] = frozenset(map(self.desirable, wanted))
        self.redeclare(owner)
        self.env.journal.crash_before = len(self.env.journal.steps) + steps
        self.sync(owner)
        self.env.journal.crash_before = None
        self.run(self.syncers.close())
        self.syncers = PolicySyncers(self.env.ports)
        self.syncers.expect(self.declared)
        for each in self.declared:
            self.redeclare(each)

    @rule()
    def process_restarts(self) -> None:
        self.run(self.syncers.close())
        self.syncers = PolicySyncers(self.env.ports)
        self.syncers.expect(self.declared)
        for owner in list(self.declared):  # later objects may share the syncs of earlier ones
            self.redeclare(owner)
            self.sync(owner, max_age=300)
        wanted = {grant for grants in self.declared.values() for grant in grants}
        assert wanted <= self.present()
        assert wanted <= self.recorded()

    @rule()
    def resync(self) -> None:
        drifted = self.run(self.syncers.resync("acme")).drifted
        for owner, wanted in self.declared.items():
            assert owner in drifted or wanted <= self.present()

    @rule()
    def all_syncs_complete(self) -> None:
        for owner in list(self.declared):
            self.redeclare(owner)
            self.sync(owner)
        wanted = {grant for grants in self.declared.values() for grant in grants}
        assert self.present() - self.unproven == (wanted | self.unmanaged) - self.unproven
        assert self.recorded() == wanted
        assert wanted <= self.present()
        self.unproven &= self.present()
        sets = self.env.policies.sets
        for owner in list(self.declared):
            self.sync(owner)
        assert self.env.policies.sets == sets

    @invariant()
    def unmanaged_grants_are_present(self) -> None:
        assert self.unmanaged <= self.present()

    @invariant()
    def managed_grants_are_in_a_ledger(self) -> None:
        assert self.present() & set(map(self.desirable, SLOTS)) - self.unproven <= self.recorded()

    # The members of managed and unmanaged grants differ, so that the model need not know which came first.

    def desirable(self, slot: Slot) -> Grant:
        index, name = slot
        return Grant(self.targets[index], "roles/a", f"user:{name}@acme.example")

    def unmanageable(self, slot: Slot) -> Grant:
        index, name = slot
        return Grant(self.targets[index], "roles/a", f"user:{name}@other.example")

    def note_unproven(self, target: Target) -> None:
        """Note grants of an unsettled write: after an edit, the operator cannot prove that it made them."""
        ledger = self.env.ledgers.ledger(target)
        self.unproven |= {
            grant
            for grant, entry in ledger.entries.items()
            if not entry.is_made and grant in self.env.policies.present(target)
        }

    def present(self) -> set[Grant]:
        return {grant for target in self.targets for grant in self.env.policies.present(target)}

    def recorded(self) -> set[Grant]:
        return {grant for ledger in self.env.ledgers.stored.values() for grant in ledger.entries}

    def redeclare(self, owner: Owner) -> None:
        async def declare() -> None:
            self.syncers.declare(DesiredGrants(owner, frozenset(map(DesiredGrant, self.declared[owner]))))

        self.run(declare())

    def sync(self, owner: Owner, max_age: float = 0.0) -> bool:
        """Sync the policies of an object, if it exists. Return whether its released grants are absent."""
        if owner not in self.declared:
            return False
        try:
            return not self.run(self.syncers.sync(owner, max_age=max_age)).releasing
        except Crash:
            return False

    async def forget(self, owner: Owner) -> None:
        self.syncers.forget(owner)

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)


TestPolicySyncersLaws = PolicySyncersMachine.TestCase
TestPolicySyncersLaws.settings = settings(stateful_step_count=25)
