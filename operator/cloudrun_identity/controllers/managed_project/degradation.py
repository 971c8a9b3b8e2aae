"""The condition Degraded of a project: what the operator cannot do there, and the command that changes it.

It is advice. The objects of the project that are not affected stay Ready, and so does the project.
"""

from collections.abc import Iterable, Iterator, Mapping

from cloudrun_identity.api import ConditionStatus, ManagedProject, MissingPermission, Reason
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.permissions import ACCOUNT_PERMISSIONS, ADVISORY_PERMISSIONS, FEATURES, needed
from cloudrun_identity.iam.wording import SHOWN, some
from cloudrun_identity.reconcile.advice import advised, grant_permissions, operator_name
from cloudrun_identity.reconcile.conditions import Finding

from .audit import WorkloadAudit

MISSING_PERMISSIONS = "MissingPermissions"
"""Reason if the operator lacks permissions that the guardrails make necessary."""


def missing_permissions(held: frozenset[str], project: ManagedProject) -> tuple[MissingPermission, ...]:
    """Return the permissions that the guardrails make necessary and that the operator does not hold."""
    return tuple(
        MissingPermission(permission=permission, feature=_shown(feature, permission))
        for feature in needed(project)
        for permission in FEATURES[feature]
        if permission not in held
    )


def degradation(
    project: ManagedProject,
    missing: Iterable[MissingPermission],
    operator: str,
    audit: WorkloadAudit,
    number: str = "",
) -> Finding:
    """Return the condition Degraded.

    `operator` is the e-mail that the operator acts as; empty if unknown. `number` is that of the project.
    """
    found = [
        *_disabled_apis(audit, {number: project.project_id}),
        *_missing_permissions(project, missing, operator),
    ]
    if not found:
        return Finding(ConditionStatus.FALSE, "AsExpected", "The operator can use the project")
    return Finding(ConditionStatus.TRUE, found[0].reason, ". ".join(each.message for each in found))


def _disabled_apis(audit: WorkloadAudit, project_ids: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the finding that Cloud Run is not enabled. It is the same for all locations."""
    for _, error in audit.unreadable:
        if error.fault is Fault.API_DISABLED:
            yield Finding(
                ConditionStatus.TRUE,
                Reason.API_DISABLED,
                f"Cloud Run cannot be used: {advised(error, project_ids)}",
            )
            return


def _missing_permissions(
    project: ManagedProject, missing: Iterable[MissingPermission], operator: str
) -> Iterator[Finding]:
    """Yield the finding about permissions on the project.

    The permissions over accounts are not among them: they may be granted on single accounts. Neither are
    those without which only advice is missing.
    """
    lacking = frozenset(each.permission for each in missing) - ACCOUNT_PERMISSIONS - ADVISORY_PERMISSIONS
    if not lacking:
        return
    listed = lacking if len(lacking) <= SHOWN else frozenset[str]()  # more would make the command too long
    remedy = grant_permissions(project.project_id, operator, listed)
    noun = "permission" if len(lacking) == 1 else "permissions"
    message = (
        f"{_sentence(operator_name(operator))} lacks {len(lacking)} {noun} in project "
        f"{project.project_id} that the guardrails make necessary ({some(sorted(lacking))}): {remedy}"
    )
    yield Finding(ConditionStatus.TRUE, MISSING_PERMISSIONS, message)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _shown(feature: str, permission: str) -> str:
    """Return the feature that needs the permission; some can be granted on single accounts instead."""
    unless = ", unless it is granted on the accounts" if permission in ACCOUNT_PERMISSIONS else ""
    return f"{feature}{unless}"
