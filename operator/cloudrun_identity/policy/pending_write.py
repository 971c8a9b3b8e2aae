"""Recognize the operator's own write of a policy when its reply is lost, also after a crash.

Google Cloud does not report who wrote a policy, and the reply with the new etag is lost. Two facts are left:
the etag of the policy that the write replaces, and the content that it leaves. The ledger has both before the
write.

- The etag is the same: no write took effect since.
- The etag differs, and the content is exactly what the write leaves: the write took effect, and no other.
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


def write_of(etag: bytes, left: Collection[Grant]) -> LedgerWrite:
    """Return the record of a write that replaces the policy with this etag and leaves these grants."""
    return LedgerWrite(etag=_text(etag), digest=_digest(left))


def replaces(write: LedgerWrite, etag: bytes) -> bool:
    """Return whether the policy with this etag is the one that the write replaces."""
    return write.etag == _text(etag)


def is_alone(write: LedgerWrite, etag: bytes, present: Collection[Grant]) -> bool:
    """Return whether a policy shows this write, and no other since the policy that it replaces."""
    return not replaces(write, etag) and write.digest == _digest(present)


def _text(etag: bytes) -> str:
    return b64encode(etag).decode("ascii")


def _digest(grants: Collection[Grant]) -> str:
    """Return a digest that is independent of the order and the spelling of members."""
    rows = sorted(
        (grant.role, astuple(grant.condition) if grant.condition else (), grant.member) for grant in grants
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]
