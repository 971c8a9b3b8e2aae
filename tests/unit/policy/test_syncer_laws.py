"""Lanes under any sequence of declarations, foreign edits, races, outages and crashes."""

from collections.abc import Coroutine
from typing import TypeVar

import looptime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import Crash, fault
from tests.unit.policy.fakes import Scene

T = TypeVar("T")

TARGETS = [Target(TargetKind.PROJECT, "acme"), Target(TargetKind.SERVICE, "acme", "europe-west1", "web")]
# Members of ours and of others are apart, so that the model need not know who came first.
OURS = [Grant(target, "roles/a", f"user:{name}@ours.example") for target in TARGETS for name in "ab"]
THEIRS = [Grant(target, "roles/a", f"user:{name}@theirs.example") for target in TARGETS for name in "ab"]
CLAIMANTS = [Owner("IAMBinding", "payments", name, "uid") for name in ("one", "two", "three")]


class LanesMachine(RuleBasedStateMachine):
    """`declared` and `foreign` are the model: who declares what, and what others granted."""

    @initialize()
    def start(self) -> None:
        self.loop = looptime.new_event_loop(start=1000)
        self.scene = Scene()
        for target in TARGETS:
            self.scene.policies.create(target)
        self.syncers = PolicySyncers(self.scene.ports)
        self.declared: dict[Owner, frozenset[Grant]] = {}
        self.foreign: set[Grant] = set()

    def teardown(self) -> None:
        self.run(self.syncers.close())
        self.loop.close()

    @rule(owner=st.sampled_from(CLAIMANTS), grants=st.frozensets(st.sampled_from(OURS)))
    def declare(self, owner: Owner, grants: frozenset[Grant]) -> None:
        self.declared[owner] = grants
        self.redeclare(owner)
        self.sync(owner)

    @rule(owner=st.sampled_from(CLAIMANTS))
    def delete(self, owner: Owner) -> None:
        self.declared[owner] = frozenset()
        self.redeclare(owner)
        if self.sync(owner):
            self.run(self.forget(owner))
            del self.declared[owner]

    @rule(grant=st.sampled_from(THEIRS))
    def somebody_grants(self, grant: Grant) -> None:
        if grant not in self.foreign:
            self.foreign.add(grant)
            self.scene.policies.grant(grant)

    @rule(grant=st.sampled_from(OURS))
    def somebody_takes_ours_away(self, grant: Grant) -> None:
        self.scene.policies.revoke(grant)

    @rule(grant=st.sampled_from(THEIRS), owner=st.sampled_from(CLAIMANTS))
    def somebody_writes_while_we_do(self, grant: Grant, owner: Owner) -> None:
        self.scene.policies.before_set = [lambda: self.somebody_grants(grant)]
        self.sync(owner)
        self.scene.policies.before_set = []

    @rule(owner=st.sampled_from(CLAIMANTS), kind=st.sampled_from([Fault.UNAVAILABLE, Fault.ABORTED]))
    def google_fails(self, owner: Owner, kind: Fault) -> None:
        self.scene.policies.faults = [fault(kind)]
        self.sync(owner)
        self.scene.policies.faults = []

    @rule(
        owner=st.sampled_from(CLAIMANTS),
        grants=st.frozensets(st.sampled_from(OURS)),
        steps=st.integers(0, 4),
    )
    def the_process_ends_during_a_pass(self, owner: Owner, grants: frozenset[Grant], steps: int) -> None:
        self.declared[owner] = grants
        self.redeclare(owner)
        self.scene.journal.crash_before = len(self.scene.journal.steps) + steps
        self.sync(owner)
        self.scene.journal.crash_before = None
        self.run(self.syncers.close())
        self.syncers = PolicySyncers(self.scene.ports)
        self.syncers.expect(self.declared)
        for each in self.declared:
            self.redeclare(each)

    @rule()
    def it_comes_to_rest(self) -> None:
        for owner in list(self.declared):
            self.redeclare(owner)
            self.sync(owner)
        wanted = {grant for grants in self.declared.values() for grant in grants}
        assert self.present() == wanted | self.foreign
        assert self.held() == wanted
        sets = self.scene.policies.sets
        for owner in list(self.declared):
            self.sync(owner)
        assert self.scene.policies.sets == sets

    @invariant()
    def what_others_granted_stands(self) -> None:
        assert self.foreign <= self.present()

    @invariant()
    def nothing_of_ours_stands_that_no_ledger_knows(self) -> None:
        assert self.present() & set(OURS) <= self.held()

    def present(self) -> set[Grant]:
        return {grant for target in TARGETS for grant in self.scene.policies.present(target)}

    def held(self) -> set[Grant]:
        return {grant for ledger in self.scene.ledgers.stored.values() for grant in ledger.entries}

    def redeclare(self, owner: Owner) -> None:
        async def declare() -> None:
            self.syncers.declare(DesiredGrants(owner, frozenset(map(DesiredGrant, self.declared[owner]))))

        self.run(declare())

    def sync(self, owner: Owner) -> bool:
        """A pass for the object, if there is one; whether nothing of what it let go is left."""
        if owner not in self.declared:
            return False
        try:
            return not self.run(self.syncers.sync(owner)).releasing
        except Crash:
            return False

    async def forget(self, owner: Owner) -> None:
        self.syncers.forget(owner)

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)


TestLaneLaws = LanesMachine.TestCase
TestLaneLaws.settings = settings(stateful_step_count=25)
