"""Members of IAM policies: their forms, and the accounts behind e-mails.

A policy stores the account, not its e-mail. After the account is deleted, the member reads as
`deleted:serviceAccount:EMAIL?uid=UID`, in the same place and under the same etag. After an undelete it reads
as before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from cloudrun_identity_playground.emulator.errors import invalid

PUBLIC = frozenset({"allUsers", "allAuthenticatedUsers"})

_EMAIL = r"[^@\s:?]+@[^@\s:?]+"
_TOMBSTONE = re.compile(rf"deleted:serviceAccount:({_EMAIL})\?uid=(\d+)")
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"(?:user|group|serviceAccount):{_EMAIL}",
        r"serviceAccount:[^\s\[\]]+\.svc\.id\.goog\[[^\s/\[\]]+/[^\s/\[\]]+\]",
        r"domain:[^@\s:]+\.[^@\s:]+",
        r"(?:principal|principalSet)://[^\s]+",
        r"project(?:Owner|Editor|Viewer):[^\s]+",
        rf"deleted:(?:user|group|serviceAccount):{_EMAIL}\?uid=\d+",
        r"deleted:principal://[^\s]+",
    )
)


@dataclass(frozen=True)
class AccountMember:
    """A service account in a policy: the e-mail as written, and the account that had it then."""

    email: str
    unique_id: str


Member: TypeAlias = str | AccountMember
"""A member as a policy stores it: an account, or another principal as written."""


class Accounts(Protocol):
    """Lookup of service accounts for policies."""

    def is_live(self, unique_id: str) -> bool:
        """Return whether the account exists and is not deleted."""

    def is_taken(self, email: str) -> bool:
        """Return whether a live account has this e-mail."""

    def known_to_policies(self, email: str) -> str | None:
        """Return the unique id of the live account with this e-mail.

        Return None if the account cannot be checked, because its project does not belong to the emulator.

        Raises GoogleError: INVALID_ARGUMENT, the account does not exist or is too new.
        """


def parse(member: str, accounts: Accounts) -> Member:
    """Bind a member of a request to its account.

    Raises GoogleError: INVALID_ARGUMENT, the form is unknown or the account does not exist.
    """
    if member in PUBLIC:
        return member
    if tombstone := _TOMBSTONE.fullmatch(member):
        return AccountMember(tombstone[1], tombstone[2])
    if not any(form.fullmatch(member) for form in _FORMS):
        raise invalid(f"Invalid member '{member}'.")
    kind, _, email = member.partition(":")
    if kind != "serviceAccount" or "[" in email:
        return member
    unique_id = accounts.known_to_policies(email)
    return member if unique_id is None else AccountMember(email, unique_id)


def render(member: Member, accounts: Accounts, *, stale_ids: bool = False) -> str:
    """Return the member as it is read; `stale_ids` hides a deleted form whose e-mail is in use again."""
    match member:
        case AccountMember(email, unique_id) if accounts.is_live(unique_id) or (
            stale_ids and accounts.is_taken(email)
        ):
            return f"serviceAccount:{email}"
        case AccountMember(email, unique_id):
            return f"deleted:serviceAccount:{email}?uid={unique_id}"
        case _:
            return member
