"""Lanes under any sequence of declarations, foreign edits, races, outages and crashes."""

from collections.abc import Coroutine
from typing import TypeVar

import looptime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.policy_engine.lanes import Lanes
from cloudrun_identity.iam.claims import Claim, Claimant, Declaration
from cloudrun_identity.iam.grants import Grant, Target
from tests.unit.gcp.fakes import Crash, Scene, fault

T = TypeVar("T")

TARGETS = [Target(TargetKind.PROJECT, "acme"), Target(TargetKind.SERVICE, "acme", "europe-west1", "web")]
# Members of ours and of others are apart, so that the model need not know who came first.
OURS = [Grant(target, "roles/a", f"user:{name}@ours.example") for target in TARGETS for name in "ab"]
THEIRS = [Grant(target, "roles/a", f"user:{name}@theirs.example") for target in TARGETS for name in "ab"]
CLAIMANTS = [Claimant("IAMBinding", "payments", name, "uid") for name in ("one", "two", "three")]


class LanesMachine(RuleBasedStateMachine):
    """`declared` and `foreign` are the model: who declares what, and what others granted."""

    @initialize()
    def start(self) -> None:
        self.loop = looptime.new_event_loop(start=1000)
        self.scene = Scene()
        for target in TARGETS:
            self.scene.policies.create(target)
        self.lanes = Lanes(self.scene.ports)
        self.declared: dict[Claimant, frozenset[Grant]] = {}
        self.foreign: set[Grant] = set()

    def teardown(self) -> None:
        self.run(self.lanes.close())
        self.loop.close()

    @rule(claimant=st.sampled_from(CLAIMANTS), grants=st.frozensets(st.sampled_from(OURS)))
    def declare(self, claimant: Claimant, grants: frozenset[Grant]) -> None:
        self.declared[claimant] = grants
        self.redeclare(claimant)
        self.converge(claimant)

    @rule(claimant=st.sampled_from(CLAIMANTS))
    def delete(self, claimant: Claimant) -> None:
        self.declared[claimant] = frozenset()
        self.redeclare(claimant)
        if self.converge(claimant):
            self.run(self.forget(claimant))
            del self.declared[claimant]

    @rule(grant=st.sampled_from(THEIRS))
    def somebody_grants(self, grant: Grant) -> None:
        if grant not in self.foreign:
            self.foreign.add(grant)
            self.scene.policies.grant(grant)

    @rule(grant=st.sampled_from(OURS))
    def somebody_takes_ours_away(self, grant: Grant) -> None:
        self.scene.policies.revoke(grant)

    @rule(grant=st.sampled_from(THEIRS), claimant=st.sampled_from(CLAIMANTS))
    def somebody_writes_while_we_do(self, grant: Grant, claimant: Claimant) -> None:
        self.scene.policies.before_set = [lambda: self.somebody_grants(grant)]
        self.converge(claimant)
        self.scene.policies.before_set = []

    @rule(claimant=st.sampled_from(CLAIMANTS), kind=st.sampled_from([Fault.UNAVAILABLE, Fault.ABORTED]))
    def google_fails(self, claimant: Claimant, kind: Fault) -> None:
        self.scene.policies.faults = [fault(kind)]
        self.converge(claimant)
        self.scene.policies.faults = []

    @rule(
        claimant=st.sampled_from(CLAIMANTS),
        grants=st.frozensets(st.sampled_from(OURS)),
        steps=st.integers(0, 4),
    )
    def the_process_ends_during_a_pass(
        self, claimant: Claimant, grants: frozenset[Grant], steps: int
    ) -> None:
        self.declared[claimant] = grants
        self.redeclare(claimant)
        self.scene.journal.crash_before = len(self.scene.journal.steps) + steps
        self.converge(claimant)
        self.scene.journal.crash_before = None
        self.run(self.lanes.close())
        self.lanes = Lanes(self.scene.ports)
        self.lanes.expect(self.declared)
        for each in self.declared:
            self.redeclare(each)

    @rule()
    def it_comes_to_rest(self) -> None:
        for claimant in list(self.declared):
            self.redeclare(claimant)
            self.converge(claimant)
        wanted = {grant for grants in self.declared.values() for grant in grants}
        assert self.standing() == wanted | self.foreign
        assert self.held() == wanted
        sets = self.scene.policies.sets
        for claimant in list(self.declared):
            self.converge(claimant)
        assert self.scene.policies.sets == sets

    @invariant()
    def what_others_granted_stands(self) -> None:
        assert self.foreign <= self.standing()

    @invariant()
    def nothing_of_ours_stands_that_no_ledger_knows(self) -> None:
        assert self.standing() & set(OURS) <= self.held()

    def standing(self) -> set[Grant]:
        return {grant for target in TARGETS for grant in self.scene.policies.standing(target)}

    def held(self) -> set[Grant]:
        return {grant for ledger in self.scene.ledgers.stored.values() for grant in ledger.holdings}

    def redeclare(self, claimant: Claimant) -> None:
        async def declare() -> None:
            self.lanes.declare(Declaration(claimant, frozenset(map(Claim, self.declared[claimant]))))

        self.run(declare())

    def converge(self, claimant: Claimant) -> bool:
        """A pass for the object, if there is one; whether nothing of what it let go is left."""
        if claimant not in self.declared:
            return False
        try:
            return not self.run(self.lanes.converge(claimant)).releasing
        except Crash:
            return False

    async def forget(self, claimant: Claimant) -> None:
        self.lanes.forget(claimant)

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)


TestLaneLaws = LanesMachine.TestCase
TestLaneLaws.settings = settings(stateful_step_count=25)
