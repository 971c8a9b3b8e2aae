"""The temporary grants of a policy: which of them are over, and what the ledger records about them.

The ledger records the start and the end of each temporary grant for each of its owners. A grant whose end has
passed leaves its owner, whatever the owner declares or retains by then: an object that is suspended, refused,
or only observed cannot extend a grant. The grant is removed with its last owner. `iam.expiry` computes starts
and ends.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from cloudrun_identity.api import MAX_MEMBERS, MAX_TEMPORARY, LedgerEntry, LedgerTemporaryGrant
from cloudrun_identity.iam.expiry import Term, granted_end, term_of
from cloudrun_identity.iam.grants import Grant, order
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import owner_key_of
from cloudrun_identity.ledger.temporary_grants import (
    OwnerAndGrant,
    declared_by_granted,
    possible_grants,
    record_of,
    recorded_grant,
    recorded_term,
)

from .desired_grants import DesiredGrant, DesiredGrants


@dataclass(frozen=True, slots=True)
class TemporaryReview:
    """The temporary grants of a policy at one time."""

    declared: tuple[DesiredGrants, ...]
    """The desired grants of each object, without those that are over."""
    records: Mapping[OwnerAndGrant, LedgerTemporaryGrant]
    """The records for the ledger."""
    over: frozenset[OwnerAndGrant]
    """The grants that are over for an owner, as the policy contains them."""
    recorded: Mapping[OwnerAndGrant, Grant]
    """All temporary grants as declared, by owner and by the grant as the policy contains it."""
    unrecorded: frozenset[Grant] = frozenset()
    """The desired grants without room for their records. They are not made: nothing would end them."""

    def kept_with(
        self, known: Ledger, entries: Collection[Grant]
    ) -> Mapping[OwnerAndGrant, LedgerTemporaryGrant]:
        """Return the records to store beside these entries: a grant without room in the ledger has none."""
        return {
            (owner_key, base): record
            for (owner_key, base), record in self.records.items()
            if (owner_key, base) in known.temporary or recorded_grant(base, record) in entries
        }


def review_temporary(
    ledger: Ledger,
    declared: Iterable[DesiredGrants],
    present: Collection[Grant],
    *,
    now: datetime,
    withheld: Collection[Grant] = (),
    is_complete: bool = True,
) -> TemporaryReview:
    """Return the temporary grants of a policy in which these grants are present.

    `withheld` are grants that the sync does not write. With `is_complete`, every object has declared its
    grants, so that the records of objects that no longer exist are dropped once their grants have ended.
    """
    review = _Review(ledger, present, now, withheld)
    remaining = [review.declared_by(each) for each in declared]
    known = {each.owner.owner_key: each for each in remaining}
    for key, record in ledger.temporary.items():
        if key not in review.decided:
            review.keep(key, record, known.get(key[0]), is_complete=is_complete)
    return TemporaryReview(
        tuple(remaining),
        review.records,
        frozenset(review.over),
        {**ledger.temporary_by_owner, **declared_by_granted(review.records)},
        frozenset(review.unrecorded),
    )


class _Review:
    """The records of one ledger, decided one after another."""

    def __init__(
        self, ledger: Ledger, present: Collection[Grant], now: datetime, withheld: Collection[Grant]
    ) -> None:
        self._ledger = ledger
        self._present = present
        self._now = now
        self._withheld = withheld
        self._recorded = len(ledger.temporary)
        self._lasting = sum(record.expires_at > now for record in ledger.temporary.values())
        self.records: dict[OwnerAndGrant, LedgerTemporaryGrant] = {}
        self.decided: set[OwnerAndGrant] = set()
        """The keys that an object declares now."""
        self.over: set[OwnerAndGrant] = set()
        self.unrecorded: set[Grant] = set()

    def declared_by(self, each: DesiredGrants) -> DesiredGrants:
        """Record the temporary grants that an object desires; return its grants without those over."""
        if not each.writable:
            return each
        owner_key, over = each.owner.owner_key, set[DesiredGrant]()
        for desired in sorted(each.on(self._ledger.target), key=lambda desired: order(desired.grant)):
            if desired.temporary is None:
                self._end_records_of(owner_key, desired.grant)
                continue
            key = owner_key, desired.temporary.base
            record = self._record(desired, str(each.owner))
            if record is None or record.expires_at <= self._now:
                over.add(desired)
                self.over |= {(owner_key, desired.grant), key}
            if record is None:
                self.unrecorded.add(desired.grant)
            else:
                self.records[key] = record
                self.decided.add(key)
        return replace(each, desired_grants=each.desired_grants - over) if over else each

    def _end_records_of(self, owner_key: str, grant: Grant) -> None:
        """Drop the record of a grant that the object declares as permanent now."""
        if (owner_key, grant) in self._ledger.temporary:
            self.decided.add((owner_key, grant))

    def _record(self, desired: DesiredGrant, owner: str) -> LedgerTemporaryGrant | None:
        """Return the record of a desired grant; None if the ledger has no room for it."""
        temporary, now = desired.temporary, self._now
        if temporary is None:
            return None
        known = self._ledger.temporary.get((owner_key_of(owner), temporary.base))
        if known is None and not self._take_room():
            return None
        recorded = recorded_term(known, owner)
        is_made = desired.grant in self._present or self._has_permanently(owner, temporary.base)
        if recorded and not recorded.is_granted:
            if is_made:  # by a write whose reply was lost
                recorded = replace(recorded, is_granted=True)
            elif desired.grant in self._withheld and known is not None:
                return known
        term = term_of(temporary.expiry, recorded, temporary.start or now)
        if is_made:
            term = replace(term, is_granted=True)
        return record_of(temporary.base, owner, term, by_google=temporary.expiry.by_google)

    def _take_room(self) -> bool:
        """Return whether the ledger has room for a further record, which takes it.

        Grants that are over hold no member of the policy.
        """
        if self._recorded >= MAX_TEMPORARY or self._lasting >= MAX_MEMBERS:
            return False
        self._recorded += 1
        self._lasting += 1
        return True

    def _has_permanently(self, owner: str, base: Grant) -> bool:
        """Return whether the owner has the grant without a condition that ends it.

        It stays until its successor is made, so the term of the successor begins now.
        """
        return base in self._present and base in self._ledger.held_by(owner_key_of(owner))

    def keep(
        self,
        key: OwnerAndGrant,
        record: LedgerTemporaryGrant,
        owner: DesiredGrants | None,
        *,
        is_complete: bool,
    ) -> None:
        """Keep or drop the record of a grant that no object desires now."""
        owner_key, base = key
        grant = recorded_grant(base, record)
        ended = owner is not None and base in owner.ended
        if owner is None:
            if is_complete and self._ledger.held_by(owner_key).isdisjoint(possible_grants(base, record)):
                return
        elif ended or not owner.writable or owner.keeps(grant):
            record = record.model_copy(update={"owner": str(owner.owner)})
        else:
            return
        self.records[key] = record
        if ended or record.expires_at <= self._now:
            self.over |= {(owner_key, each) for each in possible_grants(base, record)}


def successors(
    entries: Mapping[Grant, LedgerEntry],
    leaving: Iterable[Grant],
    wanted: Mapping[Grant, DesiredGrant],
    owners: Mapping[Grant, Collection[str]],
    now: datetime,
) -> Mapping[Grant, frozenset[Grant]]:
    """Return, by a grant that leaves a policy, the desired grants of its owners with another end.

    The form with a condition and the form without one take the place of each other. A grant that Google
    Cloud has ended has no successor: it gives no access.
    """
    by_member: defaultdict[tuple[str, str], list[Grant]] = defaultdict(list)
    for grant in wanted:
        by_member[grant.role, grant.member].append(grant)
    found = {}
    for grant in sorted(leaving, key=order):
        keys = entries[grant].owner_keys
        found[grant] = frozenset(
            other
            for other in by_member[grant.role, grant.member]
            if _is_former(grant, wanted[other], now) and not keys.isdisjoint(map(owner_key_of, owners[other]))
        )
    return found


def _is_former(grant: Grant, desired: DesiredGrant, now: datetime) -> bool:
    """Return whether a grant gives the access of a desired grant, with another end."""
    if grant == desired.grant:
        return False
    base = desired.temporary.base if desired.temporary else desired.grant
    end = granted_end(base, grant)
    return grant == base or (end is not None and end > now)


def without_blocked(
    found: Collection[Grant],
    former: Grant,
    without_room: Mapping[Grant, DesiredGrant],
    owners: Mapping[Grant, Collection[str]],
    planned: Mapping[OwnerAndGrant, LedgerTemporaryGrant],
    stored: Collection[OwnerAndGrant],
) -> frozenset[Grant]:
    """Return the successors for which a former grant waits.

    It waits for a successor without room in the ledger if the successor ends later, or if the ledger stores
    the end of the successor, which then ends the former grant, too. Otherwise the former grant could extend
    the access that is declared.
    """

    def is_awaited(grant: Grant) -> bool:
        temporary = without_room[grant].temporary if grant in without_room else None
        if temporary is None:
            return True
        keys = [(owner_key_of(owner), temporary.base) for owner in owners[grant]]
        if all(key in stored for key in keys):
            return True
        end = granted_end(temporary.base, former)
        return end is not None and all(planned[key].expires_at >= end for key in keys if key in planned)

    return frozenset(filter(is_awaited, found))


def with_made(ledger: Ledger, present: Collection[Grant]) -> Ledger:
    """Return the ledger with the temporary grants that are present recorded as made."""
    temporary = {
        (owner_key, base): record.model_copy(update={"granted": True})
        if not record.granted and recorded_grant(base, record) in present
        else record
        for (owner_key, base), record in ledger.temporary.items()
    }
    return ledger if temporary == ledger.temporary else ledger.with_temporary(temporary)


def is_due(ledger: Ledger, owner_key: str, now: datetime) -> bool:
    """Return whether an owner has an entry for a temporary grant that is over."""
    return any(record.expires_at <= now for record in ledger.temporary_held_by(owner_key))


def recorded_end(ledger: Ledger, owner_key: str, desired: DesiredGrant) -> Term | None:
    """Return the recorded term of a desired grant of an owner; None if it is permanent or not recorded."""
    if desired.temporary is None:
        return None
    record = ledger.temporary.get((owner_key, desired.temporary.base))
    return Term(record.start_time, record.expires_at, record.granted) if record else None
