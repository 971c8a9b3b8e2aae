"""Key records of one service account, as a value."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from cloudrun_identity.api import KeyState, LedgerKey, LedgerKeyAttempt


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The recorded keys of one account by their IDs, and the attempt to create one, for all IdentityKeys."""

    records: Mapping[str, LedgerKey] = field(default_factory=dict)
    attempt: LedgerKeyAttempt | None = None

    @property
    def owners(self) -> frozenset[str]:
        """The IdentityKeys, as `namespace/name`, with an attempt or a key that they did not leave."""
        owners = {record.owner for record in self.records.values() if not record.left}
        return frozenset(owners | ({self.attempt.owner} if self.attempt else set()))

    def of(self, owner: str) -> tuple[LedgerKey, ...]:
        """Return the records of the keys that one object manages, the oldest first."""
        own = (record for record in self.records.values() if record.owner == owner and not record.left)
        return tuple(sorted(own, key=lambda record: (record.created_time, record.id)))

    @property
    def left(self) -> tuple[LedgerKey, ...]:
        """The keys that objects left when they were deleted."""
        return tuple(record for _, record in sorted(self.records.items()) if record.left)

    def left_by(self, owner: str) -> tuple[LedgerKey, ...]:
        """Return the keys that an object of this name left."""
        return tuple(record for record in self.left if record.owner == owner)

    def with_left(self, owner: str) -> "KeyRing":
        """Return this ring after the deletion of an object that leaves its keys."""
        left = [each.replace(left=True) for each in self.of(owner) if each.state is not KeyState.UNCLEAR]
        former = self.left_by(owner)
        return self.without_owner(owner).with_records((*former, *left))

    def taken_back(self, owner: str) -> "KeyRing":
        """Return this ring with the keys that an object of this name left as its own."""
        return self.with_records(each.replace(left=False) for each in self.left_by(owner))

    def without_left(self, existing: Collection[str] = ()) -> "KeyRing":
        """Return this ring without the left keys that do not exist any more."""
        records = {
            key_id: record for key_id, record in self.records.items() if not record.left or key_id in existing
        }
        return replace(self, records=records)

    def with_records(self, records: Iterable[LedgerKey]) -> "KeyRing":
        """Return this ring with these records, in place of former ones."""
        return replace(self, records={**self.records, **{record.id: record for record in records}})

    def without(self, key_id: str) -> "KeyRing":
        """Return this ring without a record of this key."""
        return replace(self, records={each: kept for each, kept in self.records.items() if each != key_id})

    def without_owner(self, owner: str) -> "KeyRing":
        """Return this ring without the records and the attempt of one object."""
        records = {key_id: record for key_id, record in self.records.items() if record.owner != owner}
        attempt = self.attempt if self.attempt and self.attempt.owner != owner else None
        return KeyRing(records, attempt)

    def with_attempt(self, attempt: LedgerKeyAttempt | None) -> "KeyRing":
        """Return this ring with another attempt, or none."""
        return replace(self, attempt=attempt)

    def superseded_by(self, key_id: str, now: datetime) -> "KeyRing":
        """Return this ring with this key as the active one of its owner, and the former one in overlap."""
        active = self.records[key_id]
        return self.with_records(
            record.replace(state=KeyState.ACTIVE)
            if record.id == key_id
            else record.replace(state=KeyState.OVERLAP, superseded_time=now)
            for record in self.of(active.owner)
            if record.id == key_id or record.state is KeyState.ACTIVE
        )
