"""Preflight checks of the resources that the template of a workload names: one check for each kind of use.

A template can name any resource. The checks disclose only what the namespace of the attachment could find out
anyway: policies of projects that are delegated to it, and of resources on which the guardrails admit its
grants.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from cloudrun_identity.api import ManagedProject, PreflightCheck
from cloudrun_identity.controllers.cross_project import check_of
from cloudrun_identity.gcp.permission_checks import AccessState, PermissionChecks
from cloudrun_identity.gcp.projects import cloud_run_service_agent
from cloudrun_identity.iam.admission import Admitted, DeclaredIdentity
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.iam.workload_needs import Holder, Need
from cloudrun_identity.reconcile.guardrail_checks import delegated_project, guardrail_facts

from . import remedies
from .attachment import AttachmentWant


@dataclass(frozen=True, slots=True)
class _Finding:
    """A need with its state, and how to meet it."""

    need: Need
    state: AccessState
    remedy: str = ""


class AccessChecks:
    """Compares the needs of a workload with the policies that the operator may read."""

    def __init__(self, access: PermissionChecks) -> None:
        self._access = access

    async def check(self, want: AttachmentWant, needs: Iterable[Need]) -> list[PreflightCheck]:
        """Return one check for each kind of use, as good as its worst finding."""
        checks = []
        for name, group in groupby(needs, key=lambda need: need.access.check):
            found = [await self._finding(want, need) for need in group]
            checks.append(_summed(want, name, found))
        return checks

    async def _finding(self, want: AttachmentWant, need: Need) -> _Finding:
        """Return the state of one need."""
        project = delegated_project(need.target.project_id, want.obj.metadata.namespace, want.cluster)
        member = _member(want, need)
        if project is None:
            return _Finding(need, AccessState.UNKNOWN, remedies.grant_need(need, member))
        need = need.in_project(project.project_id)
        home, admitted = Target.project(project.project_id), may_grant(want, need, project)
        if not admitted and not need.target.is_project:
            # The policy of the project shows nothing about single resources.
            state = await self._state(member, need, home)
            return _Finding(need, _unknown_if_no(state), remedies.ask_for(need, project))
        state = await self._state(member, need, *dict.fromkeys((need.target, home)))
        if state is not AccessState.GRANTED and await self._is_missing(need):
            return _Finding(need, AccessState.NOT_GRANTED, remedies.create_resource(need))
        remedy = remedies.declare_need(want, need, project) if admitted else remedies.ask_for(need, project)
        return _Finding(need, state, remedy)

    async def _state(self, member: str, need: Need, *targets: Target) -> AccessState:
        condition = need.condition.expression if need.condition else ""
        return await self._access.member_access(member, need.access.permission, *targets, condition=condition)

    async def _is_missing(self, need: Need) -> bool:
        return not need.target.is_project and await self._access.is_missing(need.target)


def may_grant(want: AttachmentWant, need: Need, project: ManagedProject) -> bool:
    """Return whether an object of the attachment's namespace could declare the grant in the project."""
    is_identity = need.access.holder is Holder.IDENTITY
    member: str | DeclaredIdentity = _member(want, need)
    request = GrantRequest(
        namespace=want.obj.metadata.namespace,
        target=replace(need.target, project_id=project.project_id),
        role=need.access.role,
        member=want.account.identity or member if is_identity else member,
        permissions=need.access.permissions,
        condition=need.condition,
    )
    return isinstance(decide(request, project, guardrail_facts(project, want.cluster)), Admitted)


def _member(want: AttachmentWant, need: Need) -> str:
    """Return the principal that needs the access."""
    if need.access.holder is Holder.SERVICE_AGENT:
        return service_account_member(cloud_run_service_agent(want.project_number))
    return service_account_member(want.email)


def _summed(want: AttachmentWant, check: str, found: Sequence[_Finding]) -> PreflightCheck:
    """Return one check for all needs of a kind, with the remedy of the first one that is not met."""
    states = {each.state for each in found}
    worst = next(
        (state for state in (AccessState.NOT_GRANTED, AccessState.UNKNOWN) if state in states),
        AccessState.GRANTED,
    )
    lacking = [each for each in found if each.state is worst]
    by_role: dict[str, list[str]] = {}
    for each in lacking:
        by_role.setdefault(each.need.access.role, []).append(each.need.name)
    roles = " and ".join(f"{role} on {', '.join(names)}" for role, names in by_role.items())
    holder = _member(want, lacking[0].need).partition(":")[2]
    more = f"; for all of them: {remedies.suggest_command(want)}" if len(lacking) > 1 else ""
    return check_of(check, worst, f"{holder} appears to lack {roles}; {lacking[0].remedy}{more}")


def _unknown_if_no(state: AccessState) -> AccessState:
    return AccessState.UNKNOWN if state is AccessState.NOT_GRANTED else state
