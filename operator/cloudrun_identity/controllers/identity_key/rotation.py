"""Execute the steps of a key plan, one account at a time, crash-safe by the ledger of the account."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import assert_never
from weakref import WeakValueDictionary

from cloudrun_identity.api import IdentityKey, KeyState, LedgerKey, LedgerKeyAttempt
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.keys import Keys, NewKey
from cloudrun_identity.gcp.mutations import log_mutation
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.secrets import KeySecrets, digest_of
from cloudrun_identity.ledger.interface import LedgerStore
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.outcomes import InSync, Outcome

from .outcomes import forbidden, no_secret, refused_secret, resting, stopped, stray
from .plan import (
    Act,
    Await,
    CloseAttempt,
    Delete,
    Disable,
    Forget,
    Full,
    Make,
    Promote,
    Publish,
    Rest,
    Situation,
    Step,
    plan,
)
from .use import KeysSeen, KeyUse, owner_of

_STEPS = 64  # of one pass: four for each of ten keys are not reached
_FRESH = 5.0  # seconds; a pass has listed the keys just before, and whatever we write to them ends a list


class KeyRotation:
    """Makes, publishes, disables and deletes keys, one account at a time; raises GoogleError and KubeError.

    The private half of a key stays here, in memory, from its create until the Secret has it.
    """

    def __init__(
        self,
        keys: Keys,
        secrets: KeySecrets,
        ledgers: LedgerStore,
        event_reporter: EventReporter,
        wall_clock: Callable[[], datetime],
        checkpoint: Callable[[str], None],
    ) -> None:
        """`checkpoint(step)` is told after every step that a crash could follow."""
        self._keys = keys
        self._secrets = secrets
        self._ledgers = ledgers
        self._event_reporter = event_reporter
        self._wall_clock = wall_clock
        self._checkpoint = checkpoint
        self._files: dict[str, bytes] = {}
        self._locks: WeakValueDictionary[Target, asyncio.Lock] = WeakValueDictionary()

    async def look(self, use: KeyUse, max_age: float) -> KeysSeen:
        """What there is, as of at most `max_age` seconds ago; the Secret as it is now."""
        listed = await self._keys.list(use.account.project_id, use.unique_id, max_age)
        try:
            secret = await self._secrets.get(use.owner, use.obj.spec.secret_name)
        except KubeError as error:
            if not error.is_forbidden:
                raise
            return KeysSeen(self._now(), listed, None, barred=True)
        return KeysSeen(self._now(), listed, secret)

    def next_step(self, use: KeyUse, seen: KeysSeen, *, ending: bool = False) -> Step:
        """What is to be done next."""
        secret = None if seen.is_taken else seen.secret
        return plan(
            Situation(
                seen.now,
                use.name,
                use.rotation,
                self._ring(use),
                seen.listed,
                secret.key_id if secret else "",
                secret.digest if secret else "",
                frozenset(self._files),
                ending,
            )
        )

    async def advance(self, use: KeyUse, *, ending: bool = False) -> tuple[Outcome, KeysSeen]:
        """Do what is to be done now; returns what there is after that."""
        lock = self._locks.setdefault(use.account, asyncio.Lock())
        async with lock:  # an attempt that is open here was cut short, by a crash or a lost answer
            seen = await self.look(use, _FRESH)
            if not ending and (seen.barred or seen.is_taken):
                return no_secret(use, barred=seen.barred), seen
            for _ in range(_STEPS):
                step = self.next_step(use, seen, ending=ending)
                if isinstance(step, Rest):
                    return await self._relabel(use, seen) or resting(step, seen.now), seen
                if isinstance(step, Await | Full):
                    return stopped(step, seen), seen
                done = await self._carry_out(step, use, seen)
                if not isinstance(done, KeysSeen):
                    return done, seen
                seen = replace(done, now=self._now())  # Google's quota may have had it wait
        raise AssertionError(f"the keys of {use.name} never come to rest")

    def rest(self, use: KeyUse, seen: KeysSeen) -> Outcome:
        """The outcome where nothing is to be done now."""
        step = self.next_step(use, seen)
        return resting(step, seen.now) if isinstance(step, Rest) else InSync(after=0.0)

    async def part_with_secret(self, obj: IdentityKey, *, abandon: bool) -> None:
        """Delete the Secret, if it is the object's; or leave it to whoever uses it."""
        owner = owner_of(obj)
        secret = await self._secrets.get(owner, obj.spec.secret_name)
        if secret is None or not secret.is_owned:
            return
        if abandon:
            await self._secrets.orphan(owner, secret)
        else:
            await self._secrets.delete(owner, secret)
        self._checkpoint("secret parted with")

    async def forget(self, use: KeyUse) -> None:
        """Keep nothing in mind of the object's keys any more."""
        for record in self._ring(use).of(use.name):
            self._files.pop(record.id, None)
        await self._change(use, lambda ring: ring.without_owner(use.name))

    async def _carry_out(self, step: Act, use: KeyUse, seen: KeysSeen) -> KeysSeen | Outcome:
        """One step: what there is after it, or how the pass ends."""
        match step:
            case Make():
                return await self._make(use, seen)
            case Publish(key_id):
                return await self._publish(use, seen, key_id)
            case Promote(key_id):
                self._files.pop(key_id, None)
                await self._change(use, lambda ring: ring.superseded_by(key_id, seen.now))
                self._checkpoint("key active")
                message = f"Secret {use.obj.spec.secret_name} has key {key_id}"
                self._event_reporter.note(use.obj, "KeyPublished", message)
            case Disable(key_id):
                return await self._disable(use, seen, key_id)
            case Delete():
                return await self._delete(use, seen, step)
            case Forget(key_id):
                self._files.pop(key_id, None)
                await self._change(use, lambda ring: ring.without(key_id))
            case CloseAttempt(unclear):
                owner = attempt.owner if (attempt := self._ring(use).attempt) else use.name
                records = [
                    LedgerKey(id=key.key_id, owner=owner, state=KeyState.UNCLEAR, created_time=key.created)
                    for key in unclear
                ]
                await self._change(use, lambda ring: ring.with_records(records).with_attempt(None))
            case _:
                assert_never(step)
        return seen

    async def _make(self, use: KeyUse, seen: KeysSeen) -> KeysSeen | Outcome:
        """Record the attempt, then make the key: after a crash in between it is known for what it is."""

        async def attempt() -> None:
            known = await self._keys.list(use.account.project_id, use.unique_id, 0.0)
            began = LedgerKeyAttempt(owner=use.name, time=self._now(), known=tuple(known))
            await self._change(use, lambda ring: ring.with_attempt(began))
            self._checkpoint("key attempt recorded")

        try:
            made = await self._keys.create(use.account.project_id, use.unique_id, attempt)
        except GoogleError as error:
            if not error.undecided:
                await self._change(use, lambda ring: ring.with_attempt(None))
            if error.fault is not Fault.FAILED_PRECONDITION:
                raise
            return forbidden(use, error)
        self._checkpoint("key created")
        log_mutation("create", use.key_name(made.key.key_id), before="absent", after="enabled")
        record = _record(use, made, self._now())
        await self._change(use, lambda ring: ring.with_records([record]).with_attempt(None))
        self._files[record.id] = made.file
        self._checkpoint("key recorded")
        return replace(seen, listed={**seen.listed, record.id: made.key})

    async def _publish(self, use: KeyUse, seen: KeysSeen, key_id: str) -> KeysSeen | Outcome:
        name, file = use.obj.spec.secret_name, self._files[key_id]
        try:
            secret = await self._secrets.write_key(use.owner, name, seen.secret, file, use.template)
        except KubeError as error:
            return refused_secret(use, error)
        self._checkpoint("key published")
        return replace(seen, secret=secret)

    async def _relabel(self, use: KeyUse, seen: KeysSeen) -> Outcome | None:
        """Bring the template to the Secret; how the pass ends if that cannot be."""
        if seen.secret is None or seen.is_taken or use.template.is_on(seen.secret):
            return None
        try:
            await self._secrets.write_metadata(use.owner, seen.secret, use.template)
        except KubeError as error:
            return refused_secret(use, error)
        return None

    async def _disable(self, use: KeyUse, seen: KeysSeen, key_id: str) -> KeysSeen:
        listed = seen.listed.get(key_id)
        if listed is None or not listed.disabled:
            try:
                await self._keys.disable(use.account.project_id, use.unique_id, key_id)
            except GoogleError as error:
                if error.fault is not Fault.NOT_FOUND:
                    raise
                return await self._gone(use, seen, key_id)
            log_mutation("disable", use.key_name(key_id), before="enabled", after="disabled")
            self._checkpoint("key disabled")
        record = self._ring(use).records[key_id].replace(state=KeyState.DISABLED, disabled_time=seen.now)
        await self._change(use, lambda ring: ring.with_records([record]))
        return seen

    async def _delete(self, use: KeyUse, seen: KeysSeen, step: Delete) -> KeysSeen:
        try:
            await self._keys.delete(use.account.project_id, use.unique_id, step.key_id)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
        else:
            after = "deleted: nobody has its private half" if step.stray else "deleted"
            log_mutation("delete", use.key_name(step.key_id), before="present", after=after)
            if step.stray:
                self._event_reporter.warn(use.obj, "StrayKeyDeleted", stray(use, step.key_id))
        self._checkpoint("key deleted")
        return await self._gone(use, seen, step.key_id)

    async def _gone(self, use: KeyUse, seen: KeysSeen, key_id: str) -> KeysSeen:
        self._files.pop(key_id, None)
        await self._change(use, lambda ring: ring.without(key_id))
        return replace(seen, listed={each: key for each, key in seen.listed.items() if each != key_id})

    async def _change(self, use: KeyUse, change: Callable[[KeyRing], KeyRing]) -> None:
        await self._ledgers.update(use.account, lambda ledger: ledger.with_key_ring(change(ledger.key_ring)))

    def _ring(self, use: KeyUse) -> KeyRing:
        return self._ledgers.ledger(use.account).key_ring

    def _now(self) -> datetime:
        """In whole seconds, as records keep it."""
        return self._wall_clock().replace(microsecond=0)


def _record(use: KeyUse, made: NewKey, now: datetime) -> LedgerKey:
    key = made.key
    return LedgerKey(
        id=key.key_id,
        owner=use.name,
        state=KeyState.PUBLISHING,
        created_time=now,
        digest=digest_of(made.file),
        generation=use.rotation.generation,
        expiry_time=now + (key.expires - key.created) if key.expires else None,
    )
