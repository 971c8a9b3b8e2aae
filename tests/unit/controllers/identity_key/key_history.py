"""Keys, a Secret and a ledger in memory, on which the steps of a plan are executed, or interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cloudrun_identity.api import KeyState, LedgerKey, LedgerKeyAttempt
from cloudrun_identity.controllers.identity_key.actions import (
    CloseAttempt,
    CreateKey,
    DeleteKey,
    DeleteSecret,
    DisableKey,
    ForgetKey,
    KeyAction,
    PromoteKey,
    PublishKey,
    ResumeOverlap,
)
from cloudrun_identity.controllers.identity_key.key_state import KeysSeen, KeyWant, Rotation
from cloudrun_identity.controllers.identity_key.outcomes import NEXT_KEY_WAITS
from cloudrun_identity.controllers.identity_key.plan import plan
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.steps import Action, Fail, Plan, Wait
from tests.unit.controllers.identity_key.key_bench import ACCOUNT, declared, secret

NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)
OWNER = "payments/checkout"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ROTATION = Rotation(period=30 * DAY, overlap=DAY)

Act = Callable[[], None]


@dataclass(frozen=True)
class Rest:
    """No step is due before `until`; `unfinished`: a requested key is not delivered yet."""

    until: datetime | None
    unfinished: bool = False


@dataclass(frozen=True)
class Await:
    """The result of an interrupted creation is waited for."""

    until: datetime


@dataclass(frozen=True)
class Full:
    """The account has no room for another key."""


Next = str | Rest | Await | Full
"""The next step of a plan; an action by its name, as in `DeleteKey key-001`."""


@dataclass(frozen=True)
class RotatingWant(KeyWant):
    """Keys with a rotation that the API would not admit, such as one without overlap."""

    declared_rotation: Rotation = ROTATION

    @property
    def rotation(self) -> Rotation:
        return self.declared_rotation


@dataclass
class KeyHistory:
    """The keys of one object over time.

    An act takes the time `slow`.
    """

    now: datetime = NOON
    slow: timedelta = timedelta()
    rotation: Rotation = ROTATION
    ring: KeyRing = field(default_factory=KeyRing)
    live: dict[str, ListedKey] = field(default_factory=dict)
    """Keys of the account in Google Cloud."""
    unmanaged: set[str] = field(default_factory=set)
    """Keys that another user created."""
    secret: str = ""
    """Key in the Secret."""
    held: set[str] = field(default_factory=set)
    """Keys with a private key that the process has."""
    ending: bool = False
    """True if the object is being deleted."""
    steps: list[Action] = field(default_factory=list)
    """Executed steps."""
    _made: int = 0

    @property
    def plan(self) -> Plan[KeyAction]:
        want = RotatingWant(declared(), ACCOUNT, "111", deletes=self.ending, declared_rotation=self.rotation)
        has = secret(self.secret, digest=self.secret) if self.secret else None
        return plan(want, KeysSeen(self.now, dict(self.live), has, self.ring, frozenset(self.held)))

    @property
    def next(self) -> Next:
        planned = self.plan
        if not planned.steps:
            return Rest(None if planned.due is None else self.now + timedelta(seconds=planned.due))
        match planned.steps[0]:
            case Wait(message=message, after=after):
                until = self.now + timedelta(seconds=after or 0)
                return Rest(until, unfinished=True) if message == NEXT_KEY_WAITS else Await(until)
            case Fail():
                return Full()
            case step:
                return named(step)

    def work(self, *, until_cut: int | None = None) -> Next:
        """Execute steps until none is due now; `until_cut`: the process ends after so many acts."""
        acts = 0
        for _ in range(100):
            if not self.plan.actions:
                return self.next
            step = self.plan.actions[0]
            self.steps.append(step)
            for act in self._acts(step):
                self.now += self.slow
                act()
                acts += 1
                if acts == until_cut:
                    self.held.clear()
                    return named(step)
        raise AssertionError(f"it never ends: {self.steps[-6:]}")

    def pass_by(self, time: timedelta) -> None:
        """Let time pass, and work whenever something is due, and at the end."""
        end = self.now + time
        while True:
            match self.work():
                case Rest(until) | Await(until) if until is not None and until <= end:
                    assert until > self.now
                    self.now = until
                case _:
                    self.now = max(self.now, end)
                    self.work()
                    return

    def create_unmanaged(self) -> str:
        key_id = self._make()
        self.unmanaged.add(key_id)
        return key_id

    def disable(self, key_id: str) -> None:
        self.live[key_id] = replace(self.live[key_id], disabled=True)

    def states(self) -> list[str]:
        return [str(record.state) for record in self.ring.of(OWNER)]

    def _make(self) -> str:
        self._made += 1
        key_id = f"key-{self._made:03}"
        self.live[key_id] = ListedKey(key_id, self.now)
        return key_id

    def _acts(self, step: Action) -> Iterator[Act]:
        """Return what a step does, one act that a crash may follow after the other."""
        match step:
            case CreateKey():
                yield lambda: self._attempt(
                    LedgerKeyAttempt(owner=OWNER, time=self.now, known=tuple(self.live))
                )
                made: list[str] = []
                yield lambda: made.append(self._make())
                yield lambda: self._record(made[0])
            case PublishKey() | DeleteSecret():
                key_id = getattr(step, "key_id", "")
                assert not key_id or key_id in self.held
                yield lambda: setattr(self, "secret", key_id)
            case PromoteKey(key_id=key_id):
                yield lambda: self._keep(self.ring.superseded_by(key_id, self.now))
            case DisableKey(key_id=key_id) if key_id not in self.live:  # deleted by a user, and lists lag
                yield lambda: self._keep(self.ring.without(key_id))
            case DisableKey(key_id=key_id):
                assert key_id not in self.unmanaged
                yield lambda: self.disable(key_id)
                yield lambda: self._keep(self.ring.with_records([self._disabled(key_id)]))
            case ResumeOverlap(key_id=key_id):
                record = self.ring.records[key_id]
                resumed = record.replace(state=KeyState.OVERLAP, superseded_time=self.now)
                yield lambda: self._keep(self.ring.with_records([resumed]))
            case DeleteKey(key_id=key_id, warning=stray):
                yield from self._deletion(key_id, stray)
            case ForgetKey(key_id=key_id):
                yield lambda: self._keep(self.ring.without(key_id))
            case CloseAttempt(unclear=unclear):
                yield lambda: self._close_attempt(unclear)
            case _:
                raise AssertionError(step)

    def _deletion(self, key_id: str, stray: str) -> Iterator[Act]:
        assert key_id not in self.unmanaged
        yield lambda: self._remove(key_id)
        if not stray:
            yield lambda: self._keep(self.ring.without(key_id))

    def _remove(self, key_id: str) -> None:
        self.live.pop(key_id, None)

    def _attempt(self, attempt: LedgerKeyAttempt) -> None:
        self._keep(self.ring.with_attempt(attempt))

    def _close_attempt(self, unclear: tuple[ListedKey, ...]) -> None:
        records = [
            LedgerKey(id=key.key_id, owner=OWNER, state=KeyState.UNCLEAR, created_time=key.created)
            for key in unclear
        ]
        self._keep(self.ring.with_records(records).with_attempt(None))

    def _record(self, key_id: str) -> None:
        record = LedgerKey(
            id=key_id,
            owner=OWNER,
            state=KeyState.PUBLISHING,
            created_time=self.now,
            digest=key_id,
            generation=self.rotation.generation,
        )
        self.held.add(key_id)
        self._keep(self.ring.with_records([record]).with_attempt(None))

    def _disabled(self, key_id: str) -> LedgerKey:
        return self.ring.records[key_id].replace(state=KeyState.DISABLED, disabled_time=self.now)

    def _keep(self, ring: KeyRing) -> None:
        self.ring = ring


def named(step: object) -> str:
    """Return the name of an action with its key, as in `DeleteKey key-001`."""
    return f"{type(step).__name__} {getattr(step, 'key_id', '')}".rstrip()
