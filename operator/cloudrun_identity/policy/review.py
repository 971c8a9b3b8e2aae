"""Review of the existing ledger entries of a policy: keep, release, replace or drop each of them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from cloudrun_identity.api import MAX_UNIQUE_IDS, GrantState, LedgerEntry
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import email
from cloudrun_identity.ledger.model import changed_entry
from cloudrun_identity.ledger.owners import owner_key_of

from .desired_grants import DesiredGrant, DesiredGrants
from .merge import Removal
from .registered_forms import retained_forms
from .steps import GrantStep, ReleaseGrant, RetainGrant, RetainReason
from .temporary_grants import TemporaryReview
from .tombstones import without_own_tombstone


@dataclass(frozen=True, slots=True)
class WantedGrants:
    """The grants that writable objects desire on one policy, in write order, and their owners."""

    grants: dict[Grant, DesiredGrant]
    owners: Mapping[Grant, frozenset[str]]


BEGINNING = datetime.min.replace(tzinfo=UTC)
"""A time at which no grant is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFacts:
    """Facts on which the plan of a sync depends, besides the ledger, the desired grants and the policy."""

    may_release: bool
    """False until every object has declared its grants, so that no object loses a grant that another one
    releases."""
    observed: bool = False
    """True if the project is only observed. No grant is released then. The entries of edited objects are
    kept, and those of deleted objects are dropped."""
    withheld: Collection[Grant] = ()
    """The grants that the sync does not write."""
    protected: Callable[[str], bool] = lambda _: False
    """Returns whether a member is never removed from an exclusive binding."""
    may_return: Callable[[str, str], bool] = lambda *_: True
    """`may_return(email, unique_id)` returns whether an object may undelete the account."""
    is_declared: Callable[[str, str], bool] = lambda *_: True
    """`is_declared(email, unique_id)` returns whether an identity that is not deleted has the account."""
    write_found: bool = False
    """True if the policy shows the write that the ledger records, and no other. So the operator made the
    pending grants that the policy shows, also those of members that were deleted since."""
    is_operator: Callable[[str], bool] = lambda _: False
    """Returns whether no grant of a member is removed: the operator acts as it."""
    now: datetime = BEGINNING
    """The time at which the operator decides whether a temporary grant is over."""
    account_ids: Mapping[str, str] = field(default_factory=dict)
    """By member, the unique ID of the account that has its e-mail now, as far as it is known."""


@dataclass(slots=True)
class EntryReview:
    """The review of the existing ledger entries."""

    wanted: WantedGrants
    """The desired grants; the review adds the former accounts of their members."""
    by_owner_key: Mapping[str, DesiredGrants]
    """The desired grants of each object."""
    present: frozenset[Grant]
    """The grants in the policy, also those that it shows in a registered form."""
    shown: frozenset[Grant]
    """The grants as the policy shows them."""
    facts: SyncFacts
    """The other facts on which the plan depends."""
    temporary: TemporaryReview
    """The temporary grants, and which of them are over."""
    restored: bool = False
    """True if the ledger may be older than the policy: nothing is released because of it."""
    entries: dict[Grant, LedgerEntry] = field(default_factory=dict)
    """The entries that remain."""
    released: list[Removal] = field(default_factory=list)
    """The entries among them that are released. A released entry of an absent grant is dropped."""
    replaced: dict[Grant, Removal] = field(default_factory=dict)
    """The grants whose member was another account."""
    steps: list[GrantStep] = field(default_factory=list)
    """The steps for these entries."""

    @property
    def leaving(self) -> frozenset[Grant]:
        """The grants of the released entries."""
        return frozenset(removal.grant for removal in self.released)

    def review(self, grant: Grant, known: LedgerEntry) -> None:
        """Keep, release or drop one entry."""
        entry = _after_read(known, present=grant in self.present, write_found=self.facts.write_found)
        owners = self.wanted.owners.get(grant, frozenset())
        permanently_deleted = not owners and _is_permanently_deleted(
            grant, entry, self.present, self.facts.may_return
        )
        staying, leaving = self._split_owners(grant, entry, permanently_deleted=permanently_deleted)
        if staying or owners:
            kept = changed_entry(entry, owners=tuple(sorted(staying or {min(owners)})))
            self.entries[grant] = self._desire(grant, kept) if owners else self._stay(grant, kept)
        elif not self.facts.may_release:
            self.entries[grant] = entry
            self._retain(grant, entry, RetainReason.OWNERS_PENDING)
        elif self.facts.observed:
            if not leaving or not all(each.ending for each in leaving):
                self.entries[grant] = entry
            self._retain(grant, entry, RetainReason.PROJECT_OBSERVED)
        elif reason := self._reason_to_leave(grant, entry, leaving):
            self._retain(grant, entry, reason)
        else:
            self.entries[grant] = entry
            self.released.append(
                Removal(
                    grant,
                    entry.unique_ids,
                    only_deleted=self._is_another_account(grant, entry),
                    members=(*entry.registered_members, *entry.tombstones),
                )
            )

    def _stay(self, grant: Grant, entry: LedgerEntry) -> LedgerEntry:
        """Return the entry of a grant that is not desired now but keeps its owners; plan to retain it.

        If its owners only retain it and another client removed it, the entry is pending: a grant that appears
        later is that of another client, and a release leaves it.
        """
        self._retain(grant, entry, self._reason_to_stay(entry))
        is_shown = grant in self.present or any(
            self._is_shown_as_deleted(grant, unique_id) for unique_id in entry.unique_ids
        )
        owners = [self.by_owner_key.get(owner_key) for owner_key in entry.owner_keys]
        is_retained = all(each and (each.writable or each.retains_all) for each in owners)
        if is_shown or not is_retained or self.facts.observed:
            return entry
        return _missing(entry, withheld=entry.is_rejected, may_return=False)

    def _desire(self, grant: Grant, entry: LedgerEntry) -> LedgerEntry:
        """Return the entry of a desired grant, and plan the replacement of a former account."""
        desired = self.wanted.grants[grant]
        if grant not in self.present:
            returns = desired.unique_id == entry.unique_id and self._is_shown_as_deleted(
                grant, entry.unique_id
            )
            entry = _missing(entry, withheld=grant in self.facts.withheld, may_return=returns)
        entry = self._granted_to(grant, entry, desired.unique_id)
        former = entry.former_unique_ids
        self.wanted.grants[grant] = replace(
            desired, former_unique_ids=former, former_members=entry.tombstones
        )
        if former and grant in self.present and not self._is_shown_as_deleted(grant, former[-1]):
            self.replaced[grant] = Removal(grant, former)
            self.steps.append(ReleaseGrant(grant, _first_owner_key(entry)))
        return entry

    def _granted_to(self, grant: Grant, entry: LedgerEntry, unique_id: str) -> LedgerEntry:
        """Return the entry of a member that is this account now; keep the former ID until the grant is made.

        The ID is empty if no identity declares the member any more. The recorded account is then a former one
        if the policy shows it as deleted, or not at all. If the policy shows the plain e-mail beside the
        deleted account, another writer granted the role to the account that has the e-mail now.
        """
        if unique_id == entry.unique_id:
            return entry
        deleted, present = self._is_shown_as_deleted(grant, entry.unique_id), grant in self.present
        if not unique_id and present and not deleted:
            return entry
        former = tuple(former for former in entry.unique_ids if former != unique_id)
        return changed_entry(
            entry,
            unique_id=unique_id,
            former_unique_ids=former[-MAX_UNIQUE_IDS:],
            tombstones=without_own_tombstone(grant, entry) if unique_id else entry.tombstones,
            present_before=entry.present_before or (deleted and present),
        )

    def _is_another_account(self, grant: Grant, entry: LedgerEntry) -> bool:
        """Return whether the plain e-mail of a grant is another account than the recorded one.

        A policy shows a deleted account in the deleted-member form, so a plain e-mail beside it is a later
        account. Otherwise the account that has the e-mail now decides.
        """
        if not entry.unique_id:
            return False
        current = self.facts.account_ids.get(grant.member, "")
        return self._is_shown_as_deleted(grant, entry.unique_id) or current not in ("", *entry.unique_ids)

    def _is_shown_as_deleted(self, grant: Grant, unique_id: str) -> bool:
        return bool(unique_id) and grant.deleted_form(unique_id) in self.shown

    def settle_releases(self) -> None:
        """Plan the release of what the policy shows of the released grants, and drop the other entries.

        A form that is also one of an entry that stays is not removed.
        """
        leaving = self.leaving
        staying = {grant: entry for grant, entry in self.entries.items() if grant not in leaving}
        retained = retained_forms(staying)
        released, self.released = self.released, []
        for removal in released:
            removal = replace(removal, retained=retained & removal.forms)
            if removal.forms.isdisjoint(self.shown):
                del self.entries[removal.grant]
            else:
                self.released.append(removal)
                self.steps.append(ReleaseGrant(removal.grant, _first_owner_key(self.entries[removal.grant])))

    def _retain(self, grant: Grant, entry: LedgerEntry, reason: RetainReason) -> None:
        if grant in self.present:
            self.steps.append(RetainGrant(grant, _first_owner_key(entry), reason))

    def _split_owners(
        self, grant: Grant, entry: LedgerEntry, *, permanently_deleted: bool
    ) -> tuple[set[str], list[DesiredGrants]]:
        """Return the owners of an entry that stay, and the objects that leave it.

        An owner that has not declared its grants stays: it may be late, or its kind may not be served. A
        suspended or observed owner stays, because it can release nothing. An owner that only retains the
        grant leaves it if the account is permanently deleted. Every owner leaves a grant that is over for it.
        """
        staying: set[str] = set()
        leaving: list[DesiredGrants] = []
        for text in entry.owners:
            declared = self.by_owner_key.get(owner_key_of(text))
            if self._is_over(owner_key_of(text), grant):
                leaving += [declared] if declared else []
            elif declared is None:
                staying.add(text)
            elif not declared.writable or (declared.keeps(grant) and not permanently_deleted):
                staying.add(str(declared.owner))
            else:
                leaving.append(declared)
        return staying, leaving

    def _reason_to_leave(
        self, grant: Grant, entry: LedgerEntry, leaving: Collection[DesiredGrants]
    ) -> RetainReason | None:
        """Return why a grant stays in the policy after its last owners left it; None if it is removed.

        The owners that left it before do not count. If several owners leave it at once, one that abandons it
        is enough to leave it in the policy, and one that claims it is enough to remove it. A temporary grant
        is not abandoned: it would become permanent.
        """
        if self.facts.is_operator(grant.member):
            return RetainReason.OPERATOR
        if any(each.leaves(grant) and not self._is_temporary(each, grant) for each in leaving):
            return RetainReason.ABANDONED
        is_over = any(self._is_over(owner_key, grant) for owner_key in entry.owner_keys)
        is_ended = any(each.ends(self._declared(each, grant)) for each in leaving)
        if self.restored and not is_over and not is_ended:
            return RetainReason.RESTORED
        if entry.present_before and not any(grant in each.claims for each in leaving):
            return RetainReason.PRESENT_BEFORE
        return None

    def _is_over(self, owner_key: str, grant: Grant) -> bool:
        return (owner_key, grant) in self.temporary.over

    def _declared(self, owner: DesiredGrants, grant: Grant) -> Grant:
        """Return the grant as its owner declared it: without its end as a condition."""
        return self.temporary.recorded.get((owner.owner.owner_key, grant), grant)

    def _is_temporary(self, owner: DesiredGrants, grant: Grant) -> bool:
        return (owner.owner.owner_key, grant) in self.temporary.recorded

    def _reason_to_stay(self, entry: LedgerEntry) -> RetainReason:
        declared = [self.by_owner_key.get(owner_key_of(text)) for text in entry.owners]
        if None in declared:
            return RetainReason.OWNER_UNKNOWN
        if all(each.writable for each in declared if each):
            return RetainReason.OWNER_RETAINS
        return RetainReason.OWNER_NOT_WRITABLE


def _after_read(entry: LedgerEntry, *, present: bool, write_found: bool) -> LedgerEntry:
    """Return the entry after a read.

    A grant that the ledger records as absent is present now. The operator made it if the policy shows the
    recorded write alone. Otherwise another writer made it, or may have made it: it counts as unmanaged.
    """
    if not present or entry.is_made:
        return entry
    made = write_found and not entry.is_rejected
    return changed_entry(entry, state=GrantState.GRANTED, present_before=entry.present_before or not made)


def _missing(entry: LedgerEntry, *, withheld: bool, may_return: bool) -> LedgerEntry:
    """Return the entry of a missing grant.

    It is pending, so that a loss is counted once, and so that a refused grant is recorded before it is
    written again. A refused grant that is withheld stays refused. The registered forms of a deleted member
    are kept: the policy shows them again if the member is restored. `may_return` is True if the policy shows
    the present account as deleted: the grant stays that of another client then.
    """
    state = GrantState.REJECTED if withheld and entry.is_rejected else GrantState.PENDING
    entry = changed_entry(entry, state=state, present_before=entry.present_before and may_return)
    return (
        entry if entry.tombstones else changed_entry(entry, registered_members=(), registered_together=False)
    )


def _is_permanently_deleted(
    grant: Grant, entry: LedgerEntry, present: Collection[Grant], may_return: Callable[[str, str], bool]
) -> bool:
    """Return whether the account is permanently deleted, and only its tombstone is present.

    No object loses anything when such a grant ends: a later account of the same e-mail needs a new grant.
    """
    return (
        bool(entry.unique_id)
        and grant not in present
        and grant.deleted_form(entry.unique_id) in present
        and not may_return(email(grant.member), entry.unique_id)
    )


def _first_owner_key(entry: LedgerEntry) -> str:
    return owner_key_of(entry.owners[0]) if entry.owners else ""
