"""Records of the keys of service accounts, in the ledgers of their policies.

Every object that has keys of an account shares the records of the account.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, assert_never

from cloudrun_identity.api import KeyState, LedgerAccount, LedgerKey
from cloudrun_identity.gcp.keys import NewKey
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.secrets import digest_of
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.ledger.model import Ledger

from .actions import (
    CloseAttempt,
    DeleteKey,
    DisableKey,
    ForgetKey,
    ForgetKeys,
    LeaveKeys,
    PromoteKey,
    RecordedAction,
    ResumeOverlap,
    TakeBackKeys,
)
from .key_state import KeysSeen, KeyWant


class KeyLedgers(Protocol):
    """The ledgers with the records: `ledger.store.Ledgers`."""

    def ledger(self, target: Target) -> Ledger:
        """Return the ledger of the account's policy; an empty one if there is none."""
        ...

    async def update(self, target: Target, change: Callable[[Ledger], Ledger]) -> Ledger:
        """Persist `change` of the newest ledger of the account's policy."""
        ...


class KeyRecords:
    """Reads and writes the records."""

    def __init__(self, ledgers: KeyLedgers) -> None:
        self._ledgers = ledgers

    def ring(self, want: KeyWant) -> KeyRing:
        """Return the records of the account."""
        return self._ledgers.ledger(want.account).key_ring if want.account else KeyRing()

    def account(self, want: KeyWant) -> LedgerAccount | None:
        """Return the record of the account; None if no object declares it."""
        return self._ledgers.ledger(want.account).account if want.account else None

    async def change(self, want: KeyWant, change: Callable[[KeyRing], KeyRing]) -> None:
        """Persist `change` of the newest records of the account.

        A new ledger is bound to the unique ID of the account.
        """

        def changed(ledger: Ledger) -> Ledger:
            bound = ledger if ledger.target_uid else ledger.bound_to(want.unique_id)
            return bound.with_key_ring(change(ledger.key_ring))

        await self._ledgers.update(want.home, changed)


def change_of(action: RecordedAction, want: KeyWant, seen: KeysSeen) -> Callable[[KeyRing], KeyRing]:
    """Return how the action changes the records of the account."""
    match action:
        case PromoteKey(key_id=key_id):
            return lambda ring: ring.superseded_by(key_id, seen.now)
        case DisableKey(key_id=key_id):
            record = seen.ring.records[key_id]
            disabled = record.replace(state=KeyState.DISABLED, disabled_time=seen.now)
            return lambda ring: ring.with_records([disabled])
        case ResumeOverlap(key_id=key_id):
            record = seen.ring.records[key_id]
            resumed = record.replace(state=KeyState.OVERLAP, superseded_time=seen.now)
            return lambda ring: ring.with_records([resumed])
        case DeleteKey(key_id=key_id) | ForgetKey(key_id=key_id):
            return lambda ring: ring.without(key_id)
        case CloseAttempt(unclear=unclear):
            owner = attempt.owner if (attempt := seen.ring.attempt) else want.name
            records = [
                LedgerKey(id=key.key_id, owner=owner, state=KeyState.UNCLEAR, created_time=key.created)
                for key in unclear
            ]
            return lambda ring: ring.with_records(records).with_attempt(None)
        case ForgetKeys():
            return lambda ring: ring.without_owner(want.name)
        case LeaveKeys():
            return lambda ring: ring.with_left(want.name)
        case TakeBackKeys():
            return lambda ring: ring.taken_back(want.name)
        case _:
            assert_never(action)


def record_of(want: KeyWant, created: NewKey, now: datetime) -> LedgerKey:
    """Return the record of a key that was just created."""
    key = created.key
    return LedgerKey(
        id=key.key_id,
        owner=want.name,
        state=KeyState.PUBLISHING,
        created_time=now,
        digest=digest_of(created.file),
        generation=want.rotation.generation,
        expiry_time=now + (key.expires - key.created) if key.expires else None,
    )
