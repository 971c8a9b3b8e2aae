"""Users and groups of Google Workspace: aliases, renames and deletions.

A policy means the user or group, and shows its primary address of today:

- A write of an alias, or of a secondary address, registers the primary address. The reply is 200 OK and shows
  the primary address (https://github.com/hashicorp/terraform-provider-google/issues/5123, also #8136; for
  aliases of groups, https://github.com/hashicorp/terraform-provider-google/issues/10128).
- A renamed user or group keeps its former address as an alias (https://support.google.com/a/answer/2622985).
- A deleted one reads as `deleted:user:EMAIL?uid=ID`, until it is restored
  (https://cloud.google.com/iam/docs/reference/rest/v1/Policy#binding).

Users and groups that no edit names are unknown here. Policies hold them as written, unless the seed lists all
users and groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class WorkspacePrincipal:
    """A user or a group."""

    kind: str
    """`user` or `group`."""
    unique_id: str
    """Digits that no other principal has."""
    primary: str
    """Address that policies show."""
    aliases: set[str] = field(default_factory=set)
    """Further addresses, in lower case."""
    deleted: bool = False
    """True until it is restored."""

    @property
    def addresses(self) -> frozenset[str]:
        """All addresses, in lower case."""
        return frozenset({self.primary.lower(), *self.aliases})


class Workspace:
    """The users and groups that edits have named."""

    def __init__(self) -> None:
        self._by_unique_id: dict[str, WorkspacePrincipal] = {}
        self._members: frozenset[str] | None = None

    def close(self, members: Iterable[str]) -> None:
        """Let no other users and groups exist than these, such as `user:ann@example.com`."""
        self._members = frozenset(member.lower() for member in members)

    def lacks(self, kind: str, email: str) -> bool:
        """Return whether no user or group has this address, as far as a seed lists them."""
        return self._members is not None and f"{kind}:{email}".lower() not in self._members

    def get(self, unique_id: str) -> WorkspacePrincipal | None:
        """Return the principal with this unique id; None if it is unknown."""
        return self._by_unique_id.get(unique_id)

    def find(self, kind: str, email: str) -> WorkspacePrincipal | None:
        """Return the principal with this address: the existing one, else the last deleted one."""
        found = [
            each
            for each in self._by_unique_id.values()
            if each.kind == kind and email.lower() in each.addresses
        ]
        return next((each for each in found if not each.deleted), found[-1] if found else None)

    def add(self, kind: str, email: str) -> WorkspacePrincipal:
        """Add a user or a group. It is another one than a deleted one of the same address."""
        unique_id = str(_FIRST_UNIQUE_ID + len(self._by_unique_id))
        principal = self._by_unique_id[unique_id] = WorkspacePrincipal(kind, unique_id, email)
        return principal

    def rename(self, principal: WorkspacePrincipal, email: str) -> None:
        """Give a principal another primary address, and keep the former one as an alias."""
        self.take(principal, [email])
        principal.aliases = {*principal.aliases, principal.primary.lower()} - {email.lower()}
        principal.primary = email

    def set_aliases(self, principal: WorkspacePrincipal, aliases: Iterable[str]) -> None:
        """Give a principal these aliases. Another principal that has one of them loses it."""
        aliases = [alias.lower() for alias in aliases]
        self.take(principal, aliases)
        principal.aliases = set(aliases)

    def take(self, principal: WorkspacePrincipal, addresses: Iterable[str]) -> None:
        """Remove addresses from the aliases of all other principals of the kind."""
        taken = {address.lower() for address in addresses}
        for each in self._by_unique_id.values():
            if each is not principal and each.kind == principal.kind:
                each.aliases -= taken


_FIRST_UNIQUE_ID = 300_000_000_000_000_000_001
