"""Execute the actions of a key plan, one account at a time, so that a crash at any point loses no key.

Objects that share a service account share its records. A lock per account covers every action on the records,
and an action is executed only on the records that it was planned with: if another object has changed them
since, nothing is done, and the reconciler plans again. An attempt to create a key that is open while the lock
is free was therefore interrupted, by a crash or by a lost answer.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, assert_never
from weakref import WeakValueDictionary

from cloudrun_identity.api import KeyState, LedgerKeyAttempt
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.last_use import LastUses
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.secrets import KeySecrets
from cloudrun_identity.reconcile.interfaces import Executed

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
    RecordedAction,
    RelabelSecret,
    ReleaseSecret,
    ResumeOverlap,
    RingAction,
    SecretAction,
    TakeBackKeys,
    TakeBackSecret,
)
from .key_reader import FRESH, KeyReader
from .key_records import KeyRecords, change_of, record_of
from .key_state import KeysSeen, KeyWant, is_enabled_again, is_fresh
from .outcomes import creation_refused, key_not_shown, secret_refused


class KeyExecution:
    """Reads and writes keys, their records and their Secrets; raises GoogleError and KubeError.

    A private key stays in memory, from the creation of the key until the Secret has it.
    """

    def __init__(
        self,
        keys: Keys,
        secrets: KeySecrets,
        records: KeyRecords,
        wall_clock: Callable[[], datetime],
        checkpoint: Callable[[str], None],
        last_uses: LastUses | None = None,
    ) -> None:
        """`checkpoint(step)` is called after every step that a crash could follow.

        Without `last_uses`, the last uses of keys are unknown.
        """
        self._keys = keys
        self._secrets = secrets
        self._records = records
        self._wall_clock = wall_clock
        self._checkpoint = checkpoint
        self._reader = KeyReader(keys, secrets, records, self._now, last_uses)
        self._files: dict[str, bytes] = {}
        self._locks: WeakValueDictionary[Target, asyncio.Lock] = WeakValueDictionary()

    async def observe(self, want: KeyWant, max_age: float) -> KeysSeen:
        """Return the keys as of at most `max_age` seconds ago, and the Secret as it is now."""
        seen = await self._reader.read(want, max_age, self._files)
        lock = self._locks.get(want.account) if want.account else None
        if lock is not None and lock.locked():  # the attempt is under way now, for another object
            seen = replace(seen, ring=seen.ring.with_attempt(None))
        return seen

    async def execute(self, action: KeyAction, want: KeyWant, seen: KeysSeen) -> Executed[KeysSeen]:
        """Execute one action."""
        if isinstance(action, SecretAction):
            return await self._execute_on_secret(action, want, seen)
        lock = self._locks.setdefault(want.home, asyncio.Lock())
        async with lock:
            if self._records.ring(want) != seen.ring:
                return Executed(await self._reader.read(want, FRESH, self._files), written=False)
            # The records are dated by the execution: the lock may have been held for long.
            return await self._execute_on_ring(action, want, replace(seen, now=self._now()))

    async def _execute_on_ring(self, action: RingAction, want: KeyWant, seen: KeysSeen) -> Executed[KeysSeen]:
        match action:
            case CreateKey():
                return await self._create(want, seen)
            case PublishKey(key_id=key_id):
                return await self._publish(want, seen, key_id)
            case DisableKey():
                return await self._disable(action, want, seen)
            case ResumeOverlap():
                seen, is_enabled = await self._look_again(action.key_id, want, seen)
                if not is_enabled:
                    return Executed(seen, written=False)
                return Executed(await self._record(action, want, seen))
            case DeleteKey():
                return await self._delete(action, want, seen)
            case PromoteKey() | ForgetKey() | CloseAttempt() | ForgetKeys() | LeaveKeys() | TakeBackKeys():
                return Executed(await self._record(action, want, seen))
            case _:
                assert_never(action)

    async def _create(self, want: KeyWant, seen: KeysSeen) -> Executed[KeysSeen]:
        """Record the attempt, then create the key: after a crash in between, the key is recognized."""
        project_id = want.home.project_id

        async def attempt() -> None:
            known = await self._keys.list(project_id, want.account_id, 0.0)
            began = LedgerKeyAttempt(owner=want.name, time=self._now(), known=tuple(known))
            await self._records.change(want, lambda ring: ring.without_left(known).with_attempt(began))
            self._checkpoint("key attempt recorded")

        try:
            created = await self._keys.create(project_id, want.account_id, attempt)
        except GoogleError as error:
            if not error.undecided:
                await self._records.change(want, lambda ring: ring.with_attempt(None))
            error.propagating = self._reader.is_propagation(want, error)
            if error.fault is not Fault.FAILED_PRECONDITION:
                raise
            return Executed(self._after(want, seen), creation_refused(want, error))
        self._checkpoint("key created")
        record = record_of(want, created, self._now())
        await self._records.change(want, lambda ring: ring.with_records([record]).with_attempt(None))
        self._files[record.id] = created.file
        self._checkpoint("key recorded")
        listed = {**seen.listed, record.id: created.key}
        return Executed(self._after(want, seen, listed=listed), resource=want.key_resource(record.id))

    async def _publish(self, want: KeyWant, seen: KeysSeen, key_id: str) -> Executed[KeysSeen]:
        file, template = self._files[key_id], want.template
        try:
            secret = await self._secrets.write_key(want.owner, want.secret_name, seen.secret, file, template)
        except KubeError as error:
            return Executed(seen, secret_refused(want, error))
        self._checkpoint("key published")
        return Executed(self._after(want, seen, secret=secret))

    async def _disable(self, action: DisableKey, want: KeyWant, seen: KeysSeen) -> Executed[KeysSeen]:
        listed = seen.listed.get(action.key_id)
        if listed is not None and listed.disabled:
            return Executed(await self._record(action, want, seen), written=False)
        try:
            await self._keys.disable(want.home.project_id, want.account_id, action.key_id)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            if is_fresh(seen, action.key_id):
                return Executed(seen, key_not_shown(want, action.key_id), written=False)
            deleted = ForgetKey(action.resource, key_id=action.key_id)
            return Executed(await self._record(deleted, want, seen), written=False)
        self._checkpoint("key disabled")
        return Executed(await self._record(action, want, seen))

    async def _delete(self, action: DeleteKey, want: KeyWant, seen: KeysSeen) -> Executed[KeysSeen]:
        written = True
        if not want.deletes:
            seen, is_enabled = await self._look_again(action.key_id, want, seen)
            if is_enabled:
                return Executed(seen, written=False)
        try:
            await self._keys.delete(want.home.project_id, want.account_id, action.key_id)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            if is_fresh(seen, action.key_id):
                return Executed(seen, key_not_shown(want, action.key_id), written=False)
            written = False
        self._checkpoint("key deleted")
        return Executed(await self._record(action, want, seen), written=written)

    async def _look_again(self, key_id: str, want: KeyWant, seen: KeysSeen) -> tuple[KeysSeen, bool]:
        """Return whether another user enabled a key that was disabled, and the new list that shows it."""
        record = seen.ring.records.get(key_id)
        if record is None or record.state is not KeyState.DISABLED:
            return seen, False
        listed, _ = await self._reader.list(want, FRESH)
        seen = replace(seen, listed=listed)
        return seen, is_enabled_again(record, want.rotation, seen)

    async def _record(self, action: RecordedAction, want: KeyWant, seen: KeysSeen) -> KeysSeen:
        """Persist what the action changes in the records, and drop the private keys that it ends."""
        listed = seen.listed
        match action:
            case PromoteKey(key_id=key_id):
                self._files.pop(key_id, None)
            case DeleteKey(key_id=key_id) | ForgetKey(key_id=key_id):
                self._files.pop(key_id, None)
                listed = {each: key for each, key in listed.items() if each != key_id}
            case ForgetKeys() | LeaveKeys():
                for record in seen.ring.of(want.name):
                    self._files.pop(record.id, None)
            case DisableKey(key_id=key_id):
                listed = {
                    each: replace(key, disabled=True) if each == key_id else key
                    for each, key in listed.items()
                }
            case ResumeOverlap() | CloseAttempt() | TakeBackKeys():
                pass
            case _:
                assert_never(action)
        await self._records.change(want, change_of(action, want, seen))
        if isinstance(action, PromoteKey):
            self._checkpoint("key active")
        return self._after(want, seen, listed=listed)

    async def _execute_on_secret(
        self, action: SecretAction, want: KeyWant, seen: KeysSeen
    ) -> Executed[KeysSeen]:
        if seen.secret is None:
            return Executed(seen, written=False)
        match action:
            case RelabelSecret() | TakeBackSecret():
                try:
                    secret = await self._secrets.write_metadata(want.owner, seen.secret, want.template)
                except KubeError as error:
                    return Executed(seen, secret_refused(want, error))
                return Executed(replace(seen, secret=secret))
            case ReleaseSecret():
                await self._secrets.orphan(want.owner, seen.secret)
            case DeleteSecret():
                await self._secrets.delete(want.owner, seen.secret)
            case _:
                assert_never(action)
        self._checkpoint("secret parted with")
        return Executed(replace(seen, secret=None))

    def _after(self, want: KeyWant, seen: KeysSeen, **changes: Any) -> KeysSeen:
        """Return what was seen with these changes, and with the records and the time after an action.

        Google's quota may have delayed the action.
        """
        records = {
            "ring": self._records.ring(want),
            "publishable": frozenset(self._files),
            "now": self._now(),
        }
        return replace(seen, **{**records, **changes})

    def _now(self) -> datetime:
        """Return the time in whole seconds, as records keep it."""
        return self._wall_clock().replace(microsecond=0)
