"""Domain restricted sharing: the organization policy that says who may become a member of IAM policies.

Google's values of `iam.allowedPolicyMemberDomains` are customer ids; here, where no directory tells which
domains a customer has, they are the domains themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from google.rpc import error_details_pb2

from cloudrun_identity_playground.emulator.errors import GoogleError

from .members import PUBLIC, AccountMember, Member
from .org_policy import OrgPolicies
from .projects import ProjectRegistry

ALLOWED_MEMBERS = "iam.allowedPolicyMemberDomains"

_JUDGED = frozenset({"user", "group", "serviceAccount", "domain"})


class DomainRestrictedSharing:
    """What the policy allows, by the project, folder or organization of the resource.

    It looks at members that are added, not at those that stand there from before: Google does not apply it
    in retrospect. Accounts of the cloud's own projects are at home; Google's service agents are not. Members
    that are neither public nor have an e-mail or a domain are not judged.
    """

    def __init__(self, projects: ProjectRegistry, org_policies: OrgPolicies) -> None:
        self._projects = projects
        self._org_policies = org_policies

    def check(self, resource: str, added: Iterable[Member]) -> None:
        """Whether `added` may become members of the policy of `resource`.

        Raises GoogleError: FAILED_PRECONDITION, with a violation for each who may not, as users of Google
        Cloud report it for project policies.
        """
        holder = "/".join(resource.split("/")[:2])
        allowed = self._org_policies.allowed_values(holder, ALLOWED_MEMBERS)
        if allowed is None:
            return
        strangers = dict.fromkeys(who for who in map(self._stranger, added) if who)
        refused = [who for who in strangers if who.rpartition("@")[2].lower() not in allowed]
        if refused:
            raise _not_permitted(holder, refused)

    def _stranger(self, member: Member) -> str:
        """The e-mail or domain of a member that may be somebody outside; empty if it is none."""
        if isinstance(member, AccountMember):
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
