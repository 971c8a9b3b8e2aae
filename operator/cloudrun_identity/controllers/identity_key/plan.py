"""What has to be done next about the keys of one object: create → publish → overlap → disable → delete.

`plan` is pure. Whoever carries its steps out records each of them before the next, so that after any crash
the same question has the right answer. It keeps two promises: the key that the Secret has works, and goes on
working for `overlap` after another is there; and no key that was made stays without a record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from cloudrun_identity.api import KeyState, LedgerKey
from cloudrun_identity.iam.listed_keys import MAX_KEYS, ListedKey
from cloudrun_identity.ledger.keys import KeyRing

LAG = timedelta(minutes=2)
"""How long Google may show nothing of a key that was made, the time that its create takes included."""

SKEW = timedelta(minutes=1)
"""How far Google's clock may be from ours."""

SETTLE = timedelta(minutes=1)
"""How long a new key is kept back while the one before works: Google may not know it everywhere sooner.

https://cloud.google.com/iam/docs/keys-create-delete has "60 seconds or more".
"""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What the object asks for."""

    period: timedelta
    overlap: timedelta
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that the next step depends on.

    `secret_key` and `secret_digest` say what the Secret has, empty where it is absent or holds no key. `held`
    are the keys whose private halves this process still has. `ending`: the object is being deleted.
    """

    now: datetime
    owner: str
    rotation: Rotation
    ring: KeyRing
    listed: Mapping[str, ListedKey] = field(default_factory=dict)
    secret_key: str = ""
    secret_digest: str = ""
    held: frozenset[str] = frozenset()
    ending: bool = False

    @property
    def own(self) -> tuple[LedgerKey, ...]:
        """The keys of this object, the oldest first."""
        return self.ring.of(self.owner)

    @property
    def current(self) -> LedgerKey | None:
        """The key that the Secret has, if it is one that works and that was put there by us."""
        record = self.ring.records.get(self.secret_key)
        if record is None or record.owner != self.owner or record.digest != self.secret_digest:
            return None
        listed = self.listed.get(record.id)
        if (listed and listed.disabled) or self.is_gone(record) or _is_past(record.expiry_time, self.now):
            return None
        return record if record.state in (KeyState.PUBLISHING, KeyState.ACTIVE) else None

    @property
    def publishable(self) -> LedgerKey | None:
        """The newest key that can still be put into the Secret, if there is one."""
        ready = [each for each in self.retirable if each.state is KeyState.PUBLISHING]
        held = [each for each in ready if each.id in self.held]
        return held[-1] if held else None

    @property
    def retirable(self) -> tuple[LedgerKey, ...]:
        """The keys of this object that the Secret does not have, the oldest first."""
        current = self.current
        return tuple(each for each in self.own if each != current and each.state is not KeyState.UNCLEAR)

    def is_gone(self, record: LedgerKey) -> bool:
        """Whether the key is not there any more; one that was just made may not be shown yet."""
        is_fresh = record.created_time - LAG < self.now < record.created_time + LAG
        return record.id not in self.listed and not is_fresh


@dataclass(frozen=True, slots=True)
class Make:
    """Make a key."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Put the key into the Secret."""

    key_id: str


@dataclass(frozen=True, slots=True)
class Promote:
    """The Secret has the key: record that it is the active one."""

    key_id: str


@dataclass(frozen=True, slots=True)
class Disable:
    """Disable the key."""

    key_id: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the key; `stray`: it is in no record, and nobody has its private half."""

    key_id: str
    stray: bool = False


@dataclass(frozen=True, slots=True)
class Forget:
    """The key is gone: drop its record."""

    key_id: str


@dataclass(frozen=True, slots=True)
class CloseAttempt:
    """Nothing is left to find of an attempt that was cut short; of the `unclear` keys one may be its own."""

    unclear: tuple[ListedKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until Google shows for sure what there is."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Full:
    """A key is needed, and the account has as many as it can."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is to be done before `until`; `unfinished`: what was asked for is not done yet."""

    until: datetime | None
    unfinished: bool = False


Act: TypeAlias = Make | Publish | Promote | Disable | Delete | Forget | CloseAttempt
Step: TypeAlias = Act | Await | Full | Rest


def plan(situation: Situation) -> Step:
    """The next step."""
    return _after_attempt(situation) or (_end(situation) if situation.ending else _succeed(situation))


def rotation_due(record: LedgerKey, rotation: Rotation) -> datetime:
    """When the key is to be followed by the next: before it expires, with time for both to overlap."""
    due = record.created_time + rotation.period
    if record.expiry_time is None:
        return due
    lifetime = record.expiry_time - record.created_time
    return min(due, record.expiry_time - min(rotation.overlap, lifetime / 2))


def disable_due(record: LedgerKey, rotation: Rotation) -> datetime | None:
    """When the key is to be disabled; None for one that is in use, or was never."""
    return record.superseded_time + rotation.overlap if record.superseded_time else None


def delete_due(record: LedgerKey, rotation: Rotation) -> datetime | None:
    """When the key is to be deleted, as far as that is known: a time to enable it again is left."""
    if record.disabled_time:
        return record.disabled_time + rotation.overlap
    return record.superseded_time + 2 * rotation.overlap if record.superseded_time else None


def _after_attempt(situation: Situation) -> Step | None:
    """What an attempt that was cut short left behind; None if there is none."""
    attempt, now = situation.ring.attempt, situation.now
    if attempt is None:
        return None
    if attempt.time - LAG < now < attempt.time + LAG:  # beyond it on either side the clock was turned
        return Await(attempt.time + LAG)
    strays = tuple(
        key
        for key_id, key in sorted(situation.listed.items())
        if key_id not in attempt.known
        and key_id not in situation.ring.records
        and attempt.time - SKEW <= key.created <= attempt.time + LAG
    )
    return Delete(strays[0].key_id, stray=True) if len(strays) == 1 else CloseAttempt(strays)


def _end(situation: Situation) -> Step:
    for record in situation.own:
        if record.state is KeyState.UNCLEAR or situation.is_gone(record):
            return Forget(record.id)
        if record.id not in situation.listed:
            return Await(record.created_time + LAG)
        if record.state is not KeyState.DISABLED:
            return Disable(record.id)
        return Delete(record.id)
    return Rest(None)


def _succeed(situation: Situation) -> Step:
    for record in situation.own:
        if situation.is_gone(record):
            return Forget(record.id)
    current, following = situation.current, situation.publishable
    if current is None:
        return Publish(following.id) if following else _make(situation)
    if current.state is KeyState.PUBLISHING:
        return Promote(current.id)
    asked = current.generation != situation.rotation.generation
    if following and not following.created_time - SETTLE < situation.now < following.created_time + SETTLE:
        return Publish(following.id)
    if not following and (asked or rotation_due(current, situation.rotation) <= situation.now):
        return _make(situation)
    return _retire(situation) or Rest(min(_due_times(situation, current, following)), unfinished=asked)


def _make(situation: Situation) -> Step:
    if len(situation.listed) < MAX_KEYS:
        return Make()
    disabled = [each for each in situation.retirable if each.state is KeyState.DISABLED]
    return _retire(situation) or (Delete(disabled[0].id) if disabled else Full())


def _retire(situation: Situation) -> Step | None:
    """What of the keys that are not in the Secret is due."""
    for record in situation.retirable:
        match record.state:
            case KeyState.PUBLISHING if record.id not in situation.held:
                return Delete(record.id)
            case KeyState.OVERLAP if _is_past(disable_due(record, situation.rotation), situation.now):
                return Disable(record.id)
            case KeyState.DISABLED if _is_past(delete_due(record, situation.rotation), situation.now):
                return Delete(record.id)
    return None


def _due_times(situation: Situation, current: LedgerKey, following: LedgerKey | None) -> Iterable[datetime]:
    """When something is to be done again."""
    yield following.created_time + SETTLE if following else rotation_due(current, situation.rotation)
    for record in situation.retirable:
        due = (disable_due if record.state is KeyState.OVERLAP else delete_due)(record, situation.rotation)
        if due:
            yield due


def _is_past(due: datetime | None, now: datetime) -> bool:
    return due is not None and due <= now
