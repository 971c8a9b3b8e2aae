"""Members of policies that a caller matches: the principal, its groups, its domain, allUsers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cloudrun_identity_playground.emulator.apis.actor import Caller

_POOL = re.compile(
    r"principal(://iam\.googleapis\.com/.+/(?:workloadIdentityPools|workforcePools)/[^/]+)/subject/.+"
)
_WORKLOAD = re.compile(r"serviceAccount:([^\[]+\.svc\.id\.goog)\[.+\]")


class Directory:
    """Groups of principals and of other groups."""

    def __init__(self) -> None:
        self._groups: dict[str, frozenset[str]] = {}

    def add_group(self, email: str, members: Iterable[str]) -> None:
        """Add a group with members as in a policy."""
        self._groups[normal(f"group:{email}")] = frozenset(map(normal, members))

    def identities(self, caller: Caller) -> frozenset[str]:
        """Return all members that match `caller`, in the form of `normal`.

        A service account of the emulator is not included: policies know it by its unique id.
        """
        if not caller.principal:
            return frozenset({"allUsers"})
        own = normal(caller.principal)
        found = {own, "allUsers", "allAuthenticatedUsers", *_sets_of(own)}
        fresh = found
        while fresh:
            fresh = {group for group, members in self._groups.items() if members & fresh} - found
            found = found | fresh
        return frozenset(found - {own} if caller.unique_id else found)


def normal(member: str) -> str:
    """Return `member` for comparison: e-mails and domains in lower case.

    Members of a pool of workloads are compared as written.
    """
    kind, _, name = member.partition(":")
    is_address = "@" in name or kind == "domain"
    return f"{kind}:{name.lower()}" if is_address and kind in _WITH_ADDRESS else member


def _sets_of(principal: str) -> Iterable[str]:
    """Return the domain of a user, or the pool of a federated identity or a Kubernetes workload."""
    if principal.startswith("user:"):
        yield f"domain:{principal.rpartition('@')[2]}"
    if match := _POOL.fullmatch(principal):
        yield f"principalSet{match[1]}/*"
    if match := _WORKLOAD.fullmatch(principal):
        yield f"group:{match[1]}:/allAuthenticatedUsers/"


_WITH_ADDRESS = ("user", "group", "serviceAccount", "domain")
