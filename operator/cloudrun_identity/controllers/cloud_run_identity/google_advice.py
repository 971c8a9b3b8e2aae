"""Advice from Google's evidence: findings of Recommender about one identity, as status.recommendations."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from cloudrun_identity.api import (
    CloudRunIdentity,
    GoogleRecommendations,
    Recommendation,
    RecommendationSource,
)
from cloudrun_identity.iam.gcloud_bindings import removal_command
from cloudrun_identity.iam.google_findings import (
    AccountFindings,
    FindingSource,
    LateralMovement,
    PermissionUsage,
    ProjectFindings,
    RoleRecommendation,
    UnusedAccount,
)
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.iam.wording import some
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant

COMMAND = "cloudrun-identity recommend"
"""Command that prints the changed manifests."""


class GoogleAdviceKind(StrEnum):
    """Subjects of advice from Google's evidence, the most severe first."""

    UNUSED_ACCOUNT = "UnusedAccount"
    LATERAL_MOVEMENT = "LateralMovement"
    UNUSED_ROLE = "UnusedRole"
    EXCESS_PERMISSIONS = "ExcessPermissions"


_SOURCES: Mapping[str, FindingSource] = {
    GoogleAdviceKind.UNUSED_ACCOUNT: FindingSource.UNUSED_ACCOUNTS,
    GoogleAdviceKind.LATERAL_MOVEMENT: FindingSource.LATERAL_MOVEMENT,
    GoogleAdviceKind.UNUSED_ROLE: FindingSource.ROLES,
    GoogleAdviceKind.EXCESS_PERMISSIONS: FindingSource.ROLES,
}
"""Source of each kind of advice."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Findings of Google's Recommender about an identity, and whether they can show anything."""

    is_asked: bool = False
    """True if the ManagedProject asks for recommendations."""
    findings: AccountFindings | None = None
    """The findings; None if they are not asked for, or not read yet."""
    is_possible: bool = False
    """True if the identity has a role on the project. Google observes no others here."""

    @property
    def unreadable(self) -> str:
        """The first reason why a source cannot be read; empty if all can, or if none was read."""
        if self.findings is None or not self.findings.unreadable:
            return ""
        first = self.findings.unreadable[0]
        return f"{first.source}: {first.why}"


def evidence(
    asked: GoogleRecommendations,
    found: ProjectFindings | None,
    account: Target,
    unique_id: str,
    requested_grants: Iterable[RequestedGrant],
) -> Evidence:
    """Return the evidence about the account."""
    if asked is GoogleRecommendations.IGNORE:
        return Evidence()
    member = service_account_member(account.name)
    is_possible = any(each.target == Target.project(account.project_id) for each in requested_grants)
    return Evidence(
        is_asked=True,
        findings=found.about(member, unique_id) if found else None,
        is_possible=is_possible,
    )


def google_recommendations(
    obj: CloudRunIdentity,
    account: Target,
    shown: Evidence,
    requested_grants: Iterable[RequestedGrant],
) -> tuple[Recommendation, ...]:
    """Return the advice, the most severe first. An entry keeps the time at which it was first read.

    Until a source is read, or while it cannot be read, its entries stay as they are in the status.
    """
    findings = shown.findings
    before = [each for each in obj.status.recommendations if each.source is RecommendationSource.RECOMMENDER]
    if findings is None:
        return tuple(before) if shown.is_asked else ()
    unreadable = {each.source for each in findings.unreadable}
    kept = [each for each in before if _SOURCES.get(each.kind) in unreadable]
    paths = {
        (each.role, each.condition.expression if each.condition else ""): each.path
        for each in requested_grants
        if isinstance(each.role, str)
        and isinstance(each.target, Target)
        and each.target == Target.project(account.project_id)
        and each.path.startswith("spec.roles")
    }
    since = {(each.kind, each.role, each.name): each.since for each in before}
    order = {kind: rank for rank, kind in enumerate(GoogleAdviceKind)}
    found = _advice(obj, account, findings, paths)
    advice = sorted(found, key=lambda each: (order[GoogleAdviceKind(each.kind)], each.role or ""))
    first_read = (since.get((each.kind, each.role, each.name)) or findings.read_at for each in advice)
    dated = (each.model_copy(update={"since": time}) for each, time in zip(advice, first_read, strict=True))
    return (*kept, *dated)


def _advice(
    obj: CloudRunIdentity, account: Target, findings: AccountFindings, paths: Mapping[tuple[str, str], str]
) -> Iterator[Recommendation]:
    if findings.unused and not obj.spec.disabled:
        yield _unused_account(findings.unused, account)
    for movement in findings.lateral_movements:
        yield _lateral_movement(movement, account)
    for found, usage in findings.usages():
        yield _about_role(found, usage, account, paths.get((found.role, found.condition), ""))


def _unused_account(unused: UnusedAccount, account: Target) -> Recommendation:
    last = f"since {unused.last_used:%Y-%m-%d}" if unused.last_used else "in the last 90 days"
    return Recommendation(
        kind=GoogleAdviceKind.UNUSED_ACCOUNT,
        text=f"{account.name} has not authenticated {last}; delete the identity, or set spec.disabled: true",
        source=RecommendationSource.RECOMMENDER,
    )


def _lateral_movement(movement: LateralMovement, account: Target) -> Recommendation:
    member = service_account_member(movement.impersonator)
    remedy = removal_command(account.project_id, movement.role, member)
    return Recommendation(
        kind=GoogleAdviceKind.LATERAL_MOVEMENT,
        text=(
            f"{movement.impersonator} of another project can act as {account.name} with {movement.role} on "
            f"the project; instead: spec.users of the identities that it needs, and {remedy}"
        ),
        source=RecommendationSource.RECOMMENDER,
        role=movement.role,
    )


def _about_role(
    found: RoleRecommendation, usage: PermissionUsage | None, account: Target, path: str
) -> Recommendation:
    where = f"{path}: " if path else ""
    only = f" if {found.condition}" if found.condition else ""
    grant = f"{where}{found.role} on project {account.project_id}{only}"
    used = f": {len(usage.used)} of {usage.total} permissions used in 90 days" if usage else ""
    if found.replace_by:
        change = f"instead: {', '.join(found.replace_by)}"
    elif found.is_customizable:
        needed = f" with {some(usage.needed)}" if usage else ""
        change = f"instead: a CustomRole{needed}"
    else:
        used = " was not used in 90 days"
        command = removal_command(account.project_id, found.role, found.member, found.condition)
        change = "remove it" if path else command
    return Recommendation(
        kind=GoogleAdviceKind.UNUSED_ROLE if found.is_removal else GoogleAdviceKind.EXCESS_PERMISSIONS,
        text=f"{grant}{used}; {change} ({COMMAND} --project {account.project_id})",
        source=RecommendationSource.RECOMMENDER,
        role=found.role,
        replace_by=found.replace_by,
        name=found.name,
    )
