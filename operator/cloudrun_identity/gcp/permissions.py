"""Permissions that the operator needs in a project, by feature."""

from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cloudrun_identity.api import TARGET_KINDS, KeyAdmission, LastUse, ManagedProject, kinds_where
from cloudrun_identity.iam.delegation import entries_on

CUSTOM_ROLES: Final = "custom roles"
KEYS: Final = "keys"
ATTACHING: Final = "attaching identities"
LAST_USE: Final = "reporting the last use of accounts and keys"
CROSS_PROJECT: Final = "reading whether other projects may use the accounts"


def _grant_features() -> Mapping[str, tuple[str, ...]]:
    """Return the permissions to manage grants, by the feature of the target kinds.

    The permission to read a resource is listed here only for a kind that no other feature reads.
    """
    features: defaultdict[str, set[str]] = defaultdict(set)
    for descriptor in TARGET_KINDS.values():
        if descriptor.contains_projects or not descriptor.permission_prefix:
            continue
        features[descriptor.feature] |= {*descriptor.permissions}
        if descriptor.is_admitted_by_name_only:
            features[descriptor.feature].add(descriptor.read_permission)
    return {feature: tuple(sorted(permissions)) for feature, permissions in features.items()}


FEATURES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "the project itself": ("resourcemanager.projects.get",),
        "service accounts": (
            "iam.serviceAccounts.create",
            "iam.serviceAccounts.delete",
            "iam.serviceAccounts.disable",
            "iam.serviceAccounts.enable",
            "iam.serviceAccounts.get",
            "iam.serviceAccounts.list",
            "iam.serviceAccounts.undelete",
            "iam.serviceAccounts.update",
        ),
        "reporting service accounts that escalate privileges": ("resourcemanager.projects.getIamPolicy",),
        CUSTOM_ROLES: (
            "iam.roles.create",
            "iam.roles.delete",
            "iam.roles.get",
            "iam.roles.list",
            "iam.roles.undelete",
            "iam.roles.update",
            "resourcemanager.projects.getIamPolicy",
        ),
        KEYS: (
            "iam.serviceAccountKeys.create",
            "iam.serviceAccountKeys.delete",
            "iam.serviceAccountKeys.disable",
        ),
        "reporting unmanaged keys": ("iam.serviceAccountKeys.list",),
        **_grant_features(),
        "reading workloads": (
            "run.executions.list",
            "run.jobs.get",
            "run.jobs.list",
            "run.revisions.get",
            "run.services.get",
            "run.services.list",
            "run.workerpools.get",
            "run.workerpools.list",
        ),
        ATTACHING: (
            "artifactregistry.repositories.downloadArtifacts",
            "iam.serviceAccounts.actAs",
            "run.jobs.update",
            "run.operations.get",
            "run.services.update",
            "run.workerpools.update",
        ),
        CROSS_PROJECT: ("orgpolicy.policy.get",),
        LAST_USE: (
            "monitoring.timeSeries.list",
            "policyanalyzer.serviceAccountKeyLastAuthenticationActivities.query",
            "policyanalyzer.serviceAccountLastAuthenticationActivities.query",
        ),
    }
)
"""Permissions by feature. All of them can be tested on a project.

Source: https://cloud.google.com/iam/docs/permissions-reference
"""

ACCOUNT_PERMISSIONS: Final = frozenset(
    {
        "iam.serviceAccounts.actAs",
        "iam.serviceAccounts.setIamPolicy",
        "iam.serviceAccountKeys.create",
        "iam.serviceAccountKeys.delete",
        "iam.serviceAccountKeys.disable",
    }
)
"""Permissions in `FEATURES` that permit acting as a service account, or managing its keys.

On a project they cover every service account in it, also accounts that the operator does not manage. They can
be granted on single service accounts instead.

Source: https://cloud.google.com/iam/docs/understanding-roles, under "Lowest-level resources" of
roles/iam.serviceAccountUser, roles/iam.serviceAccountAdmin and roles/iam.serviceAccountKeyAdmin.
"""

ABOVE_PROJECTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        TARGET_KINDS[kind].feature: (*TARGET_KINDS[kind].permissions, TARGET_KINDS[kind].read_permission)
        for kind in kinds_where(lambda kind: kind.contains_projects)
    }
)
"""Permissions on folders and organizations by feature. A role of a project cannot contain them."""


def granting_features(project: ManagedProject) -> frozenset[str]:
    """Return the features of grants on the kinds of targets that the project's guardrails admit."""
    return frozenset(
        descriptor.feature
        for kind, descriptor in TARGET_KINDS.items()
        if descriptor.default_roles or entries_on(project, kind)
    )


def needed(project: ManagedProject) -> tuple[str, ...]:
    """Return the features in `FEATURES` that the project's guardrails allow to use."""
    unused = {descriptor.feature for descriptor in TARGET_KINDS.values()} - granting_features(project)
    if not project.spec.guardrails.custom_roles.permissions:
        unused.add(CUSTOM_ROLES)
    if project.spec.guardrails.keys is KeyAdmission.DENIED:
        unused.add(KEYS)
    if project.spec.last_use is LastUse.IGNORE:
        unused.add(LAST_USE)
    return tuple(feature for feature in FEATURES if feature not in unused)
