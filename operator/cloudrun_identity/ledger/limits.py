"""How much goes into one ledger: what is in it already may stay and change, whatever the bounds are now."""

import json

from cloudrun_identity.api.policy_ledger import MAX_MEMBERS, MAX_ROLES
from cloudrun_identity.kube.resources import Object

from .model import Ledger

MAX_BYTES = 1 << 20  # etcd refuses about 1.5 MB


class LedgerFull(Exception):  # noqa: N818 - it names what is the case
    """A grant cannot be entered because the ledger is at its bound; the message is one line."""


def refuse_too_many(old: Ledger, new: Ledger) -> None:
    """Raise `LedgerFull` if `new`, in the place of `old`, has more members or roles than it may."""
    if _grows(old, new) and len(new.entries) > MAX_MEMBERS:
        raise LedgerFull(
            f"the ledger of {new.target} would hold {len(new.entries)} members, and {MAX_MEMBERS} is the most"
        )
    if len(new.roles) > max(MAX_ROLES, len(old.roles)):
        raise LedgerFull(
            f"the ledger of {new.target} would record {len(new.roles)} custom roles, and {MAX_ROLES} is the "
            "most; deleted ones count for 37 days"
        )


def refuse_too_large(old: Ledger, new: Ledger, raw: Object) -> None:
    """Raise `LedgerFull` if `raw`, which holds `new`, is more than the API server would store."""
    if _grows(old, new) and (size := len(json.dumps(raw))) > MAX_BYTES:
        raise LedgerFull(
            f"the ledger of {new.target} would be {size} bytes long, and {MAX_BYTES} is the most"
        )


def _grows(old: Ledger, new: Ledger) -> bool:
    return not new.entries.keys() <= old.entries.keys()
