"""Limits on the size of one ledger. Existing entries may stay and change, whatever the limits are now."""

import json

from cloudrun_identity.api import MAX_MEMBERS, MAX_ROLES
from cloudrun_identity.kube.resources import Object

from .model import Ledger

MAX_BYTES = 1 << 20  # etcd refuses about 1.5 MB


class LedgerFull(Exception):
    """The ledger has no room for a grant or a role. The message is one line."""


def refuse_too_many(old: Ledger, new: Ledger) -> None:
    """Raise `LedgerFull` if `new` has more members or roles than allowed, and more than `old`.

    A grant and its successor with another end count as one member: a sync records both.
    """
    members = len({(grant.role, grant.member) for grant in new.entries})
    if _grows(old, new) and members > MAX_MEMBERS:
        raise LedgerFull(
            f"the ledger of {new.target} would have {members} members; the limit is {MAX_MEMBERS}"
        )
    if len(new.roles) > max(MAX_ROLES, len(old.roles)):
        raise LedgerFull(
            f"the ledger of {new.target} would have {len(new.roles)} custom roles; the limit is {MAX_ROLES}, "
            "and deleted roles count for 37 days"
        )


def refuse_too_large(old: Ledger, new: Ledger, raw: Object) -> None:
    """Raise `LedgerFull` if the API server would refuse `raw`, the object with `new`, for its size."""
    if _grows(old, new) and (size := len(json.dumps(raw))) > MAX_BYTES:
        raise LedgerFull(f"the ledger of {new.target} would be {size} bytes long; the limit is {MAX_BYTES}")


def _grows(old: Ledger, new: Ledger) -> bool:
    return not new.entries.keys() <= old.entries.keys()
