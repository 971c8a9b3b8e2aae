"""PolicyLedger objects: their names, and ledgers written to and read from them."""

import hashlib
import re

from pydantic import ValidationError

from cloudrun_identity.api import API_VERSION, PolicyLedger
from cloudrun_identity.api.validation import misfits
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.resources import Object

from .model import Ledger

_NAME_LENGTH = 40
_HASH_LENGTH = 10


class LedgerInvalid(Exception):  # noqa: N818 - it names what is the case
    """A stored PolicyLedger does not fit the schema. The message is one line and names the field."""


def object_name(target: Target) -> str:
    """Return the name of the object with the ledger of `target`: KIND-NAME-HASH, unique by its hash."""
    name = re.sub(r"[^a-z0-9]+", "-", (target.name or target.project_id).lower())[:_NAME_LENGTH].strip("-")
    digest = hashlib.sha256(target.full_name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{target.kind.lower()}-{name}-{digest}"


def to_object(ledger: Ledger, metadata: Object) -> Object:
    """Return the ledger as a raw PolicyLedger with this metadata."""
    kind = PolicyLedger.__name__
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": ledger.to_dict()}


def from_object(raw: Object) -> Ledger:
    """Return the ledger in a raw PolicyLedger.

    Raises:
        LedgerInvalid: the object does not fit the schema.

    """
    try:
        return Ledger.parse(raw["spec"])
    except (ValidationError, KeyError) as error:
        metadata = raw["metadata"]
        raise LedgerInvalid(
            f"PolicyLedger {metadata['namespace']}/{metadata['name']} cannot be read "
            f"({_first_fault(error)}): repair it, because without it the operator treats its own grants "
            "and resources as unmanaged"
        ) from error


def _first_fault(error: ValidationError | KeyError) -> str:
    if isinstance(error, KeyError):
        return "it has no spec"
    return f"spec.{misfits(error)[0]}"
