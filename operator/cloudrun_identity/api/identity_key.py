"""IdentityKey: a rotated key of an identity's service account, delivered as a Secret."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .duration import PATTERN, Duration, at_least
from .references import LocalIdentityRef
from .resource import Column
from .schema import MAP, ApiModel, Clipped, Rule, Timestamp, cel_string, immutable, map_keys, matches
from .spec import MESSAGE_COLUMN, READY_COLUMNS, STALLED_COLUMN, ProjectScopedResource, ProjectScopedSpec
from .status import ProjectScopedStatus

SecretName = Annotated[
    str,
    Field(max_length=253),
    matches(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "must be the name of a Secret: a-z, 0-9, - and ., starting and ending with a letter or a digit",
    ),
]

# Text that is not a duration passes: another rule refuses it, and duration() would fail. The API server also
# evaluates the rule on the default of the object, before it sets the defaults of the fields.
_BOTH_ARE_DURATIONS = " && ".join(
    f"has(self.{field}) && self.{field} != '' && self.{field}.matches({cel_string(PATTERN)})"
    for field in ("period", "overlap")
)


class KeyState(StrEnum):
    """Progress of a key from its creation to its deletion."""

    PUBLISHING = "Publishing"
    ACTIVE = "Active"
    OVERLAP = "Overlap"
    DISABLED = "Disabled"
    UNCLEAR = "Unclear"


class KeyDeletionPolicy(StrEnum):
    """Policies for the keys and the Secret when the object is deleted."""

    DELETE = "Delete"
    ABANDON = "Abandon"


class SecretTemplate(ApiModel):
    """SecretTemplate defines the metadata of the Secret."""

    labels: Annotated[dict[str, str], Field(max_length=32)] | None = None
    """Labels to set on the Secret. A label that is removed here is removed from the Secret. Labels of other
    users stay."""
    annotations: Annotated[dict[str, str], Field(max_length=32)] | None = None
    """Annotations to set on the Secret. An annotation that is removed here is removed from the Secret.
    Annotations of other users stay."""


class KeyRotation(ApiModel):
    """KeyRotation defines when a new key replaces the active one."""

    rules: ClassVar = (
        Rule(
            f"!({_BOTH_ARE_DURATIONS}) || duration(self.overlap) <= duration(self.period)",
            "must not be longer than period",
            field_path=".overlap",
        ),
    )

    period: Annotated[Duration, at_least("1h")] = Duration("720h")
    """Time for which a key is active, that is, in the Secret."""
    overlap: Duration = Duration("24h")
    """Time for which a replaced key keeps working. After it, the key is disabled for the same time and then
    deleted. With 0s, it is disabled and deleted at once, also if requireUnused is set and it is in use."""
    generation: Annotated[int, Field(ge=0)] = 0
    """A changed number rotates the key immediately."""
    require_unused: bool = False
    """Disables a replaced key only after overlap and once Google has seen no use of it for two full days, in
    Policy Analyzer and in Monitoring. spec.lastUse of the ManagedProject must be Report."""
    max_overlap: Duration = Duration("720h")
    """Time after which a replaced key is disabled although requireUnused is set and it may be in use. If it
    is shorter than overlap, overlap applies."""


class IdentityKeySpec(ProjectScopedSpec):
    """IdentityKeySpec defines a key of an identity and the Secret with the key."""

    identity_ref: Annotated[LocalIdentityRef, immutable("identityRef")]
    """CloudRunIdentity in the same namespace and project. Immutable."""
    secret_name: Annotated[SecretName, immutable("secretName")]
    """Name of the Secret, in the same namespace, with the credentials file as key.json. The operator never
    changes an existing Secret that this object does not own. Immutable."""
    secret_template: SecretTemplate | None = None
    """Metadata of the Secret."""
    rotation: KeyRotation = KeyRotation()
    """Rotation of the key."""
    deletion_policy: KeyDeletionPolicy = KeyDeletionPolicy.DELETE
    """Policy for the keys and the Secret when this object is deleted. Delete deletes both. Abandon leaves
    both."""


class KeyStatus(ApiModel):
    """KeyStatus is the state of one key of the account."""

    id: Annotated[str, Clipped(128)]
    """ID of the key."""
    state: KeyState
    """Progress of the key. Publishing: created, not yet in the Secret. Active: in the Secret. Overlap:
    replaced in the Secret, still working. Disabled: disabled before its deletion. Unclear: the operator may
    not have created it, see issues."""
    created_time: Timestamp
    """Time at which the key was created."""
    disable_after: Timestamp | None = None
    """Time after which the operator disables the key; with rotation.requireUnused, the latest time."""
    delete_after: Timestamp | None = None
    """Time after which the operator deletes the key."""
    last_used: Annotated[str, Clipped(10)] | None = None
    """Date in US Pacific time of the last use that Google reports. If unset, none is known."""


class IdentityKeyStatus(ProjectScopedStatus):
    """IdentityKeyStatus is the observed state of the keys. It has no key material."""

    active_key_id: Annotated[str, Clipped(128)] | None = None
    """ID of the key in the Secret."""
    keys: Annotated[tuple[KeyStatus, ...], Clipped(10), MAP, map_keys("id")] = ()
    """Keys that were created for this object."""
    last_used: Annotated[str, Clipped(10)] | None = None
    """Date in US Pacific time of the last use of the key in the Secret that Google reports. If unset, none is
    known."""
    next_rotation_time: Timestamp | None = None
    """Time at which a new key replaces the active one."""


class IdentityKey(ProjectScopedResource):
    """IdentityKey declares a key of an identity's service account.

    The operator rotates it and delivers it as a Secret.
    """

    plural: ClassVar = "identitykeys"
    singular: ClassVar = "identitykey"
    short_names: ClassVar = ("cridkey", "cridkeys")
    columns: ClassVar = (
        Column("Identity", ".spec.identityRef.name"),
        Column("Secret", ".spec.secretName"),
        *READY_COLUMNS,
        Column("Key", ".status.activeKeyID", wide=True),
        Column("Next Rotation", ".status.nextRotationTime", wide=True),
        STALLED_COLUMN,
        MESSAGE_COLUMN,
    )

    kind: Literal["IdentityKey"] = "IdentityKey"
    spec: IdentityKeySpec
    status: IdentityKeyStatus = IdentityKeyStatus()
