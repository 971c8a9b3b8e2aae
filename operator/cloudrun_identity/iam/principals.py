"""Who a policy speaks of: the member strings of IAM v1 allow policies, read, compared and classified.

What is read from a policy may be anything: a form that nobody has documented stays opaque, is kept verbatim
and is never an error. Members are plain strings everywhere else; `parse` is for whoever needs their parts.
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
    """The older form of a GKE workload, `serviceAccount:P.svc.id.goog[NAMESPACE/NAME]`."""
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
    """One member: its form, and what follows the form's prefix (all of the text where the form is opaque)."""

    kind: PrincipalKind
    identifier: str

    def __str__(self) -> str:
        return _PREFIXES[self.kind] + self.identifier


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What a policy shows in the place of a deleted principal, rendered when the policy is read.

    `member` is the form that it had alive. `uid` are the digits of its unique id, empty for `principal://`,
    which is shown without one.
    """

    member: str
    uid: str

    def __str__(self) -> str:
        return f"{_DELETED}{self.member}{_UID}{self.uid}" if self.uid else f"{_DELETED}{self.member}"

    @classmethod
    def parse(cls, text: str) -> "Tombstone | None":
        """Read `text` as a tombstone, None where it is none of a documented form."""
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
    """Tell the parts of a member; `str()` of the result is `text` again, whatever it was."""
    if text in _PUBLIC:
        return Principal(_PUBLIC[text], "")
    if text.startswith(_DELETED):
        kind = PrincipalKind.DELETED if Tombstone.parse(text) else PrincipalKind.OPAQUE
        return Principal(kind, text.removeprefix(_PREFIXES[kind]))
    if text.startswith(_ACCOUNT) and _KUBERNETES.fullmatch(text.removeprefix(_ACCOUNT)):
        return Principal(PrincipalKind.KUBERNETES_SERVICE_ACCOUNT, text.removeprefix(_ACCOUNT))
    for kind, prefix in _PLAIN_PREFIXES.items():
        if text.startswith(prefix) and text != prefix:
            return Principal(kind, text.removeprefix(prefix))
    return Principal(PrincipalKind.OPAQUE, text)


@lru_cache(maxsize=16_384)
def normalise(text: str) -> str:
    """Give the key by which two members are the same: e-mails and domains in lower case, all else exact.

    A pattern over members has the same key form, because `*` stands for itself.
    """
    kind, _, identifier = text.partition(":")
    if kind in _WITH_NAMES and identifier == identifier.lower():
        return text  # as nearly every member is: the key of 1,500 of them is asked for at once
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
        case _:
            return text


def same_member(one: str, other: str) -> bool:
    """Whether two members of a policy are one."""
    return normalise(one) == normalise(other)


def is_public(member: str) -> bool:
    """Whether it stands for everybody, or for everybody with a Google account."""
    return member in _PUBLIC


def is_typewide(member: str) -> bool:
    """Whether it stands for all of a type: everybody in a pool or a domain, every account of a resource."""
    principal = parse(member)
    match principal.kind:
        case PrincipalKind.DOMAIN:
            return True
        case PrincipalKind.PRINCIPAL_SET:
            return bool(_TYPEWIDE.search(principal.identifier))
        case _:
            return False


def is_service_account(member: str) -> bool:
    """Whether it is a living service account of Google Cloud (a Kubernetes one is not)."""
    return parse(member).kind is PrincipalKind.SERVICE_ACCOUNT


def email(member: str) -> str:
    """Give the e-mail of a user, group or service account as written, empty for every other form."""
    principal = parse(member)
    return principal.identifier if principal.kind in _WITH_EMAIL else ""


def service_account_member(email: str) -> str:
    """How a policy names the service account with this e-mail."""
    return f"{_ACCOUNT}{email}"


def lower_email(email: str) -> str:
    """Make a key of an e-mail. ASCII alone is lowered: `str.lower` makes a `k` of the Kelvin sign."""
    return email.translate(_ASCII_LOWER)


def is_google_managed(email: str) -> bool:
    """Whether the account is a service agent: Google's own, in a project of Google's.

    Source: https://cloud.google.com/iam/docs/service-agents. The domain decides, not the local part, because
    anybody may name an account `service-123456` in a project of theirs.
    """
    _, _, domain = lower_email(email).rpartition("@")
    if is_default_account(email):
        return False
    if not domain.endswith(_USER_MANAGED_SUFFIX):
        return domain.endswith(".gserviceaccount.com")
    project = domain.removesuffix(_USER_MANAGED_SUFFIX)
    return project.startswith("gcp-sa-") or project in _AGENT_PROJECTS


def is_default_account(email: str) -> bool:
    """Whether it is the default account of Compute Engine or App Engine: the project's own, and powerful."""
    return bool(_DEFAULT_ACCOUNT.fullmatch(lower_email(email)))


_DELETED = "deleted:"
_UID = "?uid="
_ACCOUNT = "serviceAccount:"
_USER_MANAGED_SUFFIX = ".iam.gserviceaccount.com"
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

_PLAIN_PREFIXES = {
    PrincipalKind.USER: "user:",
    PrincipalKind.GROUP: "group:",
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
    PrincipalKind.ALL_USERS: "allUsers",
    PrincipalKind.ALL_AUTHENTICATED_USERS: "allAuthenticatedUsers",
    PrincipalKind.DELETED: _DELETED,
    PrincipalKind.OPAQUE: "",
}
_PUBLIC = {_PREFIXES[kind]: kind for kind in (PrincipalKind.ALL_USERS, PrincipalKind.ALL_AUTHENTICATED_USERS)}
_WITH_NAMES = frozenset({"user", "group", "serviceAccount", "domain"})
_WITH_EMAIL = frozenset({PrincipalKind.USER, PrincipalKind.GROUP, PrincipalKind.SERVICE_ACCOUNT})

_KUBERNETES = re.compile(r"[^\[\]]+\.svc\.id\.goog\[[^\[\]]+\]")
# `/type/ServiceAgent` is documented beside `/type/ServiceAccount`: any type of a resource is type-wide.
_TYPEWIDE = re.compile(r"/\*\Z|/type/[^/]+\Z")

# Other universes put their system's name between: `developer.UNIVERSE-system.gserviceaccount.com`.
_DEFAULT_ACCOUNT = re.compile(r"[^@]+@(developer|appspot)\.([a-z0-9-]+-system\.)?gserviceaccount\.com")
# Agents that are older than the `gcp-sa-` naming of Google's projects.
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
