"""Members of IAM policies: which forms there are, and how accounts are remembered behind their e-mails.

A policy does not store the e-mail of a service account but the account: when the account is deleted, its
member turns into `deleted:serviceAccount:EMAIL?uid=UID` when read, in its old place and under an unchanged
etag, and turns back when the account is undeleted.
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
    """A service account in a policy: its e-mail as it was written, and the account that it meant then."""

    email: str
    unique_id: str


Member: TypeAlias = str | AccountMember
"""A member as a policy stores it: an account, or any other principal as it was written."""


class Accounts(Protocol):
    """What policies need to know of service accounts."""

    def is_live(self, unique_id: str) -> bool:
        """Whether the account exists and is not deleted."""

    def is_taken(self, email: str) -> bool:
        """Whether a live account has this e-mail."""

    def known_to_policies(self, email: str) -> str | None:
        """The unique id of the live account with this e-mail.

        None if no account of this e-mail can ever be checked, because its project is not one of the
        emulator's.

        Raises GoogleError: INVALID_ARGUMENT, the account does not exist, or is too fresh.
        """


def parse(member: str, accounts: Accounts) -> Member:
    """Bind `member`, as a caller writes it, to the account it means.

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
    """`member` as a reader sees it now; `stale_ids` hides the tombstone if another account has the e-mail."""
    match member:
        case AccountMember(email, unique_id) if accounts.is_live(unique_id) or (
            stale_ids and accounts.is_taken(email)
        ):
            return f"serviceAccount:{email}"
        case AccountMember(email, unique_id):
            return f"deleted:serviceAccount:{email}?uid={unique_id}"
        case _:
            return member
