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
    """What the policy allows, by the project of the resource.

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
        project = self._projects.resolve(resource.split("/")[1])
        allowed = self._org_policies.allowed_values(project, ALLOWED_MEMBERS)
        if allowed is None:
            return
        outside = list(dict.fromkeys(who for who in map(self._judged, added) if who not in allowed_names(allowed, who)))
        if outside:
            raise _not_permitted(project.id, outside)
