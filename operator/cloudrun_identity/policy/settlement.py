"""Settle the ledger after a sync, or without one. All functions are pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime

from cloudrun_identity.api import GrantState, LedgerEntry, LedgerUsage
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger, changed_entry
from cloudrun_identity.ledger.owners import owner_key_of
from cloudrun_identity.ledger.temporary_grants import possible_grants

from .desired_grants import DesiredGrants
from .left_grants import with_left_grants
from .planning import PolicyPlan
from .temporary_grants import with_made
from .tombstones import reappears, without_removed_tombstones


def progress(
    plan: PolicyPlan, ledger: Ledger, present: Collection[Grant], added: Collection[Grant]
) -> Ledger:
    """Return the ledger of a sync in progress, brought up to date with the policy as last seen.

    Args:
        plan: The plan of the sync.
        ledger: The ledger as the sync last wrote it; the planned one before its first write.
        present: The grants in the policy now.
        added: The grants in it that the writes of this sync certainly added. Another writer made every other
            grant that is present, and that the ledger records as absent.

    """
    desired = {each.grant for each in plan.desired_grants}
    entries = {
        grant: _seen(entry, present=grant in present, added=grant in added)
        if grant in desired and not _has_appeared(grant, entry, present, added)
        else entry
        for grant, entry in ledger.entries.items()
    }
    return ledger if entries == ledger.entries else ledger.with_entries(entries)


def settle(
    plan: PolicyPlan,
    present: Collection[Grant],
    *,
    added: Collection[Grant],
    refused: Collection[Grant],
    written_at: datetime | None,
    ledger: Ledger | None = None,
    undecided: Collection[Grant] = (),
    usage: LedgerUsage | None = None,
    failed: bool = False,
) -> Ledger:
    """Return the ledger after a sync.

    Args:
        plan: The plan of the sync.
        present: The grants in the policy now.
        added: The grants in it that the writes of this sync certainly added.
        refused: The grants that Google Cloud refused.
        written_at: The time of the write; None if the policy was not written.
        ledger: The ledger as the sync last stored it; the planned one by default.
        undecided: The grants that a write with an unknown outcome may have added. The record of the write is
            kept for them.
        usage: The use of the policy's limits; None if it is unknown.
        failed: True if the sync ended with an error. New entries whose grants were certainly not written are
            dropped then.

    """
    ledger = ledger or plan.ledger
    released = {removal.grant: removal for removal in plan.released}
    desired = {each.grant for each in plan.desired_grants}
    entries: dict[Grant, LedgerEntry] = {}
    for grant, progressed in progress(plan, ledger, present, added).entries.items():
        appeared = _has_appeared(grant, progressed, present, added)
        entry = progressed if appeared else without_removed_tombstones(grant, progressed, present)
        if grant in released:
            if not released[grant].forms.isdisjoint(present):
                entries[grant] = changed_entry(entry, state=GrantState.RELEASING)
        elif grant not in desired:
            entries[grant] = entry
        elif grant in present:
            entries[grant] = changed_entry(entry, former_unique_ids=entry.former_unique_ids if failed else ())
        elif not (failed and grant in plan.new and grant not in undecided):
            is_refused = grant in refused or (failed and grant in plan.refused_before)
            state = GrantState.REJECTED if is_refused and grant not in undecided else GrantState.PENDING
            entries[grant] = changed_entry(entry, state=state)
    ledger = with_made(ledger, present)
    pending_write = ledger.pending_write if undecided else None
    if entries == ledger.entries and pending_write == ledger.pending_write and written_at is None:
        return ledger.replace(usage=usage) if _is_worth_storing(ledger.usage, usage) else ledger
    settled = ledger.with_entries(entries).replace(pending_write=pending_write, usage=usage)
    return settled.with_sync(
        unmanaged_members=len(present) - sum(grant in entries for grant in present), written_at=written_at
    )


def made_by_others(before: Ledger, plan: PolicyPlan, settled: Ledger) -> frozenset[Grant]:
    """Return the grants that the sync was about to add, and that it found made by another writer.

    The operator may have made such a grant before a crash, but cannot prove it. The grants that were present
    when their object first declared them, also under another address, are not among them.
    """
    return frozenset(
        grant
        for grant, entry in settled.entries.items()
        if entry.present_before
        and grant in plan.absent_before
        and not entry.registered_members
        and not (grant in before.entries and before.entries[grant].present_before)
    )


def _is_worth_storing(recorded: LedgerUsage | None, usage: LedgerUsage | None) -> bool:
    """Return whether the use of the limits alone is stored: a limit is, or was, nearly reached."""
    return any(each is not None and each.is_nearly_full for each in (recorded, usage))


def _has_appeared(
    grant: Grant, entry: LedgerEntry, present: Collection[Grant], added: Collection[Grant]
) -> bool:
    """Return whether the grant of a deleted account has appeared: the next sync finds out who made it."""
    return grant not in added and reappears(grant, entry, present)


def _seen(entry: LedgerEntry, *, present: bool, added: bool) -> LedgerEntry:
    """Return the entry of a desired grant after the policy was read or written."""
    if present:
        return changed_entry(
            entry,
            state=GrantState.GRANTED,
            present_before=not added and (entry.present_before or not entry.is_made),
        )
    state = GrantState.PENDING if entry.is_made else entry.state
    return changed_entry(entry, state=state, present_before=False)


def settle_absent(plan: PolicyPlan, before: Ledger) -> Ledger:
    """Return the ledger of a target that does not exist, from a plan without a present grant.

    No entry stays granted, and new entries are dropped. An entry keeps the record of what was present before,
    and under which address, and the ledger that of left grants: the policy of an account returns when the
    account is undeleted.
    """
    settled = settle(plan, (), added=(), refused=(), written_at=None, failed=True)
    entries = {
        grant: _as_recorded(entry, before.entries.get(grant, entry))
        for grant, entry in settled.entries.items()
    }
    return settled.with_entries(entries).with_left(before.left).with_pending_grants()


def _as_recorded(entry: LedgerEntry, before: LedgerEntry) -> LedgerEntry:
    return changed_entry(
        entry,
        present_before=before.present_before,
        registered_members=before.registered_members,
        registered_together=before.registered_together,
    )


def without_abandoned(
    ledger: Ledger, declared: Iterable[DesiredGrants], *, with_temporary: bool = True
) -> Ledger:
    """Return the ledger without the owners that abandon their grants. The policy need not be read for that.

    A grant without a further owner becomes unmanaged, unless another object desires it. Every object must
    have declared its grants before: a later one would find the grant unmanaged. Suspended and observed
    objects abandon nothing.

    `with_temporary` also abandons temporary grants, which an object cannot abandon while the operator can
    remove them.
    """
    declared = tuple(declared)
    abandoning = {each.owner.owner_key: each for each in declared if each.abandon and each.writable}
    owners: defaultdict[Grant, set[str]] = defaultdict(set)
    for each in declared:
        for desired in each.on(ledger.target) if each.writable else ():
            owners[desired.grant].add(str(each.owner))
    entries = {}
    for grant, entry in ledger.entries.items():
        leaving = {
            text
            for text in entry.owners
            if (owner := abandoning.get(owner_key_of(text)))
            and owner.leaves(ledger.temporary_by_owner.get((owner_key_of(text), grant), grant))
            and not owner.keeps(grant)
            and (with_temporary or (owner_key_of(text), grant) not in ledger.temporary_by_owner)
        }
        staying = set(entry.owners) - leaving or set(sorted(owners[grant])[:1])
        if not leaving:
            entries[grant] = entry
        elif staying:
            entries[grant] = changed_entry(entry, owners=tuple(sorted(staying)))
    if entries == ledger.entries:
        return ledger
    after = ledger.with_entries(entries)
    temporary = {
        (owner_key, base): record
        for (owner_key, base), record in ledger.temporary.items()
        if owner_key not in abandoning
        or not after.held_by(owner_key).isdisjoint(possible_grants(base, record))
    }
    return with_left_grants(after, ledger, None).with_temporary(temporary)
