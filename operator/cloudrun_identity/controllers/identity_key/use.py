"""Whose keys of which account are meant, and what is seen of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cloudrun_identity.api import IdentityKey
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.kube.secrets import KeySecret, ObjectReference, SecretMetadata

from .plan import Rotation


def owner_of(obj: IdentityKey) -> ObjectReference:
    """The object as Secrets name it."""
    metadata = obj.metadata
    return ObjectReference(obj.api_version, obj.kind, metadata.namespace, metadata.name, metadata.uid)


@dataclass(frozen=True, slots=True)
class KeyUse:
    """Whose keys of which account; `unique_id` is the account's."""

    obj: IdentityKey
    account: Target
    unique_id: str

    @property
    def name(self) -> str:
        """As records name the object: `namespace/name`."""
        return f"{self.obj.metadata.namespace}/{self.obj.metadata.name}"

    @property
    def owner(self) -> ObjectReference:
        """As Secrets name the object."""
        return owner_of(self.obj)

    @property
    def rotation(self) -> Rotation:
        """What the object asks for."""
        spec = self.obj.spec.rotation
        return Rotation(spec.period.timedelta, spec.overlap.timedelta, spec.generation)

    @property
    def template(self) -> SecretMetadata:
        """What the Secret is to carry."""
        template = self.obj.spec.secret_template
        return (
            SecretMetadata(template.labels or {}, template.annotations or {})
            if template
            else SecretMetadata()
        )

    def key_name(self, key_id: str) -> str:
        """The full name of a key of the account."""
        return f"{self.account.full_name}/keys/{key_id}"


@dataclass(frozen=True, slots=True)
class KeysSeen:
    """The keys of the account, and the Secret, None if there is none, at the time `now`.

    `barred`: the operator may not read the Secret.
    """

    now: datetime
    listed: Mapping[str, ListedKey]
    secret: KeySecret | None
    barred: bool = False

    @property
    def is_taken(self) -> bool:
        """Whether the Secret is somebody else's."""
        return self.secret is not None and not self.secret.is_owned
