"""What the operator needs to be allowed in a project, by what it is needed for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

CUSTOM_ROLES: Final = "custom roles"
KEYS: Final = "keys"
GRANTS_ON_PROJECT: Final = "grants on the project"
GRANTS_ON_SECRETS: Final = "grants on secrets"
CROSS_PROJECT: Final = "knowing whether accounts may be used by other projects"

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
        CUSTOM_ROLES: (
            "iam.roles.create",
            "iam.roles.delete",
            "iam.roles.get",
            "iam.roles.list",
            "iam.roles.undelete",
            "iam.roles.update",
        ),
        KEYS: (
            "iam.serviceAccountKeys.create",
            "iam.serviceAccountKeys.delete",
            "iam.serviceAccountKeys.disable",
        ),
        "looking for keys that nobody declares": ("iam.serviceAccountKeys.list",),
        "grants on service accounts": (
            "iam.serviceAccounts.getIamPolicy",
            "iam.serviceAccounts.setIamPolicy",
        ),
        GRANTS_ON_PROJECT: (
            "resourcemanager.projects.getIamPolicy",
            "resourcemanager.projects.setIamPolicy",
        ),
        "grants on workloads": (
            "run.jobs.getIamPolicy",
            "run.jobs.setIamPolicy",
            "run.services.getIamPolicy",
            "run.services.setIamPolicy",
            "run.workerpools.getIamPolicy",
            "run.workerpools.setIamPolicy",
        ),
        GRANTS_ON_SECRETS: (
            "secretmanager.secrets.getIamPolicy",
            "secretmanager.secrets.setIamPolicy",
        ),
        "looking at workloads": (
            "run.executions.list",
            "run.jobs.get",
            "run.jobs.list",
            "run.revisions.get",
            "run.services.get",
            "run.services.list",
            "run.workerpools.get",
            "run.workerpools.list",
        ),
        "attaching identities": (
            "artifactregistry.repositories.downloadArtifacts",
            "iam.serviceAccounts.actAs",
            "run.jobs.update",
            "run.operations.get",
            "run.services.update",
            "run.workerpools.update",
        ),
        CROSS_PROJECT: ("orgpolicy.policy.get",),
    }
)
"""Permissions by feature, all of them testable on a project. Names: https://cloud.google.com/iam/docs/permissions-reference"""
