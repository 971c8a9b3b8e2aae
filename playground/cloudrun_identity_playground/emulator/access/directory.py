"""Which members of policies a caller is: itself, its groups, its domain, everybody."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cloudrun_identity_playground.emulator.apis.actor import Caller

_POOL = re.compile(
    r"principal(://iam\.googleapis\.com/.+/(?:workloadIdentityPools|workforcePools)/[^/]+)/subject/.+"
)


class Directory:
    """The groups, of principals and of other groups."""

    def __init__(self) -> None:
        self._groups: dict[str, frozenset[str]] = {}

    def add_group(self, email: str, members: Iterable[str]) -> None:
        """Let `members`, named as in a policy, be the members of a group."""
        self._groups[normal(f"group:{email}")] = frozenset(map(normal, members))

    def identities(self, caller: Caller) -> frozenset[str]:
        """All members of policies that mean `caller`, in the form that `normal` gives.

        A service account of the emulator is none of them by its e-mail: policies know it by its unique id.
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
    """`member` as it is compared: e-mails and domains without regard to case."""
    kind, _, name = member.partition(":")
    return f"{kind}:{name.lower()}" if kind in ("user", "group", "serviceAccount", "domain") else member


def _sets_of(principal: str) -> Iterable[str]:
    """The domain of a user, the pool of an identity from outside."""
    if principal.startswith("user:"):
        yield f"domain:{principal.rpartition('@')[2]}"
    if match := _POOL.fullmatch(principal):
        yield f"principalSet{match[1]}/*"
