"""Findings that Recommender computes for a project from its policies and from the use of permissions.

Google computes them once a day, from the use in the last 90 days
(https://cloud.google.com/policy-intelligence/docs/role-recommendations-overview). Here an edit states the
use, and computes at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from google.cloud import recommender_v1 as recommender

from .accounts import AccountStore
from .members import AccountMember, Member
from .policies import Policies
from .projects import Project, ProjectRegistry
from .recommendation_messages import (
    Place,
    identity_recommendation,
    impersonation_content,
    insight,
    role_recommendation,
    usage_content,
)
from .role_table import BASIC_ROLES, RoleTable
from .workloads import Workloads

_ACTING = frozenset(
    {"iam.serviceAccounts.actAs", "iam.serviceAccounts.getAccessToken", "iam.serviceAccounts.signJwt"}
)
_RUN = "google.run.service.IdentityInsight"
# Google documents no subtypes for Cloud Run. Clients must not depend on these.
_ON_DEFAULT_ACCOUNT = "DEFAULT_SERVICE_ACCOUNT"


@dataclass(frozen=True)
class Usage:
    """Use of permissions in a project."""

    used: Mapping[str, frozenset[str]]
    """Permissions that a member used, by member. Members that are missing were not observed long enough."""
    inferred: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Permissions that a member is likely to need, by member."""
    unused_accounts: Mapping[str, str] = field(default_factory=dict)
    """E-mails of accounts that did not authenticate for 90 days, with the last time; empty for never."""


@dataclass(frozen=True)
class Findings:
    """Result of the analysis of a project."""

    recommendations: tuple[recommender.Recommendation, ...]
    insights: tuple[recommender.Insight, ...]


class Analysis:
    """Computes the findings of projects."""

    def __init__(
        self,
        projects: ProjectRegistry,
        accounts: AccountStore,
        policies: Policies,
        roles: RoleTable,
        services: Workloads,
    ) -> None:
        self._projects = projects
        self._accounts = accounts
        self._policies = policies
        self._roles = roles
        self._services = services

    def of(self, project: Project, usage: Usage, now: float) -> Findings:
        """Return the findings about a project at the time `now`."""
        place = Place(project.number, "global", now)
        found = [
            *self._about_roles(project, place, usage),
            *self._about_services(project, now),
            *self._about_accounts(project, place, usage),
            *self._about_impersonation(project, place),
        ]
        return Findings(
            tuple(each for each in found if isinstance(each, recommender.Recommendation)),
            tuple(each for each in found if isinstance(each, recommender.Insight)),
        )

    def _about_roles(
        self, project: Project, place: Place, usage: Usage
    ) -> Iterator[recommender.Recommendation | recommender.Insight]:
        """Yield what the members of unconditional bindings used, and what they should have instead."""
        for role, member in self._grants(project):
            if member not in usage.used:
                continue
            permissions = self._roles.permissions(role)
            exercised = sorted(usage.used[member] & permissions)
            inferred = sorted((usage.inferred.get(member, frozenset()) & permissions) - {*exercised})
            about = insight(
                place,
                place.insight_name("google.iam.policy.Insight", member, role),
                "PERMISSIONS_USAGE",
                f"{len(exercised)} of the permissions in this role binding were used in the past 90 days.",
                usage_content(role, member, exercised, inferred, len(permissions)),
            )
            needed = frozenset((*exercised, *inferred))
            if not needed:
                yield role_recommendation(place, member, role, (), "REMOVE_ROLE", about)
            elif needed < permissions:
                smaller = self._smaller(role, permissions, needed)
                subtype = "REPLACE_ROLE" if smaller else "REPLACE_ROLE_CUSTOMIZABLE"
                added = (smaller,) if smaller else ()
                yield role_recommendation(place, member, role, added, subtype, about)
            yield about

    def _smaller(self, role: str, permissions: frozenset[str], needed: frozenset[str]) -> str:
        """Return the smallest predefined role with the needed permissions, of at most half the size.

        Empty if there is none.
        """
        most = len(permissions) // 2
        sizes = (
            (len(each.permissions), name)
            for name, each in self._roles.all_predefined().items()
            if len(each.permissions) <= most
            and name not in BASIC_ROLES
            and name != role
            and each.stage == "GA"
            and not name.endswith(("serviceAgent", "ServiceAgent"))
            and needed <= frozenset(each.permissions)
        )
        return min(sizes, default=(0, ""))[1]

    def _about_services(
        self, project: Project, now: float
    ) -> Iterator[recommender.Recommendation | recommender.Insight]:
        """Yield the services that run as the default account."""
        for service in self._services:
            _, owner, _, location, _, name = service.name.split("/")
            if owner != project.id:
                continue
            if service.template.service_account not in ("", project.compute_account):
                continue
            place = Place(project.number, location, now)
            resource = f"//run.googleapis.com/{service.name}"
            about = insight(
                place,
                place.insight_name(_RUN, name),
                _ON_DEFAULT_ACCOUNT,
                "This service uses the default service account.",
                {"serviceName": name, "serviceRegion": location},
                resource,
            )
            yield identity_recommendation(place, name, resource, about)
            yield about

    def _about_accounts(self, project: Project, place: Place, usage: Usage) -> Iterator[recommender.Insight]:
        """Yield the accounts that did not authenticate."""
        kind = "google.iam.serviceAccount.Insight"
        for email, last in usage.unused_accounts.items():
            account = self._accounts.live(email)
            if account is None or account.project != project:
                continue
            content = {"serviceAccountId": account.unique_id, "email": email}
            yield insight(
                place,
                place.insight_name(kind, account.unique_id),
                "SERVICE_ACCOUNT_USAGE",
                f"Service account {email} was inactive.",
                content | ({"lastAuthenticatedTime": last} if last else {}),
            )

    def _about_impersonation(self, project: Project, place: Place) -> Iterator[recommender.Insight]:
        """Yield the accounts of other projects that may act as accounts of this one by a role on it."""
        kind = "google.iam.policy.LateralMovementInsight"
        own = (each for each in self._accounts if each.project == project and each.deleted_at is None)
        targets = sorted(each.email for each in own)
        for role, member in self._grants(project):
            email = member.removeprefix("serviceAccount:")
            account = self._accounts.live(email)
            acting = sorted(self._roles.permissions(role) & _ACTING)
            if account is None or account.project == project or not acting or not targets:
                continue
            owner = f"//cloudresourcemanager.googleapis.com/projects/{account.project.number}"
            yield insight(
                place,
                place.insight_name(kind, email, role),
                "CROSS_PROJECT_IMPERSONATION",
                f"Service account {email} from another project can impersonate {len(targets)} service "
                "account(s) under this project.",
                impersonation_content(email, owner, targets, place.project, role, acting),
            )

    def _grants(self, project: Project) -> Iterable[tuple[str, str]]:
        """Return the role and the member of each unconditional grant to an account on the project."""
        return [
            (binding.role, _name(member))
            for binding in self._policies.bindings(f"projects/{project.id}")
            if binding.condition is None
            for member in binding.members
            if _name(member).startswith("serviceAccount:")
        ]


def _name(member: Member) -> str:
    return f"serviceAccount:{member.email}" if isinstance(member, AccountMember) else str(member)
