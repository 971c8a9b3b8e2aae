"""Principals: the member strings of IAM v1 allow policies, parsed, compared and classified.

A policy can contain any string. A member of an undocumented form stays opaque: it is kept verbatim and is
never an error. Other modules handle members as plain strings and call `parse` for their parts.
"""

import re
import string
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class PrincipalKind(StrEnum):
    """The forms of https://cloud.google.com/iam/docs/principal-identifiers for allow policies."""

    USER = "user"
    GROUP = "group"
    SERVICE_ACCOUNT = "serviceAccount"
    KUBERNETES_SERVICE_ACCOUNT = "kubernetesServiceAccount"
    """The older form of a Kubernetes workload, `serviceAccount:P.svc.id.goog[NAMESPACE/NAME]`. The pool of a
    fleet can be `P.hub.id.goog`."""
    KUBERNETES_WORKLOADS = "kubernetesWorkloads"
    """All workloads of a pool, `group:P.svc.id.goog:/allAuthenticatedUsers/`. It is no group of Google
    Workspace."""
    DOMAIN = "domain"
    PRINCIPAL = "principal"
    PRINCIPAL_SET = "principalSet"
    ALL_USERS = "allUsers"
    ALL_AUTHENTICATED_USERS = "allAuthenticatedUsers"
    PROJECT_OWNER = "projectOwner"
    PROJECT_EDITOR = "projectEditor"
    PROJECT_VIEWER = "projectViewer"
    DELETED = "deleted"
    OPAQUE = "opaque"


@dataclass(frozen=True, slots=True)
class Principal:
    """One member, split into its form and the rest."""

    kind: PrincipalKind
    """Form of the member."""
    identifier: str
    """Text after the prefix of the form; the whole text of an opaque member."""

    def __str__(self) -> str:
        return _PREFIXES[self.kind] + self.identifier


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The form in which a policy shows a deleted principal. Google renders it when the policy is read."""

    member: str
    """Member before its deletion."""
    uid: str
    """Digits of its unique ID; empty for `principal://`, which is shown without one."""

    def __str__(self) -> str:
        return f"{_DELETED}{self.member}{_UID}{self.uid}" if self.uid else f"{_DELETED}{self.member}"

    @classmethod
    def parse(cls, text: str) -> "Tombstone | None":
        """Parse `text` as a tombstone. Return None if it is not one of a documented form."""
        if not text.startswith(_DELETED):
            return None
        rest = text.removeprefix(_DELETED)
        if rest.startswith(_PREFIXES[PrincipalKind.PRINCIPAL]):
            return cls(rest, "")
        member, _, uid = rest.rpartition(_UID)
        if parse(member).kind in _WITH_EMAIL and uid.isascii() and uid.isdigit():
            return cls(member, uid)
        return None


def parse(text: str) -> Principal:
    """Split a member into its parts. `str()` of the result returns `text`, whatever its form."""
    if text in _PUBLIC:
        return Principal(_PUBLIC[text], "")
    if text.startswith(_DELETED):
        kind = PrincipalKind.DELETED if Tombstone.parse(text) else PrincipalKind.OPAQUE
        return Principal(kind, text.removeprefix(_PREFIXES[kind]))
    if text.startswith(_ACCOUNT) and _KUBERNETES.fullmatch(text.removeprefix(_ACCOUNT)):
        return Principal(PrincipalKind.KUBERNETES_SERVICE_ACCOUNT, text.removeprefix(_ACCOUNT))
    if text.startswith(_GROUP) and _ALL_WORKLOADS.fullmatch(text.removeprefix(_GROUP)):
        return Principal(PrincipalKind.KUBERNETES_WORKLOADS, text.removeprefix(_GROUP))
    for kind, prefix in _PLAIN_PREFIXES.items():
        if text.startswith(prefix) and text != prefix:
            return Principal(kind, text.removeprefix(prefix))
    return Principal(PrincipalKind.OPAQUE, text)


@lru_cache(maxsize=16_384)
def normalise(text: str) -> str:
    """Return the key by which two members are equal: e-mails and domains in lower case, the rest verbatim.

    Of the workloads of a pool, only the name of the pool is in lower case. Google Cloud distinguishes case
    behind it (https://github.com/hashicorp/terraform-provider-google/issues/10466).

    The key of a pattern over members is the pattern of the keys, because `*` is kept.
    """
    kind, _, identifier = text.partition(":")
    if kind in _WITH_NAMES and identifier == identifier.lower():
        return text  # the common case; a policy has up to 1,500 members
    tombstone = Tombstone.parse(text)
    if tombstone:
        return str(Tombstone(normalise(tombstone.member), tombstone.uid))
    principal = parse(text)
    match principal.kind:
        case PrincipalKind.USER | PrincipalKind.GROUP | PrincipalKind.SERVICE_ACCOUNT | PrincipalKind.DOMAIN:
            return str(Principal(principal.kind, lower_email(principal.identifier)))
        case PrincipalKind.KUBERNETES_SERVICE_ACCOUNT:
            pool, bracket, account = principal.identifier.partition("[")
            return str(Principal(principal.kind, lower_email(pool) + bracket + account))
        case PrincipalKind.KUBERNETES_WORKLOADS:
            pool, colon, workloads = principal.identifier.rpartition(":")
            return str(Principal(principal.kind, lower_email(pool) + colon + workloads))
        case _:
            return text


def same_member(one: str, other: str) -> bool:
    """Return whether two members of a policy are the same principal."""
    return normalise(one) == normalise(other)


def is_public(member: str) -> bool:
    """Return whether the member is allUsers or allAuthenticatedUsers."""
    return member in _PUBLIC


def is_service_account(member: str) -> bool:
    """Return whether the member is a service account of Google Cloud that is not deleted."""
    return parse(member).kind is PrincipalKind.SERVICE_ACCOUNT


def email(member: str) -> str:
    """Return the e-mail of a user, group or service account as written; empty for other forms."""
    principal = parse(member)
    return principal.identifier if principal.kind in _WITH_EMAIL else ""


def service_account_member(email: str) -> str:
    """Return the member for the service account with this e-mail."""
    return f"{_ACCOUNT}{email}"


def lower_email(email: str) -> str:
    """Return the key of an e-mail. Only ASCII is lowered: `str.lower` turns the Kelvin sign into a `k`."""
    return email.lower() if email.isascii() else email.translate(_ASCII_LOWER)


def is_google_managed(email: str) -> bool:
    """Return whether the account is a service agent, which belongs to a project of Google.

    Source: https://cloud.google.com/iam/docs/service-agents. The domain decides and not the local part: a
    user can create an account named `service-123456`.
    """
    _, _, domain = lower_email(email).rpartition("@")
    if is_default_account(email):
        return False
    if not domain.endswith(_USER_MANAGED_SUFFIX):
        return domain.endswith(".gserviceaccount.com")
    project = domain.removesuffix(_USER_MANAGED_SUFFIX)
    return project.startswith("gcp-sa-") or project in _AGENT_PROJECTS


def is_default_account(email: str) -> bool:
    """Return whether the account is the default account of Compute Engine or App Engine."""
    return bool(_DEFAULT_ACCOUNT.fullmatch(lower_email(email)))


_DELETED = "deleted:"
_UID = "?uid="
_ACCOUNT = "serviceAccount:"
_GROUP = "group:"
_USER_MANAGED_SUFFIX = ".iam.gserviceaccount.com"
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

_PLAIN_PREFIXES = {
    PrincipalKind.USER: "user:",
    PrincipalKind.GROUP: _GROUP,
    PrincipalKind.SERVICE_ACCOUNT: _ACCOUNT,
    PrincipalKind.DOMAIN: "domain:",
    PrincipalKind.PRINCIPAL: "principal://",
    PrincipalKind.PRINCIPAL_SET: "principalSet://",
    PrincipalKind.PROJECT_OWNER: "projectOwner:",
    PrincipalKind.PROJECT_EDITOR: "projectEditor:",
    PrincipalKind.PROJECT_VIEWER: "projectViewer:",
}
_PREFIXES = _PLAIN_PREFIXES | {
    PrincipalKind.KUBERNETES_SERVICE_ACCOUNT: _ACCOUNT,
    PrincipalKind.KUBERNETES_WORKLOADS: _GROUP,
    PrincipalKind.ALL_USERS: "allUsers",
    PrincipalKind.ALL_AUTHENTICATED_USERS: "allAuthenticatedUsers",
    PrincipalKind.DELETED: _DELETED,
    PrincipalKind.OPAQUE: "",
}
_PUBLIC = {_PREFIXES[kind]: kind for kind in (PrincipalKind.ALL_USERS, PrincipalKind.ALL_AUTHENTICATED_USERS)}
_WITH_NAMES = frozenset({"user", "group", "serviceAccount", "domain"})
_WITH_EMAIL = frozenset({PrincipalKind.USER, PrincipalKind.GROUP, PrincipalKind.SERVICE_ACCOUNT})

_KUBERNETES = re.compile(r"[^\[\]]+\.(svc|hub)\.id\.goog\[[^\[\]]+\]", re.IGNORECASE)
_ALL_WORKLOADS = re.compile(r"(?i:[^\[\]@/]+\.(svc|hub)\.id\.goog):/allAuthenticatedUsers/")
# Other universes add the name of their system: `developer.UNIVERSE-system.gserviceaccount.com`.
_DEFAULT_ACCOUNT = re.compile(r"[^@]+@(developer|appspot)\.([a-z0-9-]+-system\.)?gserviceaccount\.com")
# Projects of agents that are older than the prefix `gcp-sa-`.
_AGENT_PROJECTS = frozenset(
    {
        "bigquery-encryption",
        "cloud-cdn-fill",
        "cloud-filer",
        "cloud-memcache-sa",
        "cloud-ml.google.com",
        "cloud-redis",
        "cloud-tpu",
        "cloudcomposer-accounts",
        "compute-system",
        "container-analysis",
        "container-engine-robot",
        "containerregistry",
        "dataflow-service-producer-prod",
        "dataproc-accounts",
        "dlp-api",
        "endpoints-portal",
        "firebase-rules",
        "gae-api-prod.google.com",
        "gcf-admin-robot",
        "gcp-gae-service",
        "gcp-ri-aiplatform",
        "gcp-ri-contactcenterinsights",
        "gcp-ri-identitypool",
        "genomics-api.google.com",
        "gs-project-accounts",
        "remotebuildexecution",
        "security-center-api",
        "serverless-robot-prod",
        "service-consumer-management",
        "service-networking",
        "sourcerepo-service-accounts",
        "storage-transfer-service",
    }
)
