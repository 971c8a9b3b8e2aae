"""The keys of one object as its plan sees them: records, keys in Google Cloud and the Secret together."""

from dataclasses import dataclass
from datetime import datetime

from cloudrun_identity.api import KeyState, LedgerKey
from cloudrun_identity.reconcile.steps import Change

from .key_state import KeysSeen, KeyWant, is_enabled_again, is_fresh
from .retirement import Retirement, retirement


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The keys of one object."""

    want: KeyWant
    """Declaration of the object."""
    seen: KeysSeen
    """Keys, records and Secret as they were read."""

    @property
    def secret(self) -> str:
        """The Secret, as changes name it."""
        return f"Secret {self.want.secret_name}"

    @property
    def own(self) -> tuple[LedgerKey, ...]:
        """Records of the keys of the object, the oldest first."""
        return self.seen.ring.of(self.want.name)

    @property
    def current(self) -> LedgerKey | None:
        """The key in the Secret, if it works and the operator put it there."""
        secret = self.seen.secret
        if secret is None or not secret.is_owned:
            return None
        record = self.seen.ring.records.get(secret.key_id)
        if record is None or record.owner != self.want.name or record.digest != secret.digest:
            return None
        listed = self.seen.listed.get(record.id)
        if (listed and listed.disabled) or self.is_deleted(record) or self.is_past(record.expiry_time):
            return None
        return record if record.state in (KeyState.PUBLISHING, KeyState.ACTIVE) else None

    @property
    def following(self) -> LedgerKey | None:
        """The newest key that can still be put into the Secret."""
        ready = [each for each in self.retirable if each.state is KeyState.PUBLISHING]
        publishable = [each for each in ready if each.id in self.seen.publishable]
        return publishable[-1] if publishable else None

    @property
    def retirable(self) -> tuple[LedgerKey, ...]:
        """The keys of the object that the Secret does not have, the oldest first."""
        current = self.current
        return tuple(each for each in self.own if each != current and each.state is not KeyState.UNCLEAR)

    @property
    def harm(self) -> Change | None:
        """The change of another user that the active key or the Secret suffered."""
        secret = self.seen.secret
        active = next((each for each in self.own if each.state is KeyState.ACTIVE), None)
        if active is None:
            return None
        if secret is None:
            return Change(self.secret, "deleted", "followed by another")
        if (secret.key_id, secret.digest) != (active.id, active.digest):
            return Change(self.secret, "edited", "followed by another")
        listed = self.seen.listed.get(active.id)
        if listed is None or listed.disabled:
            harm = "deleted" if listed is None else "disabled"
            return Change(f"key {active.id}", harm, "followed by another")
        return None

    def retirement(self, record: LedgerKey) -> Retirement | None:
        """Return the decision when to disable a former key."""
        return retirement(record, self.want.rotation, self.seen.evidence, self.seen.now)

    def is_enabled_again(self, record: LedgerKey) -> bool:
        """Return whether another user enabled the key after the operator disabled it."""
        return is_enabled_again(record, self.want.rotation, self.seen)

    def is_deleted(self, record: LedgerKey) -> bool:
        """Return whether the key does not exist any more. Google may not show a new key yet."""
        return record.id not in self.seen.listed and not is_fresh(self.seen, record.id)

    def is_past(self, due: datetime | None) -> bool:
        """Return whether a time has come."""
        return due is not None and due <= self.seen.now

    def seconds_until(self, due: datetime) -> float:
        """Return the seconds until a time, at least one."""
        return max((due - self.seen.now).total_seconds(), 1.0)
