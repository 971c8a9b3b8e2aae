"""Recognize the operator's own write of a policy when its reply is lost, also after a crash.

Google Cloud does not report who wrote a policy, and the reply with the new etag is lost. Two facts are left:
the etag of the policy that the write replaces, and the content that it leaves. The ledger has both before the
write.

- The etag is the same: no write took effect since.
- The etag differs, and the content is exactly what the write leaves, apart from members that were deleted or
  restored since: the write took effect, and no other.
- The content differs only in users and groups of the bindings to which the write adds any: the policy may
  show the write with other addresses. `interrupted_write` decides after the next reply.
- Otherwise another writer changed the policy. The operator cannot prove that it made a grant that is present,
  so the grant counts as unmanaged.

One case cannot be recognized: another writer makes exactly the same change as a write that was lost, and no
other change. Then its grants count as managed.
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Collection
from dataclasses import astuple

from cloudrun_identity.api import LedgerWrite
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import Tombstone

from .members_before import shown_since


def write_of(etag: bytes, left: Collection[Grant], members_before: tuple[str, ...] = ()) -> LedgerWrite:
    """Return the record of a write that replaces the policy with this etag and leaves these grants.

    `members_before` is the evidence of the users and groups in the policy before the write.
    """
    others = frozenset(left) - shown_since(members_before, left)
    return LedgerWrite(
        etag=_text(etag),
        digest=_digest(left),
        members_before=members_before,
        other_digest=_digest(others) if members_before else "",
    )


def replaces(write: LedgerWrite, etag: bytes) -> bool:
    """Return whether the policy with this etag is the one that the write replaces."""
    return write.etag == _text(etag)


def is_alone(write: LedgerWrite, etag: bytes, present: Collection[Grant]) -> bool:
    """Return whether a policy shows this write, and no other since the policy that it replaces."""
    return not replaces(write, etag) and write.digest == _digest(present)


def leaves_others(write: LedgerWrite, present: Collection[Grant]) -> bool:
    """Return whether a policy shows what this write leaves, besides new users and groups."""
    others = frozenset(present) - shown_since(write.members_before, present)
    return bool(write.members_before) and write.other_digest == _digest(others)


def _text(etag: bytes) -> str:
    return b64encode(etag).decode("ascii")


def _digest(grants: Collection[Grant]) -> str:
    """Return a digest that is independent of the order and the spelling of members, and of their deletion.

    A member beside its own deleted form counts twice: it is a recreated principal with a grant of its own.
    """
    rows = sorted(
        (grant.role, astuple(grant.condition) if grant.condition else (), _name(grant)) for grant in grants
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]


def _name(grant: Grant) -> str:
    tombstone = Tombstone.parse(grant.member)
    return tombstone.member if tombstone else grant.member
