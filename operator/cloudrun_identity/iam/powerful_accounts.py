"""Service accounts of a project with roles that escalate privileges.

An operator that may act as every service account of the project may act as these, too.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .principals import email, is_service_account, lower_email


@dataclass(frozen=True, slots=True)
class PowerfulAccount:
    """A service account with roles that escalate privileges in its project."""

    email: str
    roles: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.email} ({', '.join(self.roles)})"


def accounts_with(
    roles: Iterable[tuple[str, Iterable[str]]], domain: str, default_accounts: Collection[str]
) -> tuple[PowerfulAccount, ...]:
    """Return the accounts of a project that hold any of the roles, given with their members.

    `domain` is the part after the @ in the e-mails of its accounts. Accounts with a basic role come first.
    """
    held: defaultdict[str, set[str]] = defaultdict(set)
    for role, members in roles:
        for member in filter(is_service_account, members):
            account = lower_email(email(member))
            if account.endswith(f"@{domain}") or account in default_accounts:
                held[account].add(role)
    accounts = (PowerfulAccount(account, tuple(sorted(held[account], key=_rank))) for account in held)
    return tuple(sorted(accounts, key=lambda account: (_rank(account.roles[0])[0], account.email)))


def _rank(role: str) -> tuple[int, str]:
    """Return the sort key of a role: basic roles by their power, then all others by name."""
    return _BASIC_ROLES.index(role) if role in _BASIC_ROLES else len(_BASIC_ROLES), role


_BASIC_ROLES = ("roles/owner", "roles/admin", "roles/editor", "roles/writer")
