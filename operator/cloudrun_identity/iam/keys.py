"""Keys of a service account: as Google lists them, and as the ledger of its policy remembers ours."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from cloudrun_identity.api import KeyState

MAX_KEYS = 10
"""User-managed keys that an account can have."""


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A user-managed key as Google lists it; `expires` is None for one that does not by itself."""

    key_id: str
    created: datetime
    expires: datetime | None = None
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """Everything that decides about a key; the object's status only mirrors it.

    `owner` is `namespace/name` of the IdentityKey, `digest` the SHA-256 of the credentials file, `generation`
    the rotation.generation that the key was made for. Times are by our clock. An UNCLEAR key is not ours for
    sure, and nothing is done to it.
    """

    key_id: str
    owner: str
    state: KeyState
    created: datetime
    digest: str = ""
    generation: int = 0
    expires: datetime | None = None
    superseded: datetime | None = None
    disabled: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyAttempt:
    """A key is being made for `owner` since `time`, when the account had the keys `known`.

    What stands after the end of the process is a key that nobody heard of, or none.
    """

    owner: str
    time: datetime
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What is remembered of the keys of one account, whichever objects they were made for."""

    records: Mapping[str, KeyRecord] = field(default_factory=dict)
    attempt: KeyAttempt | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing in it is worth keeping."""
        return not self.records and self.attempt is None

    @property
    def owners(self) -> frozenset[str]:
        """The objects that keys were made for, or are being made."""
        owners = {record.owner for record in self.records.values()}
        return frozenset(owners | ({self.attempt.owner} if self.attempt else set()))

    def of(self, owner: str) -> tuple[KeyRecord, ...]:
        """The records of one object's keys, the oldest first."""
        own = (record for record in self.records.values() if record.owner == owner)
        return tuple(sorted(own, key=lambda record: (record.created, record.key_id)))

    def with_records(self, records: Iterable[KeyRecord]) -> "KeyRing":
        """The same with these records."""
        return replace(self, records={**self.records, **{each.key_id: each for each in records}})

    def without(self, key_id: str) -> "KeyRing":
        """The same without a record of this key."""
        return replace(self, records={each: kept for each, kept in self.records.items() if each != key_id})

    def without_owner(self, owner: str) -> "KeyRing":
        """The same with nothing of this object."""
        records = {key_id: record for key_id, record in self.records.items() if record.owner != owner}
        attempt = self.attempt if self.attempt and self.attempt.owner != owner else None
        return KeyRing(records, attempt)

    def with_attempt(self, attempt: KeyAttempt | None) -> "KeyRing":
        """The same with this attempt, or none."""
        return replace(self, attempt=attempt)

    def superseded_by(self, key_id: str, now: datetime) -> "KeyRing":
        """The same with this key as the active one of its owner, which supersedes the one before."""
        active = self.records[key_id]
        return self.with_records(
            replace(record, state=KeyState.ACTIVE)
            if record.key_id == key_id
            else replace(record, state=KeyState.OVERLAP, superseded=now)
            for record in self.of(active.owner)
            if record.key_id == key_id or record.state is KeyState.ACTIVE
        )
