"""Evidence of the members before a write, to recognize registered forms after a crash.

If the process crashes between a write of an alias and its record, the policy shows a primary address that no
ledger records. The operator records the users and groups of the bindings to which it adds any, as short
digests. After a crash, a user or group without a digest was registered meanwhile.
"""

import hashlib
from collections.abc import Collection, Iterable

from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import PrincipalKind, parse


def evidence_of(added: Iterable[Grant], shown: Iterable[Grant]) -> tuple[str, ...]:
    """Return the evidence for a write that adds these grants to a policy."""
    groups = {_group_of(grant) for grant in added if _is_tracked(grant)}
    if not groups:
        return ()
    members = {_member_of(grant) for grant in shown if _is_tracked(grant) and _group_of(grant) in groups}
    return tuple(sorted(map(_digest, groups | members)))


def shown_since(evidence: Collection[str], shown: Iterable[Grant]) -> frozenset[Grant]:
    """Return the users and groups that the policy shows since the evidence."""
    if not evidence:
        return frozenset()
    recorded = frozenset(evidence)
    return frozenset(
        grant
        for grant in shown
        if _is_tracked(grant)
        and _digest(_group_of(grant)) in recorded
        and _digest(_member_of(grant)) not in recorded
    )


def _is_tracked(grant: Grant) -> bool:
    return parse(grant.member).kind in _WITH_ALIASES


def _group_of(grant: Grant) -> str:
    return f"{parse(grant.member).kind}\n{grant.role}\n{grant.condition}"


def _member_of(grant: Grant) -> str:
    return f"{_group_of(grant)}\n{grant.member}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


_WITH_ALIASES = frozenset({PrincipalKind.USER, PrincipalKind.GROUP})
