"""Members of IAM policies: their forms, and the principals behind e-mails.

A policy stores the principal, not its e-mail. After a service account is deleted, the member reads as
`deleted:serviceAccount:EMAIL?uid=UID`, in the same place and under the same etag. After an undelete it reads
as before. Users and groups are read in the same way, with the addresses of today: see `workspace`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from cloudrun_identity_playground.emulator.errors import invalid

from .workspace import Workspace

PUBLIC = frozenset({"allUsers", "allAuthenticatedUsers"})

_EMAIL = r"[^@\s:?]+@[^@\s:?]+"
_TOMBSTONE = re.compile(rf"deleted:(user|group|serviceAccount):({_EMAIL})\?uid=(\d+)")
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"(?:user|group|serviceAccount):{_EMAIL}",
        r"serviceAccount:[^\s\[\]]+\.(?:svc|hub)\.id\.goog\[[^\s/\[\]]+/[^\s/\[\]]+\]",
        # All workloads of a pool: https://github.com/hashicorp/terraform-provider-google/issues/10466
        r"group:[^@\s\[\]]+\.svc\.id\.goog:/allAuthenticatedUsers/",
        r"domain:[^@\s:]+\.[^@\s:]+",
        # Subjects and attributes may contain blanks: https://cloud.google.com/iam/docs/principal-identifiers
        r"(?:principal|principalSet)://[^\s]+(?: +[^\s]+)*",
        r"project(?:Owner|Editor|Viewer):[^\s]+",
        rf"deleted:(?:user|group|serviceAccount):{_EMAIL}\?uid=\d+",
        r"deleted:principal://[^\s]+(?: +[^\s]+)*",
    )
)


@dataclass(frozen=True)
class AccountMember:
    """A service account in a policy: the e-mail as written, and the account that had it then."""

    email: str
    unique_id: str


@dataclass(frozen=True)
class WorkspaceMember:
    """A user or a group in a policy: the address as written if it was the primary one, and its unique id."""

    email: str
    unique_id: str


Member: TypeAlias = str | AccountMember | WorkspaceMember
"""A member as a policy stores it: an account, a known user or group, or another principal as written."""


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


def parse(member: str, accounts: Accounts, workspace: Workspace) -> Member:
    """Bind a member of a request to its principal.

    Raises GoogleError: INVALID_ARGUMENT, the form is unknown, or the principal does not exist.
    """
    if member in PUBLIC:
        return member
    if tombstone := _TOMBSTONE.fullmatch(member):
        kind, email, unique_id = tombstone.groups()
        if kind == "serviceAccount":
            return AccountMember(email, unique_id)
        return WorkspaceMember(email, unique_id) if workspace.get(unique_id) else member
    if not any(form.fullmatch(member) for form in _FORMS):
        raise invalid(f"Invalid member '{member}'.")
    kind, _, email = member.partition(":")
    if "@" not in email:  # a domain, a pool of workloads, or its members
        return member
    if kind in ("user", "group"):
        return bind(member, workspace)
    if kind != "serviceAccount":
        return member
    unique_id = accounts.known_to_policies(email)
    return member if unique_id is None else AccountMember(email, unique_id)


def bind(member: str, workspace: Workspace) -> Member:
    """Bind a user or a group to its principal, if that is known.

    Raises GoogleError: INVALID_ARGUMENT, it is deleted or does not exist.
    """
    kind, _, email = member.partition(":")
    principal = workspace.find(kind, email)
    if principal is None and not workspace.lacks(kind, email):
        return member
    if principal is None or principal.deleted:
        # https://github.com/GoogleCloudPlatform/cloud-foundation-fabric/issues/1549
        raise invalid(f"{kind.capitalize()} {email} does not exist.")
    is_primary = email.lower() == principal.primary.lower()
    return WorkspaceMember(email if is_primary else principal.primary, principal.unique_id)


def render(member: Member, accounts: Accounts, workspace: Workspace, *, stale_ids: bool = False) -> str:
    """Return the member as it is read; `stale_ids` hides a deleted form whose e-mail is in use again."""
    match member:
        case AccountMember(email, unique_id) if accounts.is_live(unique_id) or (
            stale_ids and accounts.is_taken(email)
        ):
            return f"serviceAccount:{email}"
        case AccountMember(email, unique_id):
            return f"deleted:serviceAccount:{email}?uid={unique_id}"
        case WorkspaceMember(written, unique_id):
            principal = workspace.get(unique_id)
            if principal is None:
                raise LookupError(f"no user or group has the unique id {unique_id}")
            is_primary = written.lower() == principal.primary.lower()
            shown = f"{principal.kind}:{written if is_primary else principal.primary}"
            return f"deleted:{shown}?uid={unique_id}" if principal.deleted else shown
        case _:
            return member
