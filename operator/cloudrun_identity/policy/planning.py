"""What one pass over a policy has to do: from the ledger and the declarations, before and after the write.

`plan` says which grants to write, which to release, and the ledger to write ahead of it; `settle` says what
the ledger becomes once the policy is known to stand as the reply has it. Both are pure, so a crash between
any two steps is just another start.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from cloudrun_identity.api import MAX_MEMBERS, MAX_UNIQUE_IDS, GrantState, LedgerEntry
from cloudrun_identity.iam.grants import Grant, order
from cloudrun_identity.iam.principals import email
from cloudrun_identity.ledger.model import Ledger, changed_entry, entry_of
from cloudrun_identity.ledger.owners import owner_key_of

from .capacity import Capacity
from .desired_grants import DesiredGrant, DesiredGrants
from .exclusive import contested, unmanaged
from .merge import Release


@dataclass(frozen=True, slots=True)
class PolicyPlan:
    """What a pass is to bring about.

    `ledger` is to be persisted before the policy is written. `drifted` are grants that stood when we last
    looked and are missing now. `fresh` are holdings that this plan began; `unmade` are these and the ones
    that Google had refused: if such a grant stands without our adding it now, somebody else made it.
    `claims` are what is to stand; those whose account is deleted wait, because their member would be refused,
    or mean whoever has its e-mail now. `withheld` are claims that the ledger does not say may be written in
    this pass.
    `unrecorded` are claims that a full ledger has no room for.

    `stale` are grants that stand under a name whose account is another one than we granted to: to the old
    one, for all Google says, so they are taken away before they are given anew. `intruders` stand in a
    binding that an object has to itself, and `evictable` are those of them that we may remove; `contested`
    are claims of others in such a binding, by the seat of who wanted it alone.
    """

    ledger: Ledger
    desired_grants: tuple[DesiredGrant, ...]
    released: tuple[Release, ...]
    drifted: frozenset[Grant]
    fresh: frozenset[Grant]
    unmade: frozenset[Grant]
    withheld: frozenset[Grant] = frozenset()
    unrecorded: tuple[Grant, ...] = ()
    stale: tuple[Release, ...] = ()
    unmanaged: tuple[Grant, ...] = ()
    removable: tuple[Grant, ...] = ()
    contested: Mapping[str, Grant] = field(default_factory=dict)


def plan(
    ledger: Ledger,
    all_desired: Iterable[DesiredGrants],
    present: Collection[Grant],
    *,
    may_release: bool,
    observed: bool = False,
    withheld: Collection[Grant] = (),
    protected: Callable[[str], bool] = lambda _: False,
    may_return: Callable[[str, str], bool] = lambda *_: True,
) -> PolicyPlan:
    """Plan a pass over `ledger.target`, in whose policy the grants of `standing` stand.

    `may_release` is false while some object may still be about to declare what another one lets go, or
    wants out of its binding. In a project that is `observed` nothing is released: what an edit lets go is
    kept for as long as that is so, and what an object leaves behind on its end is left.
    `withheld` are claims that this pass will not try to write. `spared(member)` names those who are never
    removed from a binding that an object has to itself. `may_return(email, unique_id)`: an object of ours has
    that account, and might undelete it.
    """
    all_desired = tuple(all_desired)
    owner_keys = {desired.owner.owner_key: desired for desired in all_desired}
    desired_grants, wanted_by = _wanted(ledger, owner_keys.values())
    deleted_form = {
        grant for grant, desired_grant in desired_grants.items() if _is_shown_deleted(desired_grant, present)
    }
    entries: dict[Grant, LedgerEntry] = {}
    released: list[Release] = []
    stale: list[Release] = []
    for grant, known in ledger.entries.items():
        entry = _seen(known, present=grant in present)
        permanently_deleted = grant not in desired_grants and _is_permanently_deleted(
            grant, entry, present, may_return
        )
        staying, leaving = _part(grant, entry, owner_keys, permanently_deleted=permanently_deleted)
        if staying or wanted_by[grant]:
            held = changed_entry(entry, owners=tuple(sorted(staying or {min(wanted_by[grant])})))
            if desired_grant := desired_grants.get(grant):
                if grant not in present:
                    held = _missing(held, withheld=grant in withheld)
                held = _meaning(held, desired_grant.unique_id)
                desired_grants[grant] = replace(desired_grant, former_ids=held.former_unique_ids)
                if held.former_unique_ids and grant in present:
                    stale.append(Release(grant, held.former_unique_ids))
            entries[grant] = held
        elif not may_release or (observed and not all(each.ending for each in leaving)):
            entries[grant] = entry
        elif not observed and not _is_left(entry, leaving):
            entries[grant] = entry
            released.append(Release(grant, entry.unique_ids))
    begun = [grant for grant in desired_grants if grant not in ledger.entries and grant not in deleted_form]
    named = _named(entries, begun, wanted_by)
    entries = {
        grant: changed_entry(entry, owners=tuple(sorted(named[grant]))) for grant, entry in entries.items()
    }
    fresh = [grant for grant in begun if grant in named]
    unrecorded = tuple(grant for grant in begun if grant not in named)
    for grant in unrecorded:
        del desired_grants[grant]  # only what the ledger holds is ever written
    for grant in fresh:
        entries[grant] = entry_of(
            grant,
            named[grant],
            GrantState.GRANTED if grant in present else GrantState.PENDING,
            present_before=grant in present,
            unique_id=desired_grants[grant].unique_id,
        )
    drifted = (
        grant
        for grant in desired_grants
        if grant not in present
        and grant in ledger.entries
        and ledger.entries[grant].state is GrantState.GRANTED
    )
    disputed = contested(ledger.target, all_desired, entries)
    strangers = tuple(unmanaged(ledger.target, all_desired, present, entries, protected))
    return PolicyPlan(
        ledger=ledger.with_entries(entries),
        desired_grants=tuple(
            desired_grant for grant, desired_grant in desired_grants.items() if grant not in deleted_form
        ),
        released=tuple(released),
        drifted=frozenset(drifted),
        fresh=frozenset(fresh),
        unmade=frozenset(fresh)
        | {grant for grant, held in ledger.entries.items() if held.is_rejected and grant in desired_grants},
        withheld=frozenset(withheld),
        unrecorded=unrecorded,
        stale=tuple(stale),
        unmanaged=strangers,
        removable=tuple(
            grant
            for grant in strangers
            if may_release
            and any(
                each.writable and grant.binding_key in each.exclusive and each.owner.owner_key not in disputed
                for each in all_desired
            )
        ),
        contested=disputed,
    )


def settle(
    plan: PolicyPlan,
    present: Collection[Grant],
    *,
    added: Collection[Grant],
    rejected: Collection[Grant],
    written_at: datetime | None,
    given_up: bool = False,
) -> Ledger:
    """The ledger after the pass, given what stands in the policy now.

    `added` are the grants that our own writes put there, or may have put there; `rejected` those that Google
    refused. A grant that this pass was the first to write, and that stands without our adding it, was
    somebody else's a moment before us. `written_at` is the time of our write, None if there was none.

    A pass that is `given_up` leaves no trace of what it began and certainly did not write: a ledger that went
    on to claim it would take it for ours if somebody else made it later.
    """
    released = {release.grant: release for release in plan.released}
    claimed = {desired_grant.grant for desired_grant in plan.desired_grants}
    entries: dict[Grant, LedgerEntry] = {}
    for grant, entry in plan.ledger.entries.items():
        if grant in released:
            if any(form in present for form in released[grant].forms):
                entries[grant] = changed_entry(entry, state=GrantState.RELEASING)
        elif grant in claimed and grant in present:
            foreign = entry.present_before or (grant in plan.unmade and grant not in added)
            entries[grant] = changed_entry(
                entry,
                state=GrantState.GRANTED,
                present_before=foreign,
                former_unique_ids=entry.former_unique_ids if given_up else (),
            )
        elif grant in claimed:
            if given_up and grant in plan.fresh and grant not in added:
                continue
            refused = grant in rejected or (given_up and grant in plan.unmade)
            state = GrantState.REJECTED if refused and grant not in added else GrantState.PENDING
            entries[grant] = changed_entry(entry, state=state)
        else:
            entries[grant] = entry
    if entries == plan.ledger.entries and written_at is None:
        return plan.ledger
    return plan.ledger.with_entries(entries).with_sync(
        unmanaged_members=len(present) - sum(grant in entries for grant in present),
        written_at=written_at,
    )


def _seen(entry: LedgerEntry, *, present: bool) -> LedgerEntry:
    """Return the entry after a read: another writer made a grant that is present though it was rejected."""
    return changed_entry(entry, present_before=True) if present and entry.is_rejected else entry


def _missing(entry: LedgerEntry, *, withheld: bool) -> LedgerEntry:
    """Return the entry of a missing grant.

    It is pending, so that a loss is counted once, and so that a rejected grant is recorded before it is
    written again. A rejected grant that is withheld stays rejected.
    """
    state = GrantState.REJECTED if withheld and entry.is_rejected else GrantState.PENDING
    return changed_entry(entry, state=state, present_before=False)


def _meaning(entry: LedgerEntry, unique_id: str) -> LedgerEntry:
    """Return the entry of a member that is now this account; keep the former ID until the grant is made."""
    if unique_id in ("", entry.unique_id):
        return entry
    former = tuple(former for former in entry.unique_ids if former != unique_id)
    return changed_entry(entry, unique_id=unique_id, former_unique_ids=former[-MAX_UNIQUE_IDS:])


def _wanted(
    ledger: Ledger, all_desired: Iterable[DesiredGrants]
) -> tuple[dict[Grant, DesiredGrant], defaultdict[Grant, set[str]]]:
    """The claims to bring about, and for whom; those of suspended and observed objects are not among them."""
    desired_grants: dict[Grant, DesiredGrant] = {}
    owners: defaultdict[Grant, set[str]] = defaultdict(set)
    for desired in sorted(all_desired, key=lambda desired: desired.owner.owner_key):
        if not desired.writable:
            continue
        for desired_grant in desired.on(ledger.target):
            desired_grants.setdefault(desired_grant.grant, desired_grant)
            owners[desired_grant.grant].add(str(desired.owner))
    return dict(sorted(desired_grants.items(), key=lambda item: order(item[0]))), owners


def _named(
    held: Mapping[Grant, LedgerEntry], begun: Iterable[Grant], wanted_by: Mapping[Grant, Collection[str]]
) -> dict[Grant, frozenset[str]]:
    """Whom the ledger names for each grant: what it holds stays, and the rest comes in as far as it fits."""
    room = Capacity(held.items())
    named = {grant: room.joining(entry.owners, wanted_by.get(grant, ())) for grant, entry in held.items()}
    for grant in begun:
        first = min(wanted_by[grant])
        if len(named) < MAX_MEMBERS and room.takes(grant, first):
            named[grant] = room.joining((first,), wanted_by[grant])
    return named


def _part(
    grant: Grant, entry: LedgerEntry, owner_keys: Mapping[str, DesiredGrants], *, permanently_deleted: bool
) -> tuple[set[str], list[DesiredGrants]]:
    """The claimants of a holding that stay, and the declarations of those that leave.

    A claimant that has not declared itself stays: it may be late, its kind may be gone, its cache half full.
    Who keeps a grant without claiming it has nothing from one that `dangles`.
    """
    staying: set[str] = set()
    leaving: list[DesiredGrants] = []
    for text in entry.owners:
        desired = owner_keys.get(owner_key_of(text))
        if desired is None:
            staying.add(text)
        elif not desired.writable or (desired.keeps(grant) and not permanently_deleted):
            staying.add(str(desired.owner))  # who may not write cannot let go either
        else:
            leaving.append(desired)
    return staying, leaving


def _is_shown_deleted(desired_grant: DesiredGrant, present: Collection[Grant]) -> bool:
    """Whether the policy shows the very account that the claim means as deleted."""
    return (
        bool(desired_grant.unique_id)
        and desired_grant.grant not in present
        and desired_grant.grant.deleted_form(desired_grant.unique_id) in present
    )


def _is_permanently_deleted(
    grant: Grant,
    entry: LedgerEntry,
    present: Collection[Grant],
    may_return: Callable[[str, str], bool],
) -> bool:
    """Whether the account that was granted is deleted for good, and its tombstone all that is left.

    Nobody loses by the end of such a grant: to an account of that e-mail that comes later it has to be given
    anew all the same.
    """
    return (
        bool(entry.unique_id)
        and grant not in present
        and grant.deleted_form(entry.unique_id) in present
        and not may_return(email(grant.member), entry.unique_id)
    )


def _is_left(entry: LedgerEntry, leaving: Iterable[DesiredGrants]) -> bool:
    """Whether a grant that nobody claims any more is left where it stands: the last claimants decide."""
    leaving = tuple(leaving)
    if any(desired.abandon for desired in leaving):
        return True
    return entry.present_before and not any(desired.owns_existing for desired in leaving)
