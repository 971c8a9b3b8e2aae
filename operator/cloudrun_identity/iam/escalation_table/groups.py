"""Form and sources of the table of escalating permissions."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Reach(StrEnum):
    """Scope of a grant, as far as escalation is concerned."""

    PROJECT = "project"
    """A whole project: every secret, bucket, image and account in it."""
    RESOURCE = "resource"
    """One resource."""
    OWN_IDENTITY = "own identity"
    """Account of a CloudRunIdentity in the granting namespace, which decides who acts as the account."""


@dataclass(frozen=True, slots=True)
class Escalation:
    """One group of the table."""

    name: str
    """Short name of the group, as in `docs/reference/escalation.md`."""
    patterns: tuple[str, ...]
    """Patterns of permissions, in which `*` matches any run of characters."""
    reason: str
    """Reason why the permissions escalate, to follow "its holder"."""
    sources: tuple[str, ...]
    """Addresses that describe the escalation."""
    reaches: frozenset[Reach] = frozenset(Reach)
    """Scopes in which the permissions escalate."""


SOURCES: Final[Mapping[str, str]] = {
    "https://github.com/RhinoSecurityLabs/GCP-IAM-Privilege-Escalation": "2025-10-06",
    "https://github.com/HackTricks-wiki/hacktricks-cloud": "2026-08-10",
    "https://github.com/iann0036/iam-dataset/blob/main/gcp/tags.json": "2026-08-22",
    "https://cloud.google.com/iam/docs/roles-permissions": "2026-05-30",
}
"""Catalogs that the table follows, with the date of the version that was read."""

RHINO: Final = "https://github.com/RhinoSecurityLabs/GCP-IAM-Privilege-Escalation"
TAGS: Final = "https://github.com/iann0036/iam-dataset/blob/main/gcp/tags.json"
DOCS: Final = "https://cloud.google.com/"
EXCEPT_OWN_IDENTITY: Final = frozenset(Reach) - {Reach.OWN_IDENTITY}
WHOLE_PROJECT: Final = frozenset({Reach.PROJECT})


def hacktricks(page: str) -> str:
    """Return the address of a page of HackTricks Cloud about privilege escalation."""
    pages = "https://cloud.hacktricks.wiki/en/pentesting-cloud/gcp-security/gcp-privilege-escalation"
    return f"{pages}/gcp-{page}-privesc{'/index' if page == 'compute' else ''}.html"


def all_of(prefix: str, *resources: str, verbs: tuple[str, ...] = ("create", "update")) -> tuple[str, ...]:
    """Return the permissions of a service for each resource and verb."""
    return tuple(f"{prefix}.{resource}.{verb}" for resource in resources for verb in verbs)
