"""Laws of policy syncers while edits, crashes and faults interfere with each step of a sync."""

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
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import Tombstone, email
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy import capacity, planning
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.pending_write import is_alone, replaces
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import Crash, fault, unsent
from tests.unit.policy.fakes import SyncerEnvironment

from .grant_origins import GrantOrigins
from .interference import (
    ACCOUNT,
    DESIRABLE_GRANTS,
    EDITABLE_GRANTS,
    TARGETS,
    Declaration,
    DesiredGrantEdit,
    Edit,
    Interference,
    ProcessCrash,
    SyncPoint,
    UnsentWrite,
    declarations,
    desirable_grants,
    edits,
    interferences,
    owners,
)

T = TypeVar("T")

ALL_BACKOFFS = 4000.0
"""Seconds after which every delayed grant is due."""


class InterferenceMachine(RuleBasedStateMachine):
    """Model of the declarations and of the origin of each grant, independent of the engine."""

    @initialize()
    def start(self) -> None:
        self.loop = looptime.new_event_loop(start=1000)
        self.env = SyncerEnvironment(removals_an_hour=100_000)
        for target in TARGETS:
            self.env.policies.create(target)
        self.ports = replace(self.env.ports, checkpoint=lambda step: self.at(SyncPoint(step)))
        self.syncers = PolicySyncers(self.ports)
        self.declarations: dict[Owner, Declaration] = {}
        self.late: set[Owner] = set()
        self.origins = GrantOrigins()
        self.tombstones: set[Grant] = set()
        self.grant_results: dict[Grant, GrantState] = {}
        self.unique_ids = ["1001"]
        self.env.policies.unique_ids[ACCOUNT] = "1001"
        self.env.policies.after_get = self.policy_is_read
        self.interferences: list[Interference] = []
        self.points: Counter[SyncPoint] = Counter()
        self.begin_sync(running=False)

    def teardown(self) -> None:
        self.run(self.syncers.close())
        self.loop.close()

    # What happens

    @rule(owner=owners, declaration=declarations(), interferences=interferences())
    def declare(self, owner: Owner, declaration: Declaration, interferences: list[Interference]) -> None:
        self.declarations[owner] = declaration
        self.redeclare(owner)
        self.sync(owner, interferences)

    @rule(owner=owners, interferences=interferences())
    def delete(self, owner: Owner, interferences: list[Interference]) -> None:
        self.declarations[owner] = self.declarations.get(owner, Declaration()).deleted()
        self.redeclare(owner)
        if self.sync(owner, interferences):
            self.syncers.forget(owner)
            del self.declarations[owner]

    @rule(owner=owners, interferences=interferences())
    def sync_again(self, owner: Owner, interferences: list[Interference]) -> None:
        if owner in self.declarations:
            self.sync(owner, interferences)

    @rule(edit=edits)
    def another_writer_edits(self, edit: Edit) -> None:
        self.edit(edit)

    @rule(grant=desirable_grants)
    def google_refuses_a_member(self, grant: Grant) -> None:
        if all(grant.member != other.member for other in self.present()):
            self.env.policies.refused.add(grant.member)

    @rule()
    def google_accepts_all_members(self) -> None:
        self.env.policies.refused.clear()

    @rule(fresh=st.booleans())
    def account_becomes_fresh_or_known(self, fresh: bool) -> None:
        self.env.fresh.clear()
        self.env.fresh |= {email(ACCOUNT)} if fresh else set()

    @rule(as_tombstone=st.booleans())
    def account_is_recreated(self, as_tombstone: bool) -> None:
        """The policy shows tombstones of the former account, or its plain e-mail for a while."""
        self.origins.mark_uncertain(grant for grant in self.origins.known if grant.member == ACCOUNT)
        self.unique_ids.append(str(int(self.unique_ids[-1]) + 1))
        tombstones = self.env.policies.recreate(ACCOUNT, self.unique_ids[-1], as_tombstone=as_tombstone)
        self.tombstones |= {
            tombstone for grant, tombstone in tombstones.items() if grant in self.origins.known
        }
        for owner in self.declarations.keys() - self.late:
            self.redeclare(owner)

    @rule()
    def process_restarts(self) -> None:
        self.run(self.syncers.close())
        self.syncers = PolicySyncers(self.ports)
        self.syncers.expect(self.declarations)
        self.late = set(self.declarations)

    @rule()
    def all_syncs_complete(self) -> None:
        self.sync_all()
        self.run(asyncio.sleep(ALL_BACKOFFS))
        self.env.fresh.clear()  # no account is fresh for that long
        self.sync_all()
        self.check_present_grants()
        self.check_exclusive_bindings()
        sets = self.env.policies.sets
        self.sync_all()
        assert self.env.policies.sets == sets, "an idle sync writes nothing"
        for grant in self.origins.settle(self.present(), self.recorded()):
            self.add_unmanaged(grant)

    # What must hold

    @invariant()
    def unmanaged_grants_keep_their_spelling(self) -> None:
        for grant, spellings in self.origins.unmanaged.items():
            assert self.env.policies.spellings(grant) == spellings, grant

    @invariant()
    def earlier_unmanaged_grants_are_recorded_as_present_before(self) -> None:
        recorded = self.recorded()
        made = self.made() & self.origins.unmanaged.keys()
        assert all(recorded[grant].present_before for grant in made)

    @invariant()
    def managed_grants_are_in_a_ledger(self) -> None:
        assert self.present() & {*DESIRABLE_GRANTS} - self.origins.known <= self.recorded().keys()

    def check_present_grants(self) -> None:
        present, recorded, refused = self.present(), self.recorded(), self.env.policies.refused
        wanted = {
            grant
            for declaration in self.declarations.values()
            if declaration.writable
            for grant in declaration.grants
        }
        kept = {
            grant for declaration in self.declarations.values() for grant in declaration.grants
        } | self.observed(recorded)
        acceptable = {grant for grant in wanted if grant.member not in refused}
        pending = self.tombstones_of(kept - acceptable)
        # A present grant may lack room in the ledger, after another writer made it or an owner abandoned it.
        without_capacity = {
            grant for grant in wanted - (present & recorded.keys()) if self.is_full_for(grant)
        }
        assert acceptable - without_capacity <= present, "desired grants are present"
        managed = (grant for grant in acceptable & present - self.origins.known if grant.member == ACCOUNT)
        assert all(self.env.policies.meant(grant) == self.unique_ids[-1] for grant in managed), (
            "a desired grant of an account is the grant of the current account"
        )
        unexpected = present - kept - pending - self.origins.known - self.tombstones
        assert not unexpected, f"no other grant is present, but {', '.join(map(str, unexpected))}"
        assert wanted - without_capacity <= recorded.keys() <= kept, "ledgers record the desired grants"
        for grant in wanted - present - without_capacity:
            fresh = email(grant.member) in self.env.fresh
            assert self.grant_results[grant] is (GrantState.PENDING if fresh else GrantState.REJECTED)
        assert not present & self.tombstones_of(acceptable) - self.tombstones, (
            "tombstones are removed with the grants that replace them"
        )

    def check_exclusive_bindings(self) -> None:
        declared = {grant for declaration in self.declarations.values() for grant in declaration.grants}
        for owner, declaration in self.declarations.items():
            conflicts = {
                grant.binding_key
                for grant, entry in self.recorded().items()
                if entry.owner_keys - {owner.owner_key}
            }
            unexpected = {grant for grant in self.present() - declared if declaration.excludes(grant)}
            assert {grant for grant in unexpected if grant.binding_key not in conflicts} == set()

    def is_full_for(self, grant: Grant) -> bool:
        """Return whether the policy or the ledger of the grant is full."""
        ledger = self.env.ledgers.ledger(grant.target)
        return self.env.policies.is_full(grant.target) or len(ledger.entries) >= planning.MAX_MEMBERS

    # How it is done

    def begin_sync(self, *, running: bool) -> None:
        self.running = running
        self.made_before = self.made() if running else set()
        self.missing_before = self.made_before - self.present()
        self.revoked: set[Grant] = set()

    def sync(self, owner: Owner, interferences: list[Interference]) -> bool:
        """Sync the policies of an object. Return whether all its released grants are absent."""
        if owner in self.late:
            self.redeclare(owner)
        self.interferences = interferences
        self.points.clear()
        self.env.policies.before_set = [partial(self.at, SyncPoint.BEFORE_SET)] * 40
        self.env.policies.after_set = [partial(self.at, SyncPoint.AFTER_SET)] * 40
        self.begin_sync(running=True)
        try:
            sync_result = self.run(self.syncers.sync(owner))
            done = not sync_result.releasing
            self.grant_results |= {
                grant_result.grant: grant_result.state for grant_result in sync_result.grant_results
            }
        except Crash:
            done = False
            self.process_restarts()
        self.begin_sync(running=False)
        self.origins.mark_uncertain(self.left_to_another_account())
        return done

    def sync_all(self) -> None:
        for owner in sorted(self.late, key=str):
            self.redeclare(owner)
        for owner in list(self.declarations):
            self.sync(owner, [])

    def at(self, point: SyncPoint) -> None:
        self.points[point] += 1
        for interference in self.interferences:
            if interference.point is point and interference.time == self.points[point]:
                self.interfere(interference)

    def interfere(self, interference: Interference) -> None:
        match interference.action:
            case Edit() as edit:
                self.edit(edit)
            case DesiredGrantEdit(number, adds):
                self.edit_desired_grant(number, adds)
            case ProcessCrash():
                raise Crash(interference.point)
            case UnsentWrite():
                raise unsent()
            case Fault() as kind:
                raise fault(kind)

    def edit_desired_grant(self, number: int, adds: bool) -> None:
        declared = sorted(
            {grant for declaration in self.declarations.values() for grant in declaration.grants}, key=str
        )
        if declared:
            grant = declared[number % len(declared)]
            self.edit(Edit(grant, grant.member if adds else ""))

    def edit(self, edit: Edit) -> None:
        if edit.spelling:
            self.another_writer_grants(edit.grant, edit.spelling)
        else:
            self.another_writer_revokes(edit.grant)

    def another_writer_grants(self, grant: Grant, spelling: str) -> None:
        if grant.member in self.env.policies.refused or self.env.policies.is_full(grant.target):
            return
        was_present = grant in self.present()
        self.env.policies.grant(grant, spelling)
        entry = self.recorded().get(grant)
        if was_present:
            if grant in self.origins.unmanaged:
                self.add_unmanaged(grant)
        elif entry is None or entry.present_before or not entry.is_made:
            self.add_unmanaged(grant)
        elif self.running and (
            # An observing object desires nothing, so the grant may be in release.
            grant in self.revoked | self.missing_before
            or not any(
                grant in declaration.grants
                for declaration in self.declarations.values()
                if declaration.writable
            )
        ):
            self.origins.mark_uncertain([grant])
        elif self.running and grant not in self.made_before:
            self.add_unmanaged(grant)

    def another_writer_revokes(self, grant: Grant) -> None:
        self.env.policies.revoke(grant)
        if self.running:
            self.revoked.add(grant)
        if grant in self.origins.unmanaged:
            del self.origins.unmanaged[grant]
            if self.running or grant in self.recorded():
                self.origins.mark_uncertain([grant])

    def add_unmanaged(self, grant: Grant) -> None:
        """Add an unmanaged grant, which must stay unless an object excludes it from its binding."""
        if any(declaration.excludes(grant) for declaration in self.declarations.values()):
            self.origins.mark_uncertain([grant])
        self.origins.add(grant, self.env.policies.spellings(grant))

    def policy_is_read(self, target: Target) -> None:
        """Allow for a write with an unknown outcome: only the etag and the content show who made a grant.

        If another writer made exactly the same change, its grants count as managed. If it made another
        change, too, the operator cannot prove that it made its own grants.
        """
        ledger, policies = self.env.ledgers.ledger(target), self.env.policies
        write, etag, present = ledger.pending_write, policies.etag(target), policies.present(target)
        if write is None or replaces(write, etag):
            return
        unsettled = {grant for grant, entry in ledger.entries.items() if not entry.is_made} & present
        foreign = unsettled & self.origins.unmanaged.keys()
        self.origins.mark_uncertain(foreign if is_alone(write, etag, present) else unsettled - foreign)

    def redeclare(self, owner: Owner) -> None:
        self.late.discard(owner)
        declaration = self.declarations[owner]
        self.origins.mark_uncertain(grant for grant in self.origins.unmanaged if declaration.excludes(grant))
        for grant, entry in self.recorded().items():
            if (
                not declaration.writable
                or owner.owner_key not in entry.owner_keys
                or grant in declaration.grants
            ):
                continue
            if declaration.abandon:  # the abandoned grant may be a tombstone of a former account
                self.tombstones |= self.tombstones_of({grant})
            if declaration.abandon != (grant in self.origins.unmanaged) and (
                declaration.abandon or declaration.owns_existing
            ):
                self.origins.mark_uncertain([grant])

        async def declare() -> None:
            self.syncers.declare(self.desired(owner, declaration))

        self.run(declare())

    def desired(self, owner: Owner, declaration: Declaration) -> DesiredGrants:
        ids = self.env.policies.unique_ids
        return DesiredGrants(
            owner,
            frozenset(DesiredGrant(grant, ids.get(grant.member, "")) for grant in declaration.grants),
            writable=declaration.writable,
            abandon=declaration.abandon,
            claims=frozenset(EDITABLE_GRANTS) if declaration.owns_existing else frozenset(),
            exclusive=declaration.exclusive,
        )

    def present(self) -> set[Grant]:
        return {grant for target in TARGETS for grant in self.env.policies.present(target)}

    def recorded(self) -> dict[Grant, LedgerEntry]:
        return {
            grant: entry
            for ledger in self.env.ledgers.stored.values()
            for grant, entry in ledger.entries.items()
        }

    def made(self) -> set[Grant]:
        """Return the grants that the ledgers record as present."""
        return {grant for grant, entry in self.recorded().items() if entry.is_made}

    def observed(self, recorded: dict[Grant, LedgerEntry]) -> set[Grant]:
        """Return the recorded grants of objects that may change nothing."""
        owner_keys = {
            owner.owner_key for owner, declaration in self.declarations.items() if not declaration.writable
        }
        return {grant for grant, entry in recorded.items() if entry.owner_keys & owner_keys}

    def left_to_another_account(self) -> set[Grant]:
        """Return the released grants that the policy shows as grants of a later account of the e-mail."""
        return {
            grant
            for grant in self.present() - self.recorded().keys()
            if grant.member == ACCOUNT and self.env.policies.meant(grant) != self.unique_ids[-1]
        }

    def tombstones_of(self, grants: set[Grant]) -> set[Grant]:
        return {
            replace(grant, member=str(Tombstone(grant.member, old)))
            for grant in grants
            for old in self.unique_ids[:-1]
        }

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)


class LimitedCapacityMachine(InterferenceMachine):
    """The same laws with small policies and ledgers. Grants without room wait."""

    @initialize()
    def start(self) -> None:
        self.bounds = ExitStack()
        self.bounds.enter_context(patch.object(capacity, "MAX_PRINCIPALS", 6))
        self.bounds.enter_context(patch.object(planning, "MAX_MEMBERS", 4))
        super().start()
        self.env.policies.most_members = 6

    def teardown(self) -> None:
        super().teardown()
        self.bounds.close()


TestInterferenceLaws = InterferenceMachine.TestCase
TestInterferenceLaws.settings = settings(stateful_step_count=25)
TestLimitedCapacityLaws = LimitedCapacityMachine.TestCase
TestLimitedCapacityLaws.settings = settings(stateful_step_count=25)
