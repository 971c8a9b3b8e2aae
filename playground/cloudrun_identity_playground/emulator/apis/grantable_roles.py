"""Rules for the predefined roles that a policy may grant, by the kind of its resource."""

from __future__ import annotations

import re

from cloudrun_identity.iam.role_catalog import PredefinedRole

# Google adds services, and with them such a role for the agent of each. Real policies contain many of them.
_SERVICE_AGENT = re.compile(r"roles/[A-Za-z0-9]+\.(?:[A-Za-z0-9]+S|[sS])erviceAgent")

ABOVE_PROJECTS = frozenset(
    f"roles/{name}"
    for name in (
        "billing.admin",
        "billing.costsManager",
        "billing.creator",
        "billing.projectCostsManager",
        "billing.user",
        "billing.viewer",
        "cloudsupport.admin",
        "cloudsupport.viewer",
        "dlp.orgdriver",
        "iam.denyAdmin",
        "iam.denyReviewer",
        "iam.organizationRoleAdmin",
        "iam.organizationRoleViewer",
        "iam.workforcePoolAdmin",
        "orgpolicy.policyAdmin",
        "resourcemanager.folderAdmin",
        "resourcemanager.folderCreator",
        "resourcemanager.folderEditor",
        "resourcemanager.folderIamAdmin",
        "resourcemanager.folderMover",
        "resourcemanager.folderViewer",
        "resourcemanager.organizationAdmin",
        "resourcemanager.organizationViewer",
        "resourcemanager.projectCreator",
        "resourcesettings.admin",
        "securitycenter.assetsDiscoveryRunner",
        "securitycenter.notificationConfigEditor",
        "securitycenter.notificationConfigViewer",
        "securitycenter.sourcesAdmin",
        "securitycenter.sourcesEditor",
        "securityposture.admin",
    )
)
"""Roles that can be granted on folders, organizations or billing accounts only.

Google's pages of roles name an organization, folder, billing account or workforce pool as the lowest-level
resource of each: https://docs.cloud.google.com/iam/docs/roles-permissions/resourcemanager, `…/billing` and so
on, as of 2026-05-30. Of `organizationAdmin` they name none; it acts on organizations.
"""


def is_grantable(
    role: str, known: PredefinedRole | None, permission_prefix: str, *, on_project: bool
) -> bool:
    """Return whether Google accepts a predefined role in a policy; `known` describes the role, if it exists.

    A role is grantable on a resource if one of its permissions applies to it: one with `permission_prefix`.
    An empty prefix stands for projects and what is above, where all permissions apply. For example, Google
    refuses `roles/secretmanager.secretAccessor` and `roles/storage.admin` on a service account:
    https://github.com/hashicorp/terraform-provider-google/issues/5415.
    """
    if on_project and role in ABOVE_PROJECTS:
        return False
    if known is None:
        return not permission_prefix and bool(_SERVICE_AGENT.fullmatch(role))
    return not permission_prefix or any(each.startswith(permission_prefix) for each in known.permissions)
