"""Settle the ledger after a sync, or without one. All functions are pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime

from cloudrun_identity.api import GrantState, LedgerEntry
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger, changed_entry
from cloudrun_identity.ledger.owners import owner_key_of

from .desired_grants import DesiredGrants
from .planning import PolicyPlan
from .tombstones import without_removed_tombstones


def settle(
    plan: PolicyPlan,
    present: Collection[Grant],
    *,
    added: Collection[Grant],
    refused: Collection[Grant],
    written_at: datetime | None,
    failed: bool = False,
) -> Ledger:
    """Return the ledger after a sync.

    Args:
        plan: The plan of the sync.
        present: The grants in the policy now.
        added: The grants that the writes of this sync added, or may have added. An unwritten grant that is
            present and not among them was made by another writer.
        refused: The grants that Google Cloud refused.
        written_at: The time of the write; None if the policy was not written.
        failed: True if the sync ended with an error. New entries whose grants were certainly not written are
            dropped then, so that a later grant of another writer does not count as managed.

    """
    released = {removal.grant: removal for removal in plan.released}
    desired = {each.grant for each in plan.desired_grants}
    entries: dict[Grant, LedgerEntry] = {}
    for grant, planned in plan.ledger.entries.items():
        entry = without_removed_tombstones(grant, planned, present)
        if grant in released:
            if not released[grant].forms.isdisjoint(present):
                entries[grant] = changed_entry(entry, state=GrantState.RELEASING)
        elif grant not in desired:
            entries[grant] = entry
        elif grant in present:
            by_another = entry.present_before or (grant in plan.unwritten and grant not in added)
            entries[grant] = changed_entry(
                entry,
                state=GrantState.GRANTED,
                present_before=by_another,
                former_unique_ids=entry.former_unique_ids if failed else (),
            )
        elif not (failed and grant in plan.new and grant not in added):
            is_refused = grant in refused or (failed and grant in plan.unwritten)
            state = GrantState.REJECTED if is_refused and grant not in added else GrantState.PENDING
            entries[grant] = changed_entry(entry, state=state)
    if entries == plan.ledger.entries and written_at is None:
        return plan.ledger
    return plan.ledger.with_entries(entries).with_sync(
        unmanaged_members=len(present) - sum(grant in entries for grant in present), written_at=written_at
    )


def settle_absent(plan: PolicyPlan, before: Ledger) -> Ledger:
    """Return the ledger of a target that does not exist, from a plan without a present grant.

    No entry stays granted, and new entries are dropped. An entry keeps the record of what was present before:
    the policy of an account returns when the account is undeleted.
    """
    settled = settle(plan, (), added=(), refused=(), written_at=None, failed=True)
    entries = {
        grant: changed_entry(entry, present_before=before.entries.get(grant, entry).present_before)
        for grant, entry in settled.entries.items()
    }
    return settled.with_entries(entries).with_pending_grants()


def without_abandoned(ledger: Ledger, declared: Iterable[DesiredGrants]) -> Ledger:
    """Return the ledger without the owners that abandon their grants. The policy need not be read for that.

    A grant without a further owner becomes unmanaged, unless another object desires it. Every object must
    have declared its grants before: a later one would find the grant unmanaged. Suspended and observed
    objects abandon nothing.
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
            if (owner := abandoning.get(owner_key_of(text))) and not owner.keeps(grant)
        }
        staying = set(entry.owners) - leaving or set(sorted(owners[grant])[:1])
        if not leaving:
            entries[grant] = entry
        elif staying:
            entries[grant] = changed_entry(entry, owners=tuple(sorted(staying)))
    return ledger if entries == ledger.entries else ledger.with_entries(entries)
