"""Lanes against an adversary who edits policies between any two steps of a pass, dies and fails with them."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TypeVar
from unittest.mock import patch

import looptime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.policy_engine import passes as policy_passes
from cloudrun_identity.gcp.policy_engine.lanes import Lanes
from cloudrun_identity.iam import passes
from cloudrun_identity.iam.claims import Claim, Claimant, Declaration
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.ledger import Holding
from cloudrun_identity.iam.principals import Tombstone, email
from tests.unit.gcp.fakes import Crash, Scene, fault, unsent

from .ambush import (
    ACCOUNT,
    OURS,
    TARGETS,
    Ambush,
    Death,
    Edit,
    Meddling,
    Moment,
    Unsent,
    Wish,
    ambushes,
    claimants,
    edits,
    our_grants,
    wishes,
)
from .custody import Custody

T = TypeVar("T")

BACKOFFS_PASSED = 4000.0
"""Seconds after which every grant that was held back is due."""


class AdversaryMachine(RuleBasedStateMachine):
    """`wishes` is what objects declare, `custody` whose the grants are; both know nothing of the engine."""

    @initialize()
    def start(self) -> None:
        self.loop = looptime.new_event_loop(start=1000)
        self.scene = Scene(removals_an_hour=100_000)
        for target in TARGETS:
            self.scene.policies.create(target)
        self.ports = replace(self.scene.ports, checkpoint=lambda step: self.at(Moment(step)))
        self.lanes = Lanes(self.ports)
        self.wishes: dict[Claimant, Wish] = {}
        self.late: set[Claimant] = set()
        self.custody = Custody()
        self.graves: set[Grant] = set()
        self.verdicts: dict[Grant, GrantState] = {}
        self.unique_ids = ["1001"]
        self.scene.policies.unique_ids[ACCOUNT] = "1001"
        self.ambushes: list[Ambush] = []
        self.moments: Counter[Moment] = Counter()
        self.begin_pass(under_way=False)

    def teardown(self) -> None:
        self.run(self.lanes.close())
        self.loop.close()

    # What happens

    @rule(claimant=claimants, wish=wishes(), ambushes=ambushes())
    def declare(self, claimant: Claimant, wish: Wish, ambushes: list[Ambush]) -> None:
        self.wishes[claimant] = wish
        self.redeclare(claimant)
        self.converge(claimant, ambushes)

    @rule(claimant=claimants, ambushes=ambushes())
    def delete(self, claimant: Claimant, ambushes: list[Ambush]) -> None:
        self.wishes[claimant] = self.wishes.get(claimant, Wish()).letting_go()
        self.redeclare(claimant)
        if self.converge(claimant, ambushes):
            self.lanes.forget(claimant)
            del self.wishes[claimant]

    @rule(claimant=claimants, ambushes=ambushes())
    def look_again(self, claimant: Claimant, ambushes: list[Ambush]) -> None:
        if claimant in self.wishes:
            self.converge(claimant, ambushes)

    @rule(edit=edits)
    def somebody_edits(self, edit: Edit) -> None:
        self.edit(edit)

    @rule(grant=our_grants)
    def google_begins_to_refuse(self, grant: Grant) -> None:
        if all(grant.member != other.member for other in self.standing()):
            self.scene.policies.refused.add(grant.member)

    @rule()
    def google_takes_everybody(self) -> None:
        self.scene.policies.refused.clear()

    @rule(fresh=st.booleans())
    def the_account_is_fresh_or_known(self, fresh: bool) -> None:
        self.scene.fresh.clear()
        self.scene.fresh |= {email(ACCOUNT)} if fresh else set()

    @rule(buried=st.booleans())
    def the_account_is_created_anew(self, buried: bool) -> None:
        """Google shows tombstones of the old one, or for a while its plain e-mail as if nothing were."""
        self.custody.doubt(grant for grant in self.custody.known if grant.member == ACCOUNT)
        self.unique_ids.append(str(int(self.unique_ids[-1]) + 1))
        graves = self.scene.policies.recreate(ACCOUNT, self.unique_ids[-1], buried=buried)
        self.graves |= {grave for grant, grave in graves.items() if grant in self.custody.known}
        for claimant in self.wishes.keys() - self.late:
            self.redeclare(claimant)

    @rule()
    def the_process_starts_anew(self) -> None:
        self.run(self.lanes.close())
        self.lanes = Lanes(self.ports)
        self.lanes.expect(self.wishes)
        self.late = set(self.wishes)

    @rule()
    def it_comes_to_rest(self) -> None:
        self.converge_all()
        self.run(asyncio.sleep(BACKOFFS_PASSED))
        self.scene.fresh.clear()  # no account is young for so long
        self.converge_all()
        self.check_what_stands()
        self.check_exclusive_bindings()
        sets = self.scene.policies.sets
        self.converge_all()
        assert self.scene.policies.sets == sets, "an idle pass writes nothing"
        for grant in self.custody.settle(self.standing(), self.held()):
            self.take(grant)

    # What must hold

    @invariant()
    def what_others_granted_stands_as_they_spelt_it(self) -> None:
        for grant, spellings in self.custody.theirs.items():
            assert self.scene.policies.spellings(grant) == spellings, grant

    @invariant()
    def what_others_granted_before_us_is_recorded_as_theirs(self) -> None:
        held = self.held()
        maybe_ours = self.maybe_made() & self.custody.theirs.keys()
        assert all(held[grant].foreign_before for grant in maybe_ours)

    @invariant()
    def nothing_of_ours_stands_that_no_ledger_knows(self) -> None:
        assert self.standing() & {*OURS} - self.custody.known <= self.held().keys()

    def check_what_stands(self) -> None:
        standing, held, refused = self.standing(), self.held(), self.scene.policies.refused
        wanted = {grant for wish in self.wishes.values() if wish.writable for grant in wish.grants}
        shielded = {grant for wish in self.wishes.values() for grant in wish.grants} | self.observed(held)
        takeable = {grant for grant in wanted if grant.member not in refused}
        waiting = self.graves_of(shielded - takeable)
        # What stands may find no room either: in the ledger, after somebody else made it or left it.
        roomless = {grant for grant in wanted - (standing & held.keys()) if self.has_no_room_for(grant)}
        assert takeable - roomless <= standing, "what is declared stands"
        ours = (grant for grant in takeable & standing - self.custody.known if grant.member == ACCOUNT)
        assert all(self.scene.policies.meant(grant) == self.unique_ids[-1] for grant in ours), (
            "what is declared for an account means the one that there is"
        )
        strangers = standing - shielded - waiting - self.custody.known - self.graves
        assert not strangers, f"nothing else stands, but {', '.join(map(str, strangers))}"
        assert wanted - roomless <= held.keys() <= shielded, "ledgers say what is held"
        for grant in wanted - standing - roomless:
            fresh = email(grant.member) in self.scene.fresh
            assert self.verdicts[grant] is (GrantState.PENDING if fresh else GrantState.REJECTED)
        assert not standing & self.graves_of(takeable) - self.graves, (
            "tombstones of ours go with what replaces them"
        )

    def check_exclusive_bindings(self) -> None:
        declared = {grant for wish in self.wishes.values() for grant in wish.grants}
        for claimant, wish in self.wishes.items():
            rivals = {grant.slot for grant, holding in self.held().items() if holding.seats - {claimant.seat}}
            strangers = {grant for grant in self.standing() - declared if wish.evicts(grant)}
            assert {grant for grant in strangers if grant.slot not in rivals} == set()

    def has_no_room_for(self, grant: Grant) -> bool:
        """Whether the grant's policy or ledger takes no more."""
        ledger = self.scene.ledgers.ledger(grant.target)
        return self.scene.policies.is_full(grant.target) or len(ledger.holdings) >= passes.MAX_MEMBERS

    # How it is done

    def begin_pass(self, *, under_way: bool) -> None:
        self.under_way = under_way
        self.doubtful = False
        self.held_before = self.maybe_made() if under_way else set()
        self.taken: set[Grant] = set()
        self.revoked: set[Grant] = set()

    def converge(self, claimant: Claimant, ambushes: list[Ambush]) -> bool:
        """A pass for the object, whatever befalls it; whether nothing of what it let go is left."""
        if claimant in self.late:
            self.redeclare(claimant)
        self.ambushes = ambushes
        self.moments.clear()
        self.scene.policies.before_set = [partial(self.at, Moment.BEFORE_SET)] * 40
        self.scene.policies.after_set = [partial(self.at, Moment.AFTER_SET)] * 40
        self.begin_pass(under_way=True)
        try:
            convergence = self.run(self.lanes.converge(claimant))
            done = not convergence.releasing
            self.verdicts |= {verdict.grant: verdict.state for verdict in convergence.verdicts}
        except Crash:
            done = False
            self.the_process_starts_anew()
        if self.doubtful:
            self.custody.doubt(self.taken)
        self.begin_pass(under_way=False)
        return done

    def converge_all(self) -> None:
        for claimant in sorted(self.late, key=str):
            self.redeclare(claimant)
        for claimant in list(self.wishes):
            self.converge(claimant, [])

    def at(self, moment: Moment) -> None:
        self.moments[moment] += 1
        for ambush in self.ambushes:
            if ambush.moment is moment and ambush.time == self.moments[moment]:
                self.befall(ambush)

    def befall(self, ambush: Ambush) -> None:
        match ambush.action:
            case Edit() as edit:
                self.edit(edit)
            case Meddling(number, adds):
                self.meddle(number, adds)
            case Death():
                self.doubtful = True
                raise Crash(ambush.moment)
            case Unsent():
                raise unsent()
            case Fault() as kind:
                self.doubtful = self.doubtful or kind is Fault.UNAVAILABLE
                raise fault(kind)

    def meddle(self, number: int, adds: bool) -> None:
        declared = sorted({grant for wish in self.wishes.values() for grant in wish.grants}, key=str)
        if declared:
            grant = declared[number % len(declared)]
            self.edit(Edit(grant, grant.member if adds else ""))

    def edit(self, edit: Edit) -> None:
        if edit.spelling:
            self.somebody_grants(edit.grant, edit.spelling)
        else:
            self.somebody_revokes(edit.grant)

    def somebody_grants(self, grant: Grant, spelling: str) -> None:
        if grant.member in self.scene.policies.refused or self.scene.policies.is_full(grant.target):
            return
        stood = grant in self.standing()
        self.scene.policies.grant(grant, spelling)
        holding = self.held().get(grant)
        if stood:
            if grant in self.custody.theirs:
                self.take(grant)
        elif grant not in self.maybe_made() or (holding and holding.foreign_before):
            self.take(grant)
        elif self.under_way and (
            # Who only observes claims nothing, so what its last claimant lets go of is on its way out.
            grant in self.revoked
            or not any(grant in wish.grants for wish in self.wishes.values() if wish.writable)
        ):
            self.custody.doubt([grant])
        elif self.under_way and grant not in self.held_before:
            self.take(grant)

    def somebody_revokes(self, grant: Grant) -> None:
        self.scene.policies.revoke(grant)
        if self.under_way:
            self.revoked.add(grant)
        if grant in self.custody.theirs:
            del self.custody.theirs[grant]
            if self.under_way or grant in self.held():
                self.custody.doubt([grant])

    def take(self, grant: Grant) -> None:
        """The grant is somebody else's now, and to stay, unless its binding is to be cleared."""
        if any(wish.evicts(grant) for wish in self.wishes.values()):
            self.custody.doubt([grant])
        self.custody.take(grant, self.scene.policies.spellings(grant))
        if self.under_way:
            self.taken.add(grant)

    def redeclare(self, claimant: Claimant) -> None:
        self.late.discard(claimant)
        wish = self.wishes[claimant]
        self.custody.doubt(grant for grant in self.custody.theirs if wish.evicts(grant))
        for grant, holding in self.held().items():
            if not wish.writable or claimant.seat not in holding.seats or grant in wish.grants:
                continue
            if wish.abandon:  # what it leaves may be our tombstone, of an account that was created anew
                self.graves |= self.graves_of({grant})
            if wish.abandon != (grant in self.custody.theirs) and (wish.abandon or wish.claims_existing):
                self.custody.doubt([grant])

        async def declare() -> None:
            self.lanes.declare(self.declaration(claimant, wish))

        self.run(declare())

    def declaration(self, claimant: Claimant, wish: Wish) -> Declaration:
        ids = self.scene.policies.unique_ids
        return Declaration(
            claimant,
            frozenset(Claim(grant, ids.get(grant.member, "")) for grant in wish.grants),
            writable=wish.writable,
            abandon=wish.abandon,
            claims_existing=wish.claims_existing,
            exclusive=wish.exclusive,
        )

    def standing(self) -> set[Grant]:
        return {grant for target in TARGETS for grant in self.scene.policies.standing(target)}

    def held(self) -> dict[Grant, Holding]:
        return {
            grant: holding
            for ledger in self.scene.ledgers.stored.values()
            for grant, holding in ledger.holdings.items()
        }

    def maybe_made(self) -> set[Grant]:
        """What is held and may stand by our hand: Google has not refused it."""
        return {grant for grant, holding in self.held().items() if holding.state is not GrantState.REJECTED}

    def observed(self, held: dict[Grant, Holding]) -> set[Grant]:
        """What is held for objects that are not to change anything: these let go of nothing either."""
        seats = {claimant.seat for claimant, wish in self.wishes.items() if not wish.writable}
        return {grant for grant, holding in held.items() if holding.seats & seats}

    def graves_of(self, grants: set[Grant]) -> set[Grant]:
        return {
            replace(grant, member=str(Tombstone(grant.member, old)))
            for grant in grants
            for old in self.unique_ids[:-1]
        }

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)


class CrowdedMachine(AdversaryMachine):
    """The same where policies and ledgers take but few: what finds no room waits, and all else holds."""

    @initialize()
    def start(self) -> None:
        self.bounds = ExitStack()
        self.bounds.enter_context(patch.object(policy_passes, "MAX_PRINCIPALS", 6))
        self.bounds.enter_context(patch.object(passes, "MAX_MEMBERS", 4))
        super().start()
        self.scene.policies.most_members = 6

    def teardown(self) -> None:
        super().teardown()
        self.bounds.close()


TestAdversaryLaws = AdversaryMachine.TestCase
TestAdversaryLaws.settings = settings(stateful_step_count=25)
TestCrowdedLaws = CrowdedMachine.TestCase
TestCrowdedLaws.settings = settings(stateful_step_count=25)
