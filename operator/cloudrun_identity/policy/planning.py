"""Plan one sync of an IAM policy, as a pure function.

`plan_policy` compares the ledger, the desired grants of all objects and the grants that are present. The plan
lists the steps of the sync, and has the ledger to persist before the policy is written. `settlement.settle`
returns the ledger after the write. Both are pure, so a sync after a crash is an ordinary sync.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from cloudrun_identity.api import MAX_MEMBERS, GrantState, LedgerEntry
from cloudrun_identity.iam.grants import Grant, Target, order
from cloudrun_identity.iam.principals import email
from cloudrun_identity.ledger.model import Ledger, changed_entry, entry_of
from cloudrun_identity.ledger.owners import owner_key_of

from .capacity import LedgerCapacity
from .desired_grants import DesiredGrant, DesiredGrants
from .exclusive import conflicting, unmanaged
from .left_grants import with_left_grants
from .merge import Removal
from .registered_forms import Before, registered_grants, told_apart, with_declared
from .review import EntryReview, SyncFacts, WantedGrants
from .steps import AddGrant, GrantStep, RemoveUnmanaged, RetainGrant
from .temporary_grants import review_temporary, successors, without_blocked
from .tombstones import index_tombstones, reappears, unmanaged_tombstones, with_tombstones


@dataclass(frozen=True, slots=True)
class PolicyPlan:
    """The result of planning one sync."""

    ledger: Ledger
    """The ledger to persist before the policy is written."""
    steps: tuple[GrantStep, ...]
    """The changes to the policy as it was read, and the grants that stay though no object desires them."""
    desired_grants: tuple[DesiredGrant, ...]
    """The grants that must be present after the sync. A grant of a deleted account is not among them: its
    member would be refused, or be another account of the same e-mail."""
    released: tuple[Removal, ...]
    """The entries that are released. Their grants are present, in one form or another. A grant with another
    end in its place names it as its successor."""
    replaced: tuple[Removal, ...]
    """The grants whose member was another account of the same e-mail. They are removed before they are added
    again, because the policy may still mean the former account."""
    drifted: frozenset[Grant]
    """The grants that were present at the last sync and are missing now."""
    reappearing: frozenset[Grant]
    """The grants of accounts that the ledger records as deleted, and that the policy shows without that."""
    new: frozenset[Grant]
    """The grants with an entry that this plan creates."""
    absent_before: frozenset[Grant]
    """The desired grants that are absent, or were absent when the ledger was stored. If the sync did not add
    such a grant and it is present, another writer made it."""
    refused_before: frozenset[Grant]
    """The desired grants that Google Cloud refused at an earlier sync."""
    withheld: frozenset[Grant]
    """The desired grants in backoff, which this sync does not write."""
    unrecorded: tuple[Grant, ...]
    """The desired grants without room in the ledger."""
    unmanaged: tuple[Grant, ...]
    """The unmanaged grants in exclusive bindings."""
    conflicting: Mapping[str, Grant]
    """By owner key, a grant of another object in an exclusive binding of the owner."""

    @property
    def removals(self) -> tuple[RemoveUnmanaged, ...]:
        """The removals of unmanaged grants that the sync may make, within the hourly limit."""
        return tuple(step for step in self.steps if isinstance(step, RemoveUnmanaged))

    @property
    def depends_on_target(self) -> bool:
        """Return whether the sync records a grant, or writes the policy, so that it must know the target."""
        return bool(self.new) or self.writes

    @property
    def writes(self) -> bool:
        """Return whether the sync writes the policy."""
        return not all(isinstance(step, RetainGrant) for step in self.steps)

    def members_to_identify(self, present: Collection[Grant]) -> frozenset[str]:
        """Return the members with an e-mail that may belong to another account since the grant."""
        released = (
            removal.grant
            for removal in self.released
            if removal.unique_ids and not removal.only_deleted and removal.grant in present
        )
        return frozenset(grant.member for grant in chain(released, self.reappearing))


def plan_policy(
    ledger: Ledger,
    declared: Iterable[DesiredGrants],
    present: Collection[Grant],
    facts: SyncFacts,
) -> PolicyPlan:
    """Plan a sync of the policy of `ledger.target`, in which these grants are present.

    Args:
        ledger: The ledger of the policy.
        declared: The desired grants of every object with a grant or an entry on the policy.
        present: The grants as the policy shows them.
        facts: The other facts on which the plan depends.

    """
    shown = frozenset(present)
    tombstones = index_tombstones(shown)
    reappearing = frozenset(
        grant for grant, entry in ledger.entries.items() if reappears(grant, entry, shown)
    )
    temporary = review_temporary(
        ledger,
        declared,
        with_declared(shown, registered_grants(ledger.entries)),
        now=facts.now,
        withheld=facts.withheld,
        is_complete=facts.may_release,
    )
    declared = temporary.declared

    def reviewed(ledger: Ledger) -> tuple[Ledger, EntryReview]:
        """Return the ledger with the deleted forms in the policy, and the review of its entries."""
        ledger = with_tombstones(ledger, tombstones, shown, facts.account_ids, write_found=facts.write_found)
        review = EntryReview(
            _wanted(ledger.target, declared),
            {each.owner.owner_key: each for each in declared},
            with_declared(shown, registered_grants(ledger.entries)),
            shown,
            facts,
            temporary,
            restored=ledger.restored,
        )
        for grant, entry in ledger.entries.items():
            review.review(grant, entry)
        return ledger, review

    ledger, review = reviewed(ledger)
    rewritten: list[Grant] = []
    if (apart := told_apart(ledger, review.leaving)) is not ledger:
        rewritten = [grant for grant, entry in apart.entries.items() if entry is not ledger.entries[grant]]
        ledger, review = reviewed(apart)
    review.settle_releases()
    wanted, present, leaving = review.wanted, review.present, review.leaving
    awaited = {grant for grant, desired in wanted.grants.items() if _is_in_deleted_form(desired, present)}
    begun = [grant for grant in wanted.grants if grant not in ledger.entries and grant not in awaited]
    renewed_by = successors(ledger.entries, leaving, wanted.grants, wanted.owners, facts.now)
    capacity = LedgerCapacity(
        review.entries.items(), ((base, record) for (_, base), record in temporary.records.items())
    )
    owners = _record_owners(review.entries, begun, wanted.owners, capacity, renewed_by)
    entries = {
        grant: changed_entry(entry, owners=tuple(sorted(owners[grant])))
        for grant, entry in review.entries.items()
    }
    before = Before(ledger.entries, shown)
    for grant in begun:
        if grant in owners:
            entries[grant] = entry_of(
                grant,
                owners[grant],
                GrantState.GRANTED if grant in present else GrantState.PENDING,
                present_before=before.was_unmanaged(grant),
                unique_id=wanted.grants[grant].unique_id,
                unmanaged_tombstones=unmanaged_tombstones(wanted.grants[grant], tombstones),
            )
    unrecorded = (
        *(grant for grant in begun if grant not in owners),
        *sorted(temporary.unrecorded - wanted.grants.keys(), key=order),
    )
    desired_grants = (
        *(
            desired
            for grant, desired in wanted.grants.items()
            if grant not in awaited and grant in entries  # the operator writes only grants in the ledger
        ),
        *(
            DesiredGrant(grant)  # written again, although all its objects may only retain it
            for grant in rewritten
            if grant in entries and grant not in leaving and grant not in wanted.grants
        ),
    )
    without_room = {grant: wanted.grants[grant] for grant in begun if grant not in owners}
    waiting = without_room.keys() & frozenset(chain.from_iterable(renewed_by.values()))
    records = temporary.kept_with(ledger, entries.keys() | (waiting if capacity.fits_records else set()))
    new = frozenset(begun) & owners.keys()
    conflicts = conflicting(ledger.target, declared, entries)
    unmanaged_grants = tuple(unmanaged(ledger.target, declared, present, entries, facts.protected))
    additions = [
        AddGrant(desired.grant, owner_key_of(min(owners[desired.grant])))
        for desired in desired_grants
        if desired.grant not in facts.withheld
        and (desired.grant not in present or desired.grant in review.replaced)
    ]
    removals = _removals_of_unmanaged(unmanaged_grants, declared, conflicts) if facts.may_release else ()
    return PolicyPlan(
        ledger=with_left_grants(ledger.with_entries(entries), ledger, present)
        .with_temporary(records)
        .replace(restored=ledger.restored and not facts.may_release, target_absent=False),
        steps=(*review.steps, *additions, *removals),
        desired_grants=desired_grants,
        released=tuple(
            replace(
                removal,
                successors=without_blocked(
                    renewed_by[removal.grant],
                    removal.grant,
                    without_room,
                    wanted.owners,
                    temporary.records,
                    records,
                ),
            )
            for removal in review.released
        ),
        replaced=tuple(review.replaced.values()),
        drifted=frozenset(
            grant
            for grant, entry in ledger.entries.items()
            if grant in wanted.grants
            and grant not in present
            and entry.state is GrantState.GRANTED
            and not _ended_with_member(wanted.grants[grant], entry, shown, facts)
        ),
        reappearing=reappearing,
        new=new,
        absent_before=frozenset(
            desired.grant
            for desired in desired_grants
            if desired.grant not in present
            or (desired.grant in ledger.entries and not ledger.entries[desired.grant].is_made)
        ),
        refused_before=frozenset(
            grant for grant, entry in ledger.entries.items() if entry.is_rejected and grant in wanted.grants
        ),
        withheld=frozenset(facts.withheld),
        unrecorded=unrecorded,
        unmanaged=unmanaged_grants,
        conflicting=conflicts,
    )


def _wanted(target: Target, declared: Iterable[DesiredGrants]) -> WantedGrants:
    grants: dict[Grant, DesiredGrant] = {}
    owners: defaultdict[Grant, set[str]] = defaultdict(set)
    for each in sorted(declared, key=lambda each: each.owner.owner_key):
        for desired in each.on(target) if each.writable else ():
            grants.setdefault(desired.grant, desired)
            owners[desired.grant].add(str(each.owner))
    return WantedGrants(
        dict(sorted(grants.items(), key=lambda item: order(item[0]))),
        {grant: frozenset(names) for grant, names in owners.items()},
    )


def _record_owners(
    entries: Mapping[Grant, LedgerEntry],
    begun: Iterable[Grant],
    owners: Mapping[Grant, Collection[str]],
    capacity: LedgerCapacity,
    renewed_by: Mapping[Grant, Collection[Grant]],
) -> dict[Grant, frozenset[str]]:
    """Return the owners to record for each grant: existing ones, and others as far as there is room.

    A grant that leaves gives its place to one successor. The ledger has both entries until the policy is
    written.
    """
    places = {
        grant: others for grant, others in renewed_by.items() if others and entries.keys().isdisjoint(others)
    }
    formers: defaultdict[Grant, list[Grant]] = defaultdict(list)
    for former, others in places.items():
        for grant in others:
            formers[grant].append(former)
    recorded = {
        grant: capacity.add_owners(entry.owners, owners.get(grant, ())) for grant, entry in entries.items()
    }
    for grant in begun:
        first = min(owners[grant])
        replaced = next((each for each in formers[grant] if each in places), None)
        has_place = replaced is not None or len(recorded) < MAX_MEMBERS
        if has_place and capacity.add(grant, first, replaces=replaced is not None):
            if replaced is not None:
                del places[replaced]
            recorded[grant] = capacity.add_owners((first,), owners[grant])
    return recorded


def _removals_of_unmanaged(
    grants: Iterable[Grant], declared: Iterable[DesiredGrants], conflicts: Mapping[str, Grant]
) -> Iterable[RemoveUnmanaged]:
    """Return a step for each unmanaged grant that a writable owner without a conflict excludes."""
    declared = sorted(declared, key=lambda each: each.owner.owner_key)
    for grant in grants:
        for each in declared:
            owner_key = each.owner.owner_key
            if each.writable and grant.binding_key in each.exclusive and owner_key not in conflicts:
                yield RemoveUnmanaged(grant, owner_key)
                break


def _is_in_deleted_form(desired: DesiredGrant, present: Collection[Grant]) -> bool:
    """Return whether the policy shows the desired account as deleted."""
    return (
        bool(desired.unique_id)
        and desired.grant not in present
        and desired.grant.deleted_form(desired.unique_id) in present
    )


def _ended_with_member(
    desired: DesiredGrant, entry: LedgerEntry, shown: Collection[Grant], facts: SyncFacts
) -> bool:
    """Return whether the grant is absent because its member was deleted, and no identity declares the member.

    No client changed the policy then. The operator itself may have deleted the account, for an identity that
    is deleted: the object that desires the grant declares it as before until it is reconciled.
    """
    if desired.unique_id and facts.is_declared(email(desired.grant.member), desired.unique_id):
        return False
    forms = {desired.grant.deleted_form(entry.unique_id)} if entry.unique_id else set()
    forms |= {desired.grant.of(tombstone) for tombstone in entry.tombstones}
    return not forms.isdisjoint(shown)
