"""PolicyLedger objects: their names, and ledgers written to and read from them."""

import hashlib
import re
from collections.abc import Iterator

from pydantic import ValidationError

from cloudrun_identity.api import (
    API_VERSION,
    CloudRunIdentity,
    CustomRole,
    IdentityAttachment,
    IdentityKey,
    PolicyLedger,
)
from cloudrun_identity.api.validation import misfits
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.resources import Object

from .labels import labelled
from .model import Ledger
from .owners import owner_key_of

_NAME_LENGTH = 40
_HASH_LENGTH = 10


class LedgerInvalid(Exception):
    """A stored PolicyLedger does not fit the schema. The message is one line and names the field."""


def object_name(target: Target) -> str:
    """Return the name of the object with the ledger of `target`: KIND-NAME-HASH, unique by its hash."""
    name = re.sub(r"[^a-z0-9]+", "-", (target.name or target.project_id).lower())[:_NAME_LENGTH].strip("-")
    # Several projects may declare grants on a resource that is named without a project.
    project = "" if target.descriptor.is_named_in_project else f"{target.project_id} "
    digest = hashlib.sha256(f"{project}{target.full_name}".encode()).hexdigest()[:_HASH_LENGTH]
    return f"{target.kind.lower()}-{name}-{digest}"


def to_object(ledger: Ledger, metadata: Object) -> Object:
    """Return the ledger as a raw PolicyLedger with this metadata, which is that of the object to replace.

    The spec has the UID of the object and the generation that the write gives it, so that a write of another
    client shows. An object that does not exist yet has no UID. Its first version has no grant that the
    operator has made for certain, so it does not matter whether that version was restored.
    """
    generation, uid = metadata.get("generation", 0) + 1, metadata.get("uid")
    written = {"writtenGeneration": generation} | ({"writtenUID": uid} if uid else {})
    return {
        "apiVersion": API_VERSION,
        "kind": PolicyLedger.__name__,
        "metadata": labelled(metadata, ledger),
        "spec": ledger.to_dict() | written,
    }


def from_object(raw: Object) -> Ledger:
    """Return the ledger in a raw PolicyLedger, marked as restored if another client wrote it.

    Raises:
        LedgerInvalid: the object does not fit the schema.

    """
    try:
        ledger = Ledger.parse(raw["spec"])
    except (ValidationError, KeyError) as error:
        metadata = raw["metadata"]
        raise LedgerInvalid(
            f"PolicyLedger {metadata['namespace']}/{metadata['name']} cannot be read "
            f"({_first_fault(error)}), and nothing that it records is changed; repair it with `kubectl edit "
            f"pledger -n {metadata['namespace']} {metadata['name']}`"
        ) from error
    restored = ledger.restored or _is_by_another(ledger, raw["metadata"])
    return ledger.replace(written_generation=None, written_uid="", restored=restored)


def is_stored_as_written(written: Object, stored: Object) -> bool:
    """Return whether the API server stored a ledger exactly as the operator wrote it.

    The ledger need not be parsed again then: with many entries, that takes longer than the rest of a write.
    """
    spec, metadata = written["spec"], stored["metadata"]
    return bool(
        stored.get("spec") == spec
        and metadata.get("generation") in (None, spec["writtenGeneration"])
        and spec.get("writtenUID") in (None, metadata.get("uid"))
    )


def _is_by_another(ledger: Ledger, metadata: Object) -> bool:
    """Return whether another client wrote the object with this metadata: it replaced it, or created it again.

    A backup that replaces the object has an older generation. If the object was deleted and created since,
    the backup has the UID of another object.
    """
    generation, written = metadata.get("generation"), ledger.written_generation
    if None not in (generation, written) and generation != written:
        return True
    return bool(ledger.written_uid) and ledger.written_uid != metadata.get("uid")


def owner_keys_named_by(raw: Object) -> frozenset[str]:
    """Return the owner keys that can be read from a PolicyLedger, even if the object is invalid."""
    return frozenset(_owner_keys(raw.get("spec")))


def _owner_keys(value: object, kind: str = "") -> Iterator[str]:
    match value:
        case dict():
            for field, child in value.items():
                if field == "owner" and kind and isinstance(child, str) and child:
                    yield f"{kind}/{child}"
                elif field == "owners" and isinstance(child, list):
                    yield from (
                        owner_key_of(each) for each in child if isinstance(each, str) and each.count("/") == 3
                    )
                else:
                    yield from _owner_keys(child, _KIND_OF_RECORD.get(field, kind))
        case list():
            for child in value:
                yield from _owner_keys(child, kind)


_KIND_OF_RECORD = {
    "account": CloudRunIdentity.__name__,
    "roles": CustomRole.__name__,
    "keys": IdentityKey.__name__,
    "keyAttempt": IdentityKey.__name__,
    "attachment": IdentityAttachment.__name__,
}
"""The kind of the owner of each record. The record has the namespace and name only."""


def _first_fault(error: ValidationError | KeyError) -> str:
    if isinstance(error, KeyError):
        return "it has no spec"
    return f"spec.{misfits(error)[0]}"
