"""Secrets that deliver a service account key.

The key material is only written. It is never returned: callers see the id and the digest of the key.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cloudrun_identity.api import GROUP, LEFT_BY, OwnerReference

from .client import FIELD_MANAGER
from .errors import KubeError
from .resources import SECRETS, Object, ObjectClient

KEY_FILE_ENTRY = "key.json"
"""Entry of the Secret that contains the credentials file."""


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """Reference to the object that owns a Secret, with the fields of a core/v1 ObjectReference."""

    api_version: str
    """API group and version."""

    kind: str
    """Kind of the owner."""

    namespace: str
    """Namespace of the owner and of its Secret."""

    name: str
    """Name of the owner."""

    uid: str
    """UID of the owner."""


@dataclass(frozen=True, slots=True)
class KeySecret:
    """Secret without its key material."""

    name: str
    """Name of the Secret."""

    uid: str
    """UID of the Secret."""

    version: str
    """resourceVersion that was read. A write conflicts if the Secret has changed since."""

    is_owned: bool
    """True if the object that was asked for owns the Secret, or its predecessor of the same kind and name."""

    key_id: str = ""
    """Id of the key in the credentials file; empty if there is none."""

    digest: str = ""
    """SHA-256 of the credentials file; empty if there is none."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """All labels of the Secret."""

    annotations: Mapping[str, str] = field(default_factory=dict)
    """All annotations of the Secret."""

    owned_labels: frozenset[str] = frozenset()
    """Names of the labels that the operator set last, according to `metadata.managedFields`."""

    owned_annotations: frozenset[str] = frozenset()
    """Names of the annotations that the operator set last."""

    owners: tuple[OwnerReference, ...] = ()
    """All owner references of the Secret."""

    @property
    def left_by(self) -> str:
        """Name of the object that left the Secret when it was deleted; empty if none did, or it is owned."""
        return "" if self.owners else self.annotations.get(LEFT_BY, "")


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """One label or annotation of a Secret that differs from its declaration."""

    field: str
    """`label` or `annotation`, and its name."""
    before: str
    """Value on the Secret; empty if it is absent."""
    after: str
    """Declared value; empty if it must be removed."""


@dataclass(frozen=True, slots=True)
class SecretMetadata:
    """Labels and annotations that the operator sets on a Secret.

    The operator removes those that it set before and that are not declared any more. Labels and annotations
    of other users stay as they are. The API server records who set which one last (`metadata.managedFields`,
    https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers).
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def changes_of(self, secret: KeySecret) -> tuple[MetadataChange, ...]:
        """Return what to change on the Secret."""
        return (
            *_changes("label", self.labels, secret.labels, secret.owned_labels),
            *_changes("annotation", self.annotations, secret.annotations, secret.owned_annotations),
        )

    def patch_of(self, secret: KeySecret) -> Object:
        """Return the part of a merge patch that sets the declared entries and removes former ones."""
        return {
            "labels": {**dict.fromkeys(secret.owned_labels), **self.labels},
            "annotations": {**dict.fromkeys(secret.owned_annotations), **self.annotations},
        }


def _changes(
    kind: str, declared: Mapping[str, str], actual: Mapping[str, str], owned: frozenset[str]
) -> Iterator[MetadataChange]:
    for name in sorted(declared.keys() | (owned & actual.keys())):
        before, after = actual.get(name), declared.get(name)
        if before != after:
            yield MetadataChange(f"{kind} {name}", before or "", after or "")


def digest_of(file: bytes) -> str:
    """Return the SHA-256 of a credentials file. It reveals edits, and the key cannot be derived from it."""
    return hashlib.sha256(file).hexdigest()


class KeySecrets:
    """Reads and writes Secrets that have one owner each.

    Every method raises KubeError. Its message omits the text of the API server, which may repeat key
    material.
    """

    def __init__(self, client: ObjectClient) -> None:
        self._client = client

    async def get(self, owner: ObjectReference, name: str) -> KeySecret | None:
        """Return the Secret of this name in the namespace of the owner; None if it does not exist."""
        try:
            return _parse(await self._client.get(SECRETS, name, owner.namespace), owner)
        except KubeError as error:
            if error.is_not_found:
                return None
            raise _without_server_text(error, owner, name) from None

    async def write_key(
        self,
        owner: ObjectReference,
        name: str,
        current: KeySecret | None,
        file: bytes,
        desired: SecretMetadata,
    ) -> KeySecret:
        """Write the credentials file to the `current` Secret, or to a new Secret if that is None."""
        data = {KEY_FILE_ENTRY: base64.b64encode(file).decode()}
        if current is not None:
            return await self._patch(owner, current, desired, data=data)
        metadata = {
            "name": name,
            "namespace": owner.namespace,
            "labels": dict(desired.labels),
            "annotations": dict(desired.annotations),
            "ownerReferences": [_reference(owner).to_dict() | {"controller": True}],
        }
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
        try:
            return _parse(await self._client.create(SECRETS, secret), owner)
        except KubeError as error:
            raise _without_server_text(error, owner, name) from None

    async def write_metadata(
        self, owner: ObjectReference, current: KeySecret, desired: SecretMetadata
    ) -> KeySecret:
        """Set the labels, the annotations and the owner reference. The key stays as it is.

        Labels and annotations that the operator set before, and that are not desired, are removed.
        """
        return await self._patch(owner, current, desired)

    async def orphan(self, owner: ObjectReference, current: KeySecret) -> None:
        """Remove the owner reference, so that Kubernetes keeps the Secret when its owner is deleted.

        An annotation names the owner, so that an object of the same name can take the Secret back.
        """
        others = [reference for reference in current.owners if not _refers_to(reference, owner)]
        references = [each.to_dict() for each in others]
        annotations = {LEFT_BY: owner.name}
        await self._write(owner, current, {"ownerReferences": references, "annotations": annotations})

    async def delete(self, owner: ObjectReference, current: KeySecret) -> None:
        """Delete the Secret if it still has the UID that was read."""
        try:
            await self._client.delete(SECRETS, current.name, owner.namespace, uid=current.uid)
        except KubeError as error:
            if not error.is_not_found:
                raise _without_server_text(error, owner, current.name) from None

    async def _patch(
        self, owner: ObjectReference, current: KeySecret, desired: SecretMetadata, **fields: object
    ) -> KeySecret:
        others = [each.to_dict() for each in current.owners if not _refers_to(each, owner)]
        metadata = {
            **desired.patch_of(current),
            "ownerReferences": [*others, _reference(owner).to_dict() | {"controller": True}],
        }
        return await self._write(owner, current, metadata, **fields)

    async def _write(
        self, owner: ObjectReference, current: KeySecret, metadata: Object, **fields: object
    ) -> KeySecret:
        patch = {"metadata": {"resourceVersion": current.version, **metadata}, **fields}
        try:
            return _parse(await self._client.patch(SECRETS, current.name, owner.namespace, patch), owner)
        except KubeError as error:
            raise _without_server_text(error, owner, current.name) from None


def _parse(raw: Object, owner: ObjectReference) -> KeySecret:
    metadata = raw["metadata"]
    owners = tuple(map(OwnerReference.model_validate, metadata.get("ownerReferences") or ()))
    file = _file(raw)
    return KeySecret(
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        is_owned=any(_refers_to(each, owner) for each in owners),
        key_id=_key_id(file),
        digest=digest_of(file) if file else "",
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        owned_labels=_owned(metadata, "f:labels"),
        owned_annotations=_owned(metadata, "f:annotations"),
        owners=owners,
    )


def _owned(metadata: Object, field: str) -> frozenset[str]:
    """Return the entries of a map in the metadata that the operator set, and no other user owns too.

    The keys of `fieldsV1` are field names with the prefix `f:`, and `.` for the map itself.
    """
    own: set[str] = set()
    others: set[str] = set()
    for entry in metadata.get("managedFields") or ():
        named = entry.get("fieldsV1", {}).get("f:metadata", {}).get(field, {})
        (own if entry.get("manager") == FIELD_MANAGER else others).update(named)
    return frozenset(name.removeprefix("f:") for name in own - others if name.startswith("f:"))


def _file(raw: Object) -> bytes:
    try:
        return base64.b64decode((raw.get("data") or {}).get(KEY_FILE_ENTRY, ""))
    except binascii.Error:
        return b""


def _key_id(file: bytes) -> str:
    """Return the key id of a credentials file; empty if it has none."""
    try:
        credentials = json.loads(file)
    except ValueError:
        return ""
    found = credentials.get("private_key_id") if isinstance(credentials, dict) else None
    return found if isinstance(found, str) else ""


def _reference(owner: ObjectReference) -> OwnerReference:
    return OwnerReference(api_version=owner.api_version, kind=owner.kind, name=owner.name, uid=owner.uid)


def _refers_to(reference: OwnerReference, owner: ObjectReference) -> bool:
    group = reference.api_version.partition("/")[0]
    return (group, reference.kind, reference.name) == (GROUP, owner.kind, owner.name)


def _without_server_text(error: KubeError, owner: ObjectReference, name: str) -> KubeError:
    return KubeError(error.status, error.reason, f"Secret {owner.namespace}/{name}")
