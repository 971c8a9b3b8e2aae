"""Preflight checks: what Cloud Run, and then the workload, needs to run as the account.

The checks are advice, not authorization. Only an account that does not exist, is disabled, or is not the one
that the identity manages blocks a reassignment. Answers are shared and cached, so that many attachments cost
few calls.
"""

from collections.abc import Iterable
from typing import Final

from cloudrun_identity.api import ConditionType, PreflightCheck, PreflightState, TargetKind
from cloudrun_identity.controllers.cross_project import (
    CROSS_PROJECT_CHECKS,
    CrossProjectUse,
    act_as_check,
    cross_project_ready,
    failed,
    org_policy_check,
    passed,
    service_agent_check,
    unknown,
)
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.permission_checks import ADVISORY_MAX_AGE, AccessState, PermissionChecks
from cloudrun_identity.gcp.projects import cloud_run_service_agent
from cloudrun_identity.gcp.workload_dependencies import needs_of
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.iam.workload_needs import WorkloadNeeds
from cloudrun_identity.reconcile.advice import advised
from cloudrun_identity.reconcile.conditions import Finding
from cloudrun_identity.reconcile.guardrail_checks import is_delegated

from . import remedies
from .access_checks import AccessChecks
from .attachment import AttachmentWant

ACCOUNT: Final = "Account"
IMAGE: Final = "Image"


class Preflight:
    """Makes the checks. An error of Google Cloud is a check without a result."""

    def __init__(self, inventory: Inventory, access: PermissionChecks) -> None:
        self._inventory = inventory
        self._access = access
        self._needs = AccessChecks(access)

    async def check(
        self, want: AttachmentWant, state: WorkloadState, max_age: float
    ) -> tuple[PreflightCheck, ...]:
        """Return one check for each requirement of the workload.

        The account may be read up to `max_age` seconds ago; 0 before a reassignment.
        """
        needs = needs_of(state, want.project_number)
        use = CrossProjectUse(want.account, want.managed_project, want.project_number, want.operator)
        lines = [await self._account(want, max_age), act_as_check(use, await self._act_as(want))]
        lines += await self._images(want, needs)
        if want.is_cross_project:
            lines += [service_agent_check(use, await self._gives_tokens(want)), org_policy_check(use)]
        lines += await self._needs.check(want, needs.needs)
        return tuple(lines)

    async def _account(self, want: AttachmentWant, max_age: float) -> PreflightCheck:
        """Return whether the account exists, is enabled and is the one of the identity.

        A read shows it. A test of permissions can be wrong. An account that another user created with the
        e-mail of the identity's account is not the identity's: the workload must not run as it.
        """
        if not want.account.project_id:
            return unknown(ACCOUNT, f"the e-mail {want.email} does not name the account's project")
        try:
            age = max_age or (0.0 if want.account.unique_id else ADVISORY_MAX_AGE)
            account = await self._inventory.service_account(want.account.project_id, want.email, age)
        except GoogleError as error:
            return unknown(ACCOUNT, f"{want.email} cannot be read: {advised(error)}")
        if account is None:
            return failed(ACCOUNT, f"{want.email} does not exist; {remedies.create_account(want)}")
        if want.account.unique_id not in ("", account.unique_id):
            return failed(
                ACCOUNT,
                f"{want.email} was deleted and created again by another client; "
                f"{want.account.identity} reports how to proceed",
            )
        if account.disabled:
            return failed(ACCOUNT, f"{want.email} is disabled; {remedies.enable_account(want)}")
        return passed(ACCOUNT)

    async def _act_as(self, want: AttachmentWant) -> AccessState:
        return await self._access.operator_access(
            "iam.serviceAccounts.actAs", _account_target(want), want.workload.project_id
        )

    async def _gives_tokens(self, want: AttachmentWant) -> AccessState:
        agent = service_account_member(cloud_run_service_agent(want.project_number))
        permission, account = "iam.serviceAccounts.getAccessToken", _account_target(want)
        if await self._access.member_access(agent, permission, account) is AccessState.GRANTED:
            return AccessState.GRANTED
        return await self._permits(want, agent, permission, _project(want.account.project_id))

    async def _images(self, want: AttachmentWant, needs: WorkloadNeeds) -> list[PreflightCheck]:
        unreadable = [
            project
            for project in needs.image_projects
            if await self._access.operator_access(
                "artifactregistry.repositories.downloadArtifacts", _project(project), want.workload.project_id
            )
            is not AccessState.GRANTED
        ]
        if not needs.image_projects:
            return []
        if not unreadable:
            return [passed(IMAGE)]
        # A role on the repository is enough, too, and is not checked.
        remedy = remedies.let_operator_read_images(want, unreadable[0])
        message = (
            f"the operator has to read the images to update the workload, and nothing on project "
            f"{', '.join(unreadable)} shows that it may; {remedy}"
        )
        return [unknown(IMAGE, message)]

    async def _permits(
        self, want: AttachmentWant, member: str, permission: str, *targets: Target
    ) -> AccessState:
        """Return what the policies grant, in projects that are delegated to the object's namespace.

        A reference can name any project. It must not disclose what another team's project grants.
        """
        namespace = want.obj.metadata.namespace
        delegated = [each for each in targets if is_delegated(each.project_id, namespace, want.cluster)]
        hint = (
            await self._access.member_access(member, permission, *delegated)
            if delegated
            else AccessState.UNKNOWN
        )
        return hint if len(delegated) == len(targets) else _unknown_if_no(hint)


def blocking_message(checks: Iterable[PreflightCheck]) -> str:
    """Return why not to reassign the workload: the failed check of its account; empty if there is none."""
    failures = (
        each.message or "" for each in checks if each.check == ACCOUNT and each.state is PreflightState.FAILED
    )
    return next(failures, "")


def all_passed(checks: Iterable[PreflightCheck]) -> bool:
    """Return whether no check needs another look."""
    return all(each.state is PreflightState.PASSED for each in checks)


def cross_project(
    want: AttachmentWant, checks: Iterable[PreflightCheck]
) -> dict[ConditionType, Finding] | None:
    """Return the condition CrossProjectReady of an attachment to another project's account."""
    requirements = [each for each in checks if each.check in CROSS_PROJECT_CHECKS]
    if not want.is_cross_project or not requirements:
        return None
    return {ConditionType.CROSS_PROJECT_READY: cross_project_ready(requirements)}


def _account_target(want: AttachmentWant) -> Target:
    return Target(TargetKind.SERVICE_ACCOUNT, want.account.project_id or "-", name=want.email)


def _project(project_id: str) -> Target:
    return Target(TargetKind.PROJECT, project_id)


def _unknown_if_no(hint: AccessState) -> AccessState:
    return AccessState.UNKNOWN if hint is AccessState.NOT_GRANTED else hint
