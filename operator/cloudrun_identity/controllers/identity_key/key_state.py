"""The keys of an IdentityKey as declared, and as seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cloudrun_identity.api import IdentityKey, KeyState, LedgerKey
from cloudrun_identity.gcp.observed_uses import PENDING, Evidence
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.kube.secrets import KeySecret, ObjectReference, SecretMetadata
from cloudrun_identity.ledger.keys import KeyRing


@dataclass(frozen=True, slots=True)
class Rotation:
    """The declared rotation of a key."""

    period: timedelta
    """Time from the creation of a key to the creation of the next one."""
    overlap: timedelta
    """Time for which the former key works after the Secret got the next one; zero to end it at once."""
    generation: int = 0
    """Number that asks for another key when it changes."""
    require_unused: bool = False
    """True if a former key works until Google sees no use of it, for `max_overlap` at most."""
    max_overlap: timedelta = timedelta()
    """Time for which a former key works at most."""

    @property
    def depends_on_use(self) -> bool:
        """True if a former key in use works for longer than the overlap. Without an overlap, none does."""
        return self.require_unused and self.overlap > timedelta()

    @property
    def longest_overlap(self) -> timedelta:
        """Time after which a former key is disabled, whatever Google reports about its use."""
        return max(self.overlap, self.max_overlap) if self.depends_on_use else self.overlap


@dataclass(frozen=True, slots=True)
class KeyWant:
    """The keys and the Secret as declared, or their deletion."""

    obj: IdentityKey
    """The object."""
    account: Target | None
    """Service account of the keys; None for the deletion of an object that never had one."""
    unique_id: str
    """Unique ID of the account; empty for a deletion if the ledger does not record it."""
    deletes: bool = False
    """True if the object is being deleted."""
    abandon: bool = False
    """True if the deletion of the object leaves the keys and the Secret in place."""
    reads_last_use: bool = False
    """True if the ManagedProject permits to read the last uses of keys."""

    @property
    def name(self) -> str:
        """The object as records name it: `namespace/name`."""
        return f"{self.obj.metadata.namespace}/{self.obj.metadata.name}"

    @property
    def owner(self) -> ObjectReference:
        """The object as Secrets name it."""
        metadata = self.obj.metadata
        return ObjectReference(
            self.obj.api_version, self.obj.kind, metadata.namespace, metadata.name, metadata.uid
        )

    @property
    def secret_name(self) -> str:
        """Name of the Secret."""
        return self.obj.spec.secret_name

    @property
    def rotation(self) -> Rotation:
        """The declared rotation."""
        spec = self.obj.spec.rotation
        return Rotation(
            spec.period.timedelta,
            spec.overlap.timedelta,
            spec.generation,
            spec.require_unused,
            spec.max_overlap.timedelta,
        )

    @property
    def template(self) -> SecretMetadata:
        """Labels and annotations of the Secret."""
        template = self.obj.spec.secret_template
        return (
            SecretMetadata(template.labels or {}, template.annotations or {})
            if template
            else SecretMetadata()
        )

    @property
    def home(self) -> Target:
        """Service account of the keys, of an object that has one."""
        if self.account is None:
            raise ValueError(f"{self.name} has no service account")
        return self.account

    @property
    def account_id(self) -> str:
        """Unique ID of the account, or its e-mail, which Google Cloud accepts in place of an unknown one."""
        return self.unique_id or self.home.name

    def key_resource(self, key_id: str) -> str:
        """Return the full name of a key of the account."""
        return f"{self.home.full_name}/keys/{key_id}"


@dataclass(frozen=True, slots=True)
class KeyEvidence:
    """Last uses of the keys of a project, by the two sources."""

    analyzer: Evidence = PENDING
    """Days, from Policy Analyzer."""
    monitoring: Evidence = PENDING
    """Samples, from Monitoring. It is read only if the decision about a former key depends on it."""
    remedy: str = ""
    """Message with the field that permits to read last uses; empty if Google was asked."""


@dataclass(frozen=True, slots=True)
class KeysSeen:
    """The keys of an account and the Secret of an object, as seen. It holds no private key."""

    now: datetime
    """Time of the observation, or of the last action, by the clock that dates the records."""
    listed: Mapping[str, ListedKey]
    """Keys of the account by id, as Google lists them."""
    secret: KeySecret | None
    """The Secret; None if there is none or it cannot be read."""
    ring: KeyRing = field(default_factory=KeyRing)
    """Records of the account's keys. A creation that is under way now is left out."""
    publishable: frozenset[str] = frozenset()
    """Keys with a private key that this process still has and can publish."""
    is_forbidden: bool = False
    """True if the operator may not read the Secret."""
    account_deleted: bool = False
    """True if the account was deleted, and its keys with it."""
    evidence: KeyEvidence = field(default_factory=KeyEvidence)
    """Last uses of keys, as Google reports them."""

    @property
    def is_taken(self) -> bool:
        """True if the Secret belongs to another owner."""
        return self.secret is not None and not self.secret.is_owned

    def is_left_secret(self, want: KeyWant) -> bool:
        """Return whether an object of this name left the Secret, with a recorded key in it."""
        secret = self.secret
        if secret is None or secret.is_owned or secret.left_by != want.obj.metadata.name:
            return False
        record = self.ring.records.get(secret.key_id)
        return record is not None and record.owner == want.name and record.digest == secret.digest


LAG = timedelta(minutes=2)
"""Time for which Google may not show a new or a disabled key as such, including the time of the write."""


def is_fresh(seen: KeysSeen, key_id: str) -> bool:
    """Return whether a recorded key may still be propagating."""
    record = seen.ring.records.get(key_id)
    return record is not None and record.created_time - LAG < seen.now < record.created_time + LAG


def rotation_due(record: LedgerKey, rotation: Rotation) -> datetime:
    """Return when to create the next key: before this one expires, with time for both to overlap."""
    due = record.created_time + rotation.period
    if record.expiry_time is None:
        return due
    lifetime = record.expiry_time - record.created_time
    return min(due, record.expiry_time - min(rotation.overlap, lifetime / 2))


def disable_due(record: LedgerKey, rotation: Rotation) -> datetime | None:
    """Return when to disable the key at the latest; None for the key in use, and one that was never in use.

    `retirement` decides whether it is disabled earlier.
    """
    return record.superseded_time + rotation.longest_overlap if record.superseded_time else None


def delete_due(record: LedgerKey, rotation: Rotation) -> datetime | None:
    """Return when to delete the key, as far as that is known. Until then it can be enabled again."""
    if record.state is KeyState.DISABLED and record.disabled_time:
        return record.disabled_time + rotation.overlap
    disabled = disable_due(record, rotation)
    return disabled + rotation.overlap if disabled else None


def is_enabled_again(record: LedgerKey, rotation: Rotation, seen: KeysSeen) -> bool:
    """Return whether Google lists a key as enabled that the operator disabled: it may be in use.

    Without an overlap, that makes no difference: such a key is deleted at once.
    """
    listed = seen.listed.get(record.id)
    if record.disabled_time is None or listed is None or listed.disabled:
        return False
    return rotation.overlap > timedelta()


def resume_due(record: LedgerKey) -> datetime:
    """Return when a disabled key that is listed as enabled was enabled again. Until then, lists may lag.

    https://cloud.google.com/iam/docs/keys-disable-enable
    """
    return (record.disabled_time or record.created_time) + LAG
