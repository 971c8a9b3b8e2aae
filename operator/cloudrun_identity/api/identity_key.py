"""IdentityKey: a key of an identity's service account, rotated, and delivered as a Secret."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .duration import PATTERN, Duration, at_least
from .references import LocalIdentityRef
from .resource import Column
from .schema import MAP, ApiModel, Clipped, Rule, Timestamp, cel_string, immutable, map_keys, matches
from .spec import MESSAGE_COLUMN, READY_COLUMNS, ProjectScopedResource, ProjectScopedSpec
from .status import ProjectScopedStatus

SecretName = Annotated[
    str,
    Field(max_length=253),
    matches(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "must be the name of a Secret: a-z, 0-9, - and ., starting and ending with a letter or a digit",
    ),
]

# What is no duration passes: its own rule refuses it, and duration() would fail. The API server tries the
# rule on the default of the whole, too, before it has filled in those of the fields.
_BOTH_ARE_DURATIONS = " && ".join(
    f"has(self.{field}) && self.{field} != '' && self.{field}.matches({cel_string(PATTERN)})"
    for field in ("period", "overlap")
)


class KeyState(StrEnum):
    """How far a key has come on its way from create to delete."""

    PUBLISHING = "Publishing"
    ACTIVE = "Active"
    OVERLAP = "Overlap"
    DISABLED = "Disabled"
    UNCLEAR = "Unclear"


class KeyDeletionPolicy(StrEnum):
    """What becomes of the keys and the Secret when the object is deleted."""

    DELETE = "Delete"
    ABANDON = "Abandon"


class SecretTemplate(ApiModel):
    """What the Secret carries beside the key."""

    labels: Annotated[dict[str, str], Field(max_length=32)] | None = None
    """Labels of the Secret."""
    annotations: Annotated[dict[str, str], Field(max_length=32)] | None = None
    """Annotations of the Secret."""


class KeyRotation(ApiModel):
    """When a key is followed by the next."""

    rules: ClassVar = (
        Rule(
            f"!({_BOTH_ARE_DURATIONS}) || duration(self.overlap) <= duration(self.period)",
            "must not be longer than period",
            field_path=".overlap",
        ),
    )

    period: Annotated[Duration, at_least("1h")] = Duration("720h")
    """How long a key is the one in the Secret."""
    overlap: Duration = Duration("24h")
    """How long a key works on after the next one is in the Secret; after that it is disabled for as long
    again, and deleted."""
    generation: Annotated[int, Field(ge=0)] = 0
    """Another number than the last one has the key followed by the next at once."""


class IdentityKeySpec(ProjectScopedSpec):
    """A key of an identity, and the Secret that it is delivered in."""

    identity_ref: Annotated[LocalIdentityRef, immutable("identityRef")]
    """The identity whose key it is; of this namespace and project."""
    secret_name: Annotated[SecretName, immutable("secretName")]
    """The Secret, of this namespace, that has the credentials file as key.json. One that exists already and
    is not this object's is never touched."""
    secret_template: SecretTemplate | None = None
    """Labels and annotations for the Secret."""
    rotation: KeyRotation = KeyRotation()
    """When a key is followed by the next."""
    deletion_policy: KeyDeletionPolicy = KeyDeletionPolicy.DELETE
    """Delete ends the keys and the Secret with this object, Abandon leaves both."""


class KeyStatus(ApiModel):
    """One key of the account."""

    id: Annotated[str, Clipped(128)]
    """The key's ID."""
    state: KeyState
    """Publishing: made, not in the Secret yet. Active: in the Secret. Overlap: it works, the Secret has
    another. Disabled: to be deleted. Unclear: perhaps nobody's, see issues."""
    created_time: Timestamp
    """When it was made."""
    disable_after: Timestamp | None = None
    """When it is to be disabled."""
    delete_after: Timestamp | None = None
    """When it is to be deleted."""


class IdentityKeyStatus(ProjectScopedStatus):
    """What is known of the keys; never anything of what they are made of."""

    active_key_id: Annotated[str, Clipped(128)] | None = None
    """The key that the Secret has."""
    keys: Annotated[tuple[KeyStatus, ...], Clipped(10), MAP, map_keys("id")] = ()
    """The keys that were made for this object."""
    next_rotation_time: Timestamp | None = None
    """When the active key is followed by the next."""


class IdentityKey(ProjectScopedResource):
    """A key of an identity's service account, rotated, and delivered as a Secret."""

    plural: ClassVar = "identitykeys"
    singular: ClassVar = "identitykey"
    short_names: ClassVar = ("cridkey",)
    columns: ClassVar = (
        Column("Identity", ".spec.identityRef.name"),
        Column("Secret", ".spec.secretName"),
        *READY_COLUMNS,
        Column("Key", ".status.activeKeyID", wide=True),
        Column("Next Rotation", ".status.nextRotationTime", wide=True),
        MESSAGE_COLUMN,
    )

    kind: Literal["IdentityKey"] = "IdentityKey"
    spec: IdentityKeySpec
    status: IdentityKeyStatus = IdentityKeyStatus()
