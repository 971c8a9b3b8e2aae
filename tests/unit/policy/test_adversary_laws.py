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

from cloudrun_identity.api import GrantState, LedgerEntry
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import Tombstone, email
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy import planning as passes
from cloudrun_identity.policy import sync as policy_passes
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import Crash, fault, unsent
from tests.unit.policy.fakes import Scene

from .adversary import (
    ACCOUNT,
    OURS,
    TARGETS,
    Ambush,
    Death,
    Edit,
    Meddling,
    Moment,
    RequestedGrant,
    Unsent,
    ambushes,
    edits,
    our_grants,
    owners,
    requested_grants,
)
from .ledger_loss import Custody

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
        self.syncers = PolicySyncers(self.ports)
        self.requested_grants: dict[Owner, RequestedGrant] = {}
        self.late: set[Owner] = set()
        self.custody = Custody()
        self.graves: set[Grant] = set()
        self.grant_results: dict[Grant, GrantState] = {}
        self.unique_ids = ["1001"]
        self.scene.policies.unique_ids[ACCOUNT] = "1001"
        self.ambushes: list[Ambush] = []
        self.moments: Counter[Moment] = Counter()
        self.begin_pass(under_way=False)

    def teardown(self) -> None:
        self.run(self.syncers.close())
        self.loop.close()

    # What happens

    @rule(owner=owners, requested=requested_grants(), ambushes=ambushes())
    def declare(self, owner: Owner, requested: RequestedGrant, ambushes: list[Ambush]) -> None:
        self.requested_grants[owner] = requested
        self.redeclare(owner)
        self.sync(owner, ambushes)

    @rule(owner=owners, ambushes=ambushes())
    def delete(self, owner: Owner, ambushes: list[Ambush]) -> None:
        self.requested_grants[owner] = self.requested_grants.get(owner, RequestedGrant()).letting_go()
        self.redeclare(owner)
        if self.sync(owner, ambushes):
            self.syncers.forget(owner)
            del self.requested_grants[owner]

    @rule(owner=owners, ambushes=ambushes())
    def look_again(self, owner: Owner, ambushes: list[Ambush]) -> None:
        if owner in self.requested_grants:
            self.sync(owner, ambushes)

    @rule(edit=edits)
    def somebody_edits(self, edit: Edit) -> None:
        self.edit(edit)

    @rule(grant=our_grants)
    def google_begins_to_refuse(self, grant: Grant) -> None:
        if all(grant.member != other.member for other in self.present()):
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
        for owner in self.requested_grants.keys() - self.late:
            self.redeclare(owner)

    @rule()
    def the_process_starts_anew(self) -> None:
        self.run(self.syncers.close())
        self.syncers = PolicySyncers(self.ports)
        self.syncers.expect(self.requested_grants)
        self.late = set(self.requested_grants)

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
        for grant in self.custody.settle(self.present(), self.held()):
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
        assert all(held[grant].present_before for grant in maybe_ours)

    @invariant()
    def nothing_of_ours_stands_that_no_ledger_knows(self) -> None:
        assert self.present() & {*OURS} - self.custody.known <= self.held().keys()

    def check_what_stands(self) -> None:
        present, held, refused = self.present(), self.held(), self.scene.policies.refused
        wanted = {
            grant
            for requested in self.requested_grants.values()
            if requested.writable
            for grant in requested.grants
        }
        shielded = {
            grant for requested in self.requested_grants.values() for grant in requested.grants
        } | self.observed(held)
        takeable = {grant for grant in wanted if grant.member not in refused}
        waiting = self.graves_of(shielded - takeable)
        # What stands may find no room either: in the ledger, after somebody else made it or left it.
        roomless = {grant for grant in wanted - (present & held.keys()) if self.has_no_room_for(grant)}
        assert takeable - roomless <= present, "what is declared stands"
        ours = (grant for grant in takeable & present - self.custody.known if grant.member == ACCOUNT)
        assert all(self.scene.policies.meant(grant) == self.unique_ids[-1] for grant in ours), (
            "what is declared for an account means the one that there is"
        )
        strangers = present - shielded - waiting - self.custody.known - self.graves
        assert not strangers, f"nothing else stands, but {', '.join(map(str, strangers))}"
        assert wanted - roomless <= held.keys() <= shielded, "ledgers say what is held"
        for grant in wanted - present - roomless:
            fresh = email(grant.member) in self.scene.fresh
            assert self.grant_results[grant] is (GrantState.PENDING if fresh else GrantState.REJECTED)
        assert not present & self.graves_of(takeable) - self.graves, (
            "tombstones of ours go with what replaces them"
        )

    def check_exclusive_bindings(self) -> None:
        declared = {grant for requested in self.requested_grants.values() for grant in requested.grants}
        for owner, requested in self.requested_grants.items():
            rivals = {
                grant.binding_key
                for grant, entry in self.held().items()
                if entry.owner_keys - {owner.owner_key}
            }
            strangers = {grant for grant in self.present() - declared if requested.evicts(grant)}
            assert {grant for grant in strangers if grant.binding_key not in rivals} == set()

    def has_no_room_for(self, grant: Grant) -> bool:
        """Whether the grant's policy or ledger takes no more."""
        ledger = self.scene.ledgers.ledger(grant.target)
        return self.scene.policies.is_full(grant.target) or len(ledger.entries) >= passes.MAX_MEMBERS

    # How it is done

    def begin_pass(self, *, under_way: bool) -> None:
        self.under_way = under_way
        self.doubtful = False
        self.held_before = self.maybe_made() if under_way else set()
        self.taken: set[Grant] = set()
        self.revoked: set[Grant] = set()

    def sync(self, owner: Owner, ambushes: list[Ambush]) -> bool:
        """A pass for the object, whatever befalls it; whether nothing of what it let go is left."""
        if owner in self.late:
            self.redeclare(owner)
        self.ambushes = ambushes
        self.moments.clear()
        self.scene.policies.before_set = [partial(self.at, Moment.BEFORE_SET)] * 40
        self.scene.policies.after_set = [partial(self.at, Moment.AFTER_SET)] * 40
        self.begin_pass(under_way=True)
        try:
            sync_result = self.run(self.syncers.sync(owner))
            done = not sync_result.releasing
            self.grant_results |= {
                grant_result.grant: grant_result.state for grant_result in sync_result.grant_results
            }
        except Crash:
            done = False
            self.the_process_starts_anew()
        if self.doubtful:
            self.custody.doubt(self.taken)
        self.begin_pass(under_way=False)
        return done

    def converge_all(self) -> None:
        for owner in sorted(self.late, key=str):
            self.redeclare(owner)
        for owner in list(self.requested_grants):
            self.sync(owner, [])

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
        declared = sorted(
            {grant for requested in self.requested_grants.values() for grant in requested.grants}, key=str
        )
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
        stood = grant in self.present()
        self.scene.policies.grant(grant, spelling)
        entry = self.held().get(grant)
        if stood:
            if grant in self.custody.theirs:
                self.take(grant)
        elif grant not in self.maybe_made() or (entry and entry.present_before):
            self.take(grant)
        elif self.under_way and (
            # Who only observes claims nothing, so what its last claimant lets go of is on its way out.
            grant in self.revoked
            or not any(
                grant in requested.grants
                for requested in self.requested_grants.values()
                if requested.writable
            )
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
        if any(requested.evicts(grant) for requested in self.requested_grants.values()):
            self.custody.doubt([grant])
        self.custody.take(grant, self.scene.policies.spellings(grant))
        if self.under_way:
            self.taken.add(grant)

    def redeclare(self, owner: Owner) -> None:
        self.late.discard(owner)
        requested = self.requested_grants[owner]
        self.custody.doubt(grant for grant in self.custody.theirs if requested.evicts(grant))
        for grant, entry in self.held().items():
            if not requested.writable or owner.owner_key not in entry.owner_keys or grant in requested.grants:
                continue
            if requested.abandon:  # what it leaves may be our tombstone, of an account that was created anew
                self.graves |= self.graves_of({grant})
            if requested.abandon != (grant in self.custody.theirs) and (
                requested.abandon or requested.owns_existing
            ):
                self.custody.doubt([grant])

        async def declare() -> None:
            self.syncers.declare(self.desired(owner, requested))

        self.run(declare())

    def desired(self, owner: Owner, requested: RequestedGrant) -> DesiredGrants:
        ids = self.scene.policies.unique_ids
        return DesiredGrants(
            owner,
            frozenset(DesiredGrant(grant, ids.get(grant.member, "")) for grant in requested.grants),
            writable=requested.writable,
            abandon=requested.abandon,
            owns_existing=requested.owns_existing,
            exclusive=requested.exclusive,
        )

    def present(self) -> set[Grant]:
        return {grant for target in TARGETS for grant in self.scene.policies.present(target)}

    def held(self) -> dict[Grant, LedgerEntry]:
        return {
            grant: entry
            for ledger in self.scene.ledgers.stored.values()
            for grant, entry in ledger.entries.items()
        }

    def maybe_made(self) -> set[Grant]:
        """What is held and may stand by our hand: Google has not refused it."""
        return {grant for grant, entry in self.held().items() if entry.state is not GrantState.REJECTED}

    def observed(self, held: dict[Grant, LedgerEntry]) -> set[Grant]:
        """What is held for objects that are not to change anything: these let go of nothing either."""
        owner_keys = {
            owner.owner_key for owner, requested in self.requested_grants.items() if not requested.writable
        }
        return {grant for grant, entry in held.items() if entry.owner_keys & owner_keys}

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
