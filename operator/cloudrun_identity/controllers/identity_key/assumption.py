"""Effects of the actions of a key plan that a dry run assumes, without a call to Google Cloud."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from cloudrun_identity.api import KeyState, LedgerKey
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.kube.secrets import KeySecret
from cloudrun_identity.reconcile.executor import ASSUMED_UNIQUE_ID

from .actions import (
    CloseAttempt,
    CreateKey,
    DeleteKey,
    DeleteSecret,
    DisableKey,
    ForgetKey,
    ForgetKeys,
    KeyAction,
    LeaveKeys,
    PromoteKey,
    PublishKey,
    RelabelSecret,
    ReleaseSecret,
    ResumeOverlap,
    TakeBackKeys,
    TakeBackSecret,
)
from .key_records import KeyRecords, change_of
from .key_state import KeysSeen, KeyWant

ASSUMED_KEY = "new"
"""Id of a key that a dry run assumes to be created."""


class KeyAssumption:
    """Assumes actions. It keeps the records, so that the next plan is right."""

    def __init__(self, records: KeyRecords, now: Callable[[], datetime]) -> None:
        self._records = records
        self._now = now
        self._assumed: dict[str, KeysSeen] = {}

    def observed(self, want: KeyWant) -> KeysSeen | None:
        """Return the keys as assumed before; None if there is something to read.

        An account that a dry run assumes to be created has no keys.
        """
        if want.name not in self._assumed and want.unique_id == ASSUMED_UNIQUE_ID:
            return KeysSeen(self._now(), {}, None, self._records.ring(want))
        return self._assumed.get(want.name)

    async def assume(self, action: KeyAction, want: KeyWant, seen: KeysSeen) -> KeysSeen:
        """Return what the action, and for a new key its delivery, would leave behind."""
        self._assumed[want.name] = await self._assume(action, want, seen)
        return self._assumed[want.name]

    async def _assume(self, action: KeyAction, want: KeyWant, seen: KeysSeen) -> KeysSeen:
        match action:
            case CreateKey():
                return await self._created(want, seen)
            case PublishKey(key_id=key_id):
                return replace(seen, secret=_secret(want, seen, key_id, seen.ring.records[key_id].digest))
            case RelabelSecret() | TakeBackSecret():
                held = seen.secret
                return replace(seen, secret=held and _secret(want, seen, held.key_id, held.digest))
            case ReleaseSecret() | DeleteSecret():
                return replace(seen, secret=None)
            case (
                PromoteKey()
                | DisableKey()
                | ResumeOverlap()
                | DeleteKey()
                | ForgetKey()
                | CloseAttempt()
                | ForgetKeys()
                | LeaveKeys()
                | TakeBackKeys()
            ):
                await self._records.change(want, change_of(action, want, seen))
            case _:
                assert_never(action)
        listed = dict(seen.listed)
        match action:
            case DisableKey(key_id=key_id) if key_id in listed:
                listed[key_id] = replace(listed[key_id], disabled=True)
            case DeleteKey(key_id=key_id):
                listed.pop(key_id, None)
        return replace(seen, ring=self._records.ring(want), listed=listed)

    async def _created(self, want: KeyWant, seen: KeysSeen) -> KeysSeen:
        now, generation = seen.now, want.rotation.generation
        record = LedgerKey(
            id=ASSUMED_KEY,
            owner=want.name,
            state=KeyState.PUBLISHING,
            created_time=now,
            generation=generation,
        )
        await self._records.change(
            want, lambda ring: ring.with_records([record]).superseded_by(ASSUMED_KEY, now)
        )
        listed = {**seen.listed, ASSUMED_KEY: ListedKey(ASSUMED_KEY, now)}
        secret = _secret(want, seen, ASSUMED_KEY, record.digest)
        return replace(seen, ring=self._records.ring(want), listed=listed, secret=secret)


def _secret(want: KeyWant, seen: KeysSeen, key_id: str, digest: str) -> KeySecret:
    """Return the Secret with this key and the declared labels and annotations."""
    return KeySecret(
        name=want.secret_name,
        uid=seen.secret.uid if seen.secret else "",
        version="",
        is_owned=True,
        key_id=key_id,
        digest=digest,
        labels=want.template.labels,
        annotations=want.template.annotations,
    )
