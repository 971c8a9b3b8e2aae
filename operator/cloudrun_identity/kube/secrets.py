"""Secrets that deliver a key. What is in them goes in and never out: only its id and digest are told."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudrun_identity.api import GROUP, OwnerReference

from .errors import KubeError
from .resources import SECRETS, Object, Verbs

ENTRY = "key.json"
"""Where in the Secret the credentials file is."""


@dataclass(frozen=True, slots=True)
class SecretOwner:
    """The object that a Secret belongs to."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class KeySecret:
    """A Secret as far as it may be told of. `key_id` and `digest` are empty where it holds no key.

    `is_owned`: it belongs to the object asked for, or to its predecessor of the same name.
    """

    name: str
    uid: str
    version: str
    is_owned: bool
    key_id: str = ""
    digest: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[OwnerReference, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """Labels and annotations that the Secret is to carry; others on it are left alone."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def is_on(self, secret: KeySecret) -> bool:
        """Whether the Secret carries all of it."""
        return (
            self.labels.items() <= secret.labels.items()
            and self.annotations.items() <= secret.annotations.items()
        )


def digest_of(file: bytes) -> str:
    """The SHA-256 of a credentials file, by which an edit is known; of a key nobody guesses it back."""
    return hashlib.sha256(file).hexdigest()


class KeySecrets:
    """Reads and writes Secrets of one owner each.

    Every method raises KubeError, without the server's own words: they may repeat what was sent.
    """

    def __init__(self, client: Verbs) -> None:
        self._client = client

    async def get(self, owner: SecretOwner, name: str) -> KeySecret | None:
        """The Secret of this name beside its owner; None if there is none."""
        try:
            return _told(await self._client.get(SECRETS, name, owner.namespace), owner)
        except KubeError as error:
            if error.is_not_found:
                return None
            raise _discreet(error, owner, name) from None

    async def publish(
        self, owner: SecretOwner, name: str, there: KeySecret | None, file: bytes, template: Template
    ) -> KeySecret:
        """Put the credentials file into the Secret that is `there`, as it was read, or into a new one."""
        data = {ENTRY: base64.b64encode(file).decode()}
        if there is not None:
            return await self._patch(owner, there, template, data=data)
        metadata = {
            "name": name,
            "namespace": owner.namespace,
            "labels": dict(template.labels),
            "annotations": dict(template.annotations),
            "ownerReferences": [_reference(owner).to_dict() | {"controller": True}],
        }
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
        try:
            return _told(await self._client.create(SECRETS, secret), owner)
        except KubeError as error:
            raise _discreet(error, owner, name) from None

    async def relabel(self, owner: SecretOwner, there: KeySecret, template: Template) -> KeySecret:
        """Have the Secret carry the template and name its owner, whatever it holds."""
        return await self._patch(owner, there, template)

    async def release(self, owner: SecretOwner, there: KeySecret) -> None:
        """Leave the Secret to whoever uses it: it no longer goes when its owner goes."""
        others = [reference for reference in there.owners if not _is(reference, owner)]
        await self._write(owner, there, {"ownerReferences": [each.to_dict() for each in others]})

    async def delete(self, owner: SecretOwner, there: KeySecret) -> None:
        """Delete the Secret, if it is still the one that was read."""
        try:
            await self._client.delete(SECRETS, there.name, owner.namespace, uid=there.uid)
        except KubeError as error:
            if not error.is_not_found:
                raise _discreet(error, owner, there.name) from None

    async def _patch(
        self, owner: SecretOwner, there: KeySecret, template: Template, **more: object
    ) -> KeySecret:
        others = [each.to_dict() for each in there.owners if not _is(each, owner)]
        metadata = {
            "labels": dict(template.labels),
            "annotations": dict(template.annotations),
            "ownerReferences": [*others, _reference(owner).to_dict() | {"controller": True}],
        }
        return await self._write(owner, there, metadata, **more)

    async def _write(
        self, owner: SecretOwner, there: KeySecret, metadata: Object, **more: object
    ) -> KeySecret:
        patch = {"metadata": {"resourceVersion": there.version, **metadata}, **more}
        try:
            return _told(await self._client.patch(SECRETS, there.name, owner.namespace, patch), owner)
        except KubeError as error:
            raise _discreet(error, owner, there.name) from None


def _told(raw: Object, owner: SecretOwner) -> KeySecret:
    metadata = raw["metadata"]
    owners = tuple(map(OwnerReference.model_validate, metadata.get("ownerReferences") or ()))
    file = _file(raw)
    return KeySecret(
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        is_owned=any(_is(each, owner) for each in owners),
        key_id=_key_id(file),
        digest=digest_of(file) if file else "",
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        owners=owners,
    )


def _file(raw: Object) -> bytes:
    try:
        return base64.b64decode((raw.get("data") or {}).get(ENTRY, ""))
    except binascii.Error:
        return b""


def _key_id(file: bytes) -> str:
    """The id of the key in a credentials file; empty where it is none."""
    try:
        credentials = json.loads(file)
    except ValueError:
        return ""
    found = credentials.get("private_key_id") if isinstance(credentials, dict) else None
    return found if isinstance(found, str) else ""


def _reference(owner: SecretOwner) -> OwnerReference:
    return OwnerReference(api_version=owner.api_version, kind=owner.kind, name=owner.name, uid=owner.uid)


def _is(reference: OwnerReference, owner: SecretOwner) -> bool:
    group = reference.api_version.partition("/")[0]
    return (group, reference.kind, reference.name) == (GROUP, owner.kind, owner.name)


def _discreet(error: KubeError, owner: SecretOwner, name: str) -> KubeError:
    return KubeError(error.status, error.reason, f"Secret {owner.namespace}/{name}")
