"""Checks of the quotas and limits that a ManagedProject uses up."""

from typing import Final

from cloudrun_identity.api import MAX_GROUPS, MAX_PRINCIPALS
from cloudrun_identity.gcp.custom_roles import CustomRoles
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.policy.usage import usage_of
from cloudrun_identity.reconcile.advice import advised

from .check_results import Result, failed, passed, skipped

DEFAULT_ACCOUNTS: Final = 100
"""Service accounts of a project, unless Google raised the quota (https://cloud.google.com/iam/quotas)."""

MAX_CUSTOM_ROLES: Final = 300
"""Custom roles of a project (https://cloud.google.com/iam/quotas)."""


async def check_quotas(
    check: str, project_id: str, accounts: ServiceAccounts, roles: CustomRoles, policies: Policies
) -> Result:
    """Check that the project has room for accounts, custom roles, and members in its policy.

    Google shows the quota of accounts in no API that the operator uses, so that a raised one is not known.
    """
    try:
        used_accounts = len(await accounts.list(project_id))
        used_roles = len(await roles.roles(project_id, 0.0))
        usage = usage_of(await policies.get(Target.project(project_id)))
    except GoogleError as error:
        return skipped(check, f"cannot be read: {advised(error)}")
    used = (
        f"{used_accounts} service accounts ({DEFAULT_ACCOUNTS} by default), {used_roles} of "
        f"{MAX_CUSTOM_ROLES} custom roles, {usage.principals} of {MAX_PRINCIPALS} members and "
        f"{usage.groups_and_domains} of {MAX_GROUPS} groups and domains in the policy of the project"
    )
    if used_roles >= MAX_CUSTOM_ROLES:
        return failed(check, used, f"gcloud iam roles list --project={project_id} --show-deleted")
    if usage.principals >= MAX_PRINCIPALS or usage.groups_and_domains >= MAX_GROUPS:
        return failed(check, used, f"gcloud projects get-iam-policy {project_id}")
    if used_accounts >= DEFAULT_ACCOUNTS:
        return skipped(check, f"{used}; whether Google raised the quota of service accounts is not known")
    return passed(check, used)
