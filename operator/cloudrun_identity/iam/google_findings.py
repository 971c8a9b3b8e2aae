"""Findings of Google about a project: recommendations and insights of Recommender, as values.

`gcp.recommender` reads them. They are evidence from the use in the last 90 days, while `iam.recommendations`
has rules about roles that need no evidence.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class FindingSource(StrEnum):
    """Recommenders and types of insights, by their IDs.

    https://cloud.google.com/recommender/docs/recommenders and …/docs/insights/insight-types
    """

    ROLES = "google.iam.policy.Recommender"
    PERMISSION_USAGE = "google.iam.policy.Insight"
    UNUSED_ACCOUNTS = "google.iam.serviceAccount.Insight"
    LATERAL_MOVEMENT = "google.iam.policy.LateralMovementInsight"
    WORKLOAD_IDENTITIES = "google.run.service.IdentityRecommender"


class FindingState(StrEnum):
    """States of a recommendation that was neither applied nor dismissed."""

    ACTIVE = "ACTIVE"
    CLAIMED = "CLAIMED"


@dataclass(frozen=True, slots=True)
class RoleRecommendation:
    """Recommendation to take a role on the project away from a member, or to replace it."""

    name: str
    """Resource name of the recommendation."""
    etag: str
    """Version of the recommendation, which a change of its state has to name."""
    state: FindingState
    """State of the recommendation."""
    member: str
    """Member as the policy writes it."""
    role: str
    """Full name of the role that the member has."""
    replace_by: tuple[str, ...] = ()
    """Full names of smaller roles; empty if the role should be removed, or replaced by a custom role."""
    is_customizable: bool = False
    """True if a custom role with the permissions that were used should replace the role."""
    condition: str = ""
    """Expression of the condition of the grant; empty for an unconditional grant."""

    @property
    def is_removal(self) -> bool:
        """True if nothing should replace the role."""
        return not self.replace_by and not self.is_customizable


@dataclass(frozen=True, slots=True)
class PermissionUsage:
    """Permissions of a role on the project that a member used."""

    member: str
    """Member as the policy writes it."""
    role: str
    """Full name of the role."""
    used: tuple[str, ...]
    """Permissions that the member used, sorted."""
    inferred: tuple[str, ...]
    """Permissions that the member is likely to need, by Google's machine learning, sorted."""
    total: int
    """Number of permissions in the role."""
    condition: str = ""
    """Expression of the condition of the grant; empty for an unconditional grant."""

    @property
    def needed(self) -> tuple[str, ...]:
        """Permissions that the member used or is likely to need, sorted."""
        return tuple(sorted({*self.used, *self.inferred}))


@dataclass(frozen=True, slots=True)
class UnusedAccount:
    """Service account that did not authenticate for 90 days."""

    email: str
    """E-mail of the account."""
    unique_id: str
    """Unique ID of the account: another account may have the e-mail by now."""
    last_used: datetime | None
    """Time of the last authentication, if Google knows one."""


@dataclass(frozen=True, slots=True)
class LateralMovement:
    """Role on the project with which an account of another project can act as accounts of this one."""

    impersonator: str
    """E-mail of the account of the other project."""
    role: str
    """Full name of the role."""
    targets: frozenset[str]
    """E-mails of the accounts that it can act as; empty if there are more than 1,500."""


@dataclass(frozen=True, slots=True)
class WorkloadIdentityRecommendation:
    """Recommendation to run a Cloud Run service as an account of its own."""

    name: str
    """Resource name of the recommendation."""
    etag: str
    """Version of the recommendation."""
    state: FindingState
    """State of the recommendation."""
    location: str
    """Location of the service."""
    service: str
    """Name of the service."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Source that could not be read."""

    source: FindingSource
    """The recommender or the type of insights."""
    why: str
    """Error with its remedy, without a period."""
    is_refusal: bool = False
    """True if the error lasts until a user changes the project, or until the quota of the day is renewed."""


@dataclass(frozen=True, slots=True)
class ProjectFindings:
    """Findings about a project. An empty answer shows nothing: Google may not have enough observations."""

    read_at: datetime = field(compare=False)
    """Time of the read."""
    roles: tuple[RoleRecommendation, ...] = ()
    """Recommendations about roles on the project."""
    usage: tuple[PermissionUsage, ...] = ()
    """Use of the roles on the project."""
    unused_accounts: tuple[UnusedAccount, ...] = ()
    """Accounts without use."""
    lateral_movements: tuple[LateralMovement, ...] = ()
    """Accounts of other projects that can act as accounts of this one."""
    unreadable: tuple[Unreadable, ...] = ()
    """Sources that could not be read."""

    def about(self, member: str, unique_id: str) -> "AccountFindings":
        """Return the findings about one account. Members are compared without regard to case."""
        same = member.lower()
        email = same.partition(":")[2]
        return AccountFindings(
            self.read_at,
            tuple(each for each in self.roles if each.member.lower() == same),
            tuple(each for each in self.usage if each.member.lower() == same),
            next((each for each in self.unused_accounts if each.unique_id == unique_id), None),
            tuple(
                each
                for each in self.lateral_movements
                if email in {target.lower() for target in each.targets}
            ),
            self.unreadable,
        )

    def usage_of(self, found: RoleRecommendation) -> PermissionUsage | None:
        """Return the use that a recommendation is about."""
        key = (found.member, found.role, found.condition)
        matching = (each for each in self.usage if (each.member, each.role, each.condition) == key)
        return next(matching, None)


@dataclass(frozen=True, slots=True)
class AccountFindings:
    """Findings about one service account."""

    read_at: datetime = field(compare=False)
    """Time of the read."""
    roles: tuple[RoleRecommendation, ...] = ()
    """Recommendations about the roles of the account."""
    usage: tuple[PermissionUsage, ...] = ()
    """Use of the roles of the account."""
    unused: UnusedAccount | None = None
    """The account, if it did not authenticate."""
    lateral_movements: tuple[LateralMovement, ...] = ()
    """Accounts of other projects that can act as the account."""
    unreadable: tuple[Unreadable, ...] = ()
    """Sources that could not be read."""

    @property
    def has_evidence(self) -> bool:
        """True if Google has observed the roles of the account."""
        return bool(self.roles or self.usage)

    def usages(self) -> Iterator[tuple[RoleRecommendation, PermissionUsage | None]]:
        """Yield each recommendation with the use that it is about."""
        for found in self.roles:
            key = (found.role, found.condition)
            yield found, next((each for each in self.usage if (each.role, each.condition) == key), None)
