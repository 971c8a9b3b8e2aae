"""Domain restricted sharing: the organization policy that restricts members of IAM policies.

Google's values of `iam.allowedPolicyMemberDomains` are customer ids. Here they are domains, because no
directory maps customers to domains.
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from google.rpc import error_details_pb2

from cloudrun_identity_playground.emulator.errors import GoogleError

from .members import PUBLIC, Member
from .org_policy import OrgPolicies
from .projects import ProjectRegistry

ALLOWED_MEMBERS = "iam.allowedPolicyMemberDomains"

_JUDGED = frozenset({"user", "group", "serviceAccount", "domain"})


class DomainRestrictedSharing:
    """Checks members by the project, folder or organization of the resource.

    Only added members are checked: Google does not apply the policy to existing ones. Accounts of the
    emulator's projects are allowed, Google's service agents are not. Members without an e-mail or a domain
    that are not public are not checked.
    """

    def __init__(self, projects: ProjectRegistry, org_policies: OrgPolicies) -> None:
        self._projects = projects
        self._org_policies = org_policies

    def check(self, resource: str, added: Iterable[Member]) -> None:
        """Check that `added` may become members of the policy of `resource`.

        Raises GoogleError: FAILED_PRECONDITION, with a violation for each refused member, as users report it
        for project policies.
        """
        holder = "/".join(resource.split("/")[:2])
        allowed = self._org_policies.allowed_values(holder, ALLOWED_MEMBERS)
        if allowed is None:
            return
        identities = dict.fromkeys(who for who in map(self._checked_identity, added) if who)
        refused = [who for who in identities if who.rpartition("@")[2].lower() not in allowed]
        if refused:
            raise _not_permitted(holder, refused)

    def _checked_identity(self, member: Member) -> str:
        """Return the e-mail or domain of a member to check; empty if there is none."""
        if not isinstance(member, str):
            return ""
        if member in PUBLIC:
            return member
        kind, _, who = member.removeprefix("deleted:").partition("?")[0].partition(":")
        return who if kind in _JUDGED and not self._is_default_account(who) else ""

    def _is_default_account(self, email: str) -> bool:
        return any(email.lower() == project.compute_account for project in self._projects)


def _not_permitted(holder: str, refused: Iterable[str]) -> GoogleError:
    violation = error_details_pb2.PreconditionFailure.Violation
    return GoogleError(
        grpc.StatusCode.FAILED_PRECONDITION,
        "One or more users named in the policy do not belong to a permitted customer.",
        error_details_pb2.PreconditionFailure(
            violations=[
                violation(
                    type=f"constraints/{ALLOWED_MEMBERS}",
                    subject=f"orgpolicy:{holder}?configvalue={who}",
                    description=f"User {who} is not in permitted organization.",
                )
                for who in refused
            ]
        ),
    )
