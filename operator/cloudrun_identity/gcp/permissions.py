"""What the operator needs to be allowed in a project, by what it is needed for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

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
        "custom roles": (
            "iam.roles.create",
            "iam.roles.delete",
            "iam.roles.get",
            "iam.roles.list",
            "iam.roles.undelete",
            "iam.roles.update",
        ),
        "grants on service accounts": (
            "iam.serviceAccounts.getIamPolicy",
            "iam.serviceAccounts.setIamPolicy",
        ),
        "grants on the project": (
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
        "grants on secrets": (
            "secretmanager.secrets.getIamPolicy",
            "secretmanager.secrets.setIamPolicy",
        ),
        "attaching identities": (
            "artifactregistry.repositories.downloadArtifacts",
            "iam.serviceAccounts.actAs",
            "run.jobs.get",
            "run.jobs.list",
            "run.jobs.update",
            "run.operations.get",
            "run.revisions.get",
            "run.services.get",
            "run.services.list",
            "run.services.update",
            "run.workerpools.get",
            "run.workerpools.list",
            "run.workerpools.update",
        ),
    }
)
"""Permissions by feature, all of them testable on a project. Names: https://cloud.google.com/iam/docs/permissions-reference"""
