"""Forms of members: those that name one principal, and other ways to write an identity.

Source of the forms: https://cloud.google.com/iam/docs/principal-identifiers.
"""

import re

from .principals import Principal, PrincipalKind, lower_email, parse, service_account_member


def is_typewide(member: str) -> bool:
    """Return whether the member may cover all of a type: a pool, a domain, or all accounts of a resource.

    The forms of one principal, and of the groups, attribute values and namespaces of a pool, are listed.
    Every other form is type-wide, so that a form which Google adds later is not taken for one principal.
    """
    principal = parse(member)
    match principal.kind:
        case PrincipalKind.USER | PrincipalKind.GROUP | PrincipalKind.SERVICE_ACCOUNT:
            return "@" not in principal.identifier
        case PrincipalKind.KUBERNETES_SERVICE_ACCOUNT:
            return False
        case PrincipalKind.PRINCIPAL:
            return not _ONE_PRINCIPAL.fullmatch(principal.identifier)
        case PrincipalKind.PRINCIPAL_SET:
            return not _NAMED_SET.fullmatch(principal.identifier)
        case _:
            return True


def documented_form(member: str) -> str:
    """Return how to write a member that is an identity in another form; empty if the form is documented.

    Guardrails compare texts. A second way to write an account would bypass what they say about the first one.
    Source of the forms: https://cloud.google.com/iam/docs/principal-identifiers (`principal://goog/…` and
    `principal://…/serviceAccounts/…` are forms of IAM v2, for deny policies only).
    """
    principal = parse(member)
    match principal.kind:
        case PrincipalKind.USER | PrincipalKind.GROUP | PrincipalKind.SERVICE_ACCOUNT:
            plain = _plain_email(principal.identifier)
            if principal.kind is not PrincipalKind.SERVICE_ACCOUNT and is_account_email(plain):
                return service_account_member(plain)
            return "" if plain == principal.identifier else str(Principal(principal.kind, plain))
        case PrincipalKind.PRINCIPAL:
            if found := _ACCOUNT_BY_NAME.search(principal.identifier):
                return service_account_member(_plain_email(found[1]))
            if found := _USER_BY_NAME.match(principal.identifier):
                return f"user:{_plain_email(found[1])}"
            return ""
        case PrincipalKind.PRINCIPAL_SET:
            if found := _GROUP_BY_NAME.match(principal.identifier):
                return f"group:{_plain_email(found[1])}"
            return ""
        case _:
            return ""


def is_account_email(email: str) -> bool:
    """Return whether the e-mail is one of a service account."""
    return lower_email(email).endswith(".gserviceaccount.com")


def _plain_email(email: str) -> str:
    """Return the e-mail without characters that no address has, and without dots at its end."""
    return "".join(each for each in email if each.isascii() and each.isprintable() and each != " ").rstrip(
        "."
    )


# Forms of https://cloud.google.com/iam/docs/principal-identifiers. Of a GKE pool,
# `principalSet://…/kubernetes.cluster/…` is all workloads of a cluster, and not listed here.
_POOL = (
    r"iam\.googleapis\.com/(locations/global/workforcePools|projects/[^/]+/locations/global/workloadIdentityPools)"
    r"/[^/]+"
)
_ONE_PRINCIPAL = re.compile(rf"{_POOL}/(subject/.+|kubernetes\.serviceaccount\.uid/[^/]+)", re.DOTALL)
_NAMED_SET = re.compile(
    rf"{_POOL}/(group/.*[^*/]|attribute\.[^/]+/.*[^*/]|namespace/[^/*]+|kubernetes\.serviceaccount\.uid/[^/*]+)",
    re.DOTALL,
)
_ACCOUNT_BY_NAME = re.compile(r"(?i)/serviceaccounts/([^/]+)/?\Z")
_USER_BY_NAME = re.compile(r"(?i)goog/subject/(.+)\Z")
_GROUP_BY_NAME = re.compile(r"(?i)goog/group/(.+)\Z")
