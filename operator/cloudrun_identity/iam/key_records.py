"""Keys of a service account: as Google lists them, and as the ledger of the account's policy records them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from cloudrun_identity.api import KeyState

MAX_KEYS = 10
"""Maximum number of user-managed keys of an account."""


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A user-managed key as Google lists it."""

    key_id: str
    """ID of the key."""
    created: datetime
    """Time of its creation."""
    expires: datetime | None = None
    """Time at which Google ends it; None if it does not expire."""
    disabled: bool = False
    """Whether it is disabled."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """Record of a key that the operator created. Decisions use the record; the status mirrors it."""

    key_id: str
    """ID of the key."""
    owner: str
    """`NAMESPACE/NAME` of the IdentityKey that the key was created for."""
    state: KeyState
    """Progress of the key. The operator leaves a key in state UNCLEAR alone: it may not have created it."""
    created: datetime
    """Time of its creation, by the operator's clock."""
    digest: str = ""
    """SHA-256 of the credentials file."""
    generation: int = 0
    """`rotation.generation` that the key was created for."""
    expires: datetime | None = None
    """Time at which Google ends it."""
    superseded: datetime | None = None
    """Time at which the next key replaced it in the Secret."""
    disabled: datetime | None = None
    """Time at which the operator disabled it."""


@dataclass(frozen=True, slots=True)
class KeyAttempt:
    """The creation of a key that is in progress.

    If the process ends before the result is recorded, either no key was created, or one exists that no object
    uses.
    """

    owner: str
    """`NAMESPACE/NAME` of the IdentityKey."""
    time: datetime
    """Time at which the creation began."""
    known: frozenset[str]
    """IDs of the keys that the account had before."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Records of the keys of one account, for all IdentityKeys."""

    records: Mapping[str, KeyRecord] = field(default_factory=dict)
    """Records by key ID."""
    attempt: KeyAttempt | None = None
    """The creation in progress."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to record."""
        return not self.records and self.attempt is None

    @property
    def owners(self) -> frozenset[str]:
        """The objects with a recorded key or a creation in progress."""
        owners = {record.owner for record in self.records.values()}
        return frozenset(owners | ({self.attempt.owner} if self.attempt else set()))

    def of(self, owner: str) -> tuple[KeyRecord, ...]:
        """Return the records of one object's keys, the oldest first."""
        own = (record for record in self.records.values() if record.owner == owner)
        return tuple(sorted(own, key=lambda record: (record.created, record.key_id)))

    def with_records(self, records: Iterable[KeyRecord]) -> "KeyRing":
        """Return the key ring with these records added or replaced."""
        return replace(self, records={**self.records, **{each.key_id: each for each in records}})

    def without(self, key_id: str) -> "KeyRing":
        """Return the key ring without the record of this key."""
        return replace(self, records={each: kept for each, kept in self.records.items() if each != key_id})

    def without_owner(self, owner: str) -> "KeyRing":
        """Return the key ring without the records and the creation of this object."""
        records = {key_id: record for key_id, record in self.records.items() if record.owner != owner}
        attempt = self.attempt if self.attempt and self.attempt.owner != owner else None
        return KeyRing(records, attempt)

    def with_attempt(self, attempt: KeyAttempt | None) -> "KeyRing":
        """Return the key ring with this creation in progress, or none."""
        return replace(self, attempt=attempt)

    def superseded_by(self, key_id: str, now: datetime) -> "KeyRing":
        """Return the key ring with this key as its owner's active key, which supersedes the earlier one."""
        active = self.records[key_id]
        return self.with_records(
            replace(record, state=KeyState.ACTIVE)
            if record.key_id == key_id
            else replace(record, state=KeyState.OVERLAP, superseded=now)
            for record in self.of(active.owner)
            if record.key_id == key_id or record.state is KeyState.ACTIVE
        )
