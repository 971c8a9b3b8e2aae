"""Preflight checks: what Cloud Run, and then the workload, needs to run as the account.

The checks are advice, not authorization. Only an account that does not exist, is disabled, or is not the one
that the identity manages blocks a reassignment. Answers are shared and cached, so that many attachments cost
few calls.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from cloudrun_identity.api import ConditionType, PreflightCheck, PreflightState, TargetKind
from cloudrun_identity.api.predefined_roles import PUBLISHER, SECRET_ACCESSOR
from cloudrun_identity.controllers.cross_project import (
    CROSS_PROJECT_CHECKS,
    CrossProjectUse,
    act_as_check,
    check_of,
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
from cloudrun_identity.gcp.workload_dependencies import ResourceRef, WorkloadDependencies, dependencies_of
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.admission import Admitted
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.reconcile.advice import advised
from cloudrun_identity.reconcile.conditions import Finding
from cloudrun_identity.reconcile.guardrail_checks import delegated_project, guardrail_facts, is_delegated

from . import remedies
from .attachment import AttachmentWant

ACCOUNT: Final = "Account"
IMAGE: Final = "Image"
SECRETS: Final = "Secrets"
CLOUD_SQL: Final = "CloudSQL"
BUCKETS: Final = "Buckets"
TOPICS: Final = "Topics"

_ACCESS: Final = "secretmanager.versions.access"
_PUBLISH: Final = "pubsub.topics.publish"


class Preflight:
    """Makes the checks. An error of Google Cloud is a check without a result."""

    def __init__(self, inventory: Inventory, access: PermissionChecks) -> None:
        self._inventory = inventory
        self._access = access

    async def check(
        self, want: AttachmentWant, state: WorkloadState, max_age: float
    ) -> tuple[PreflightCheck, ...]:
        """Return one check for each requirement of the workload.

        The account may be read up to `max_age` seconds ago; 0 before a reassignment.
        """
        needs = dependencies_of(state)
        use = CrossProjectUse(want.account, want.managed_project, want.project_number, want.operator)
        lines = [await self._account(want, max_age), act_as_check(use, await self._act_as(want))]
        lines += await self._images(want, needs)
        if want.is_cross_project:
            lines += [service_agent_check(use, await self._gives_tokens(want)), org_policy_check(use)]
        lines += [each for each in await self._at_start(want, needs) if each is not None]
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

    async def _images(self, want: AttachmentWant, needs: WorkloadDependencies) -> list[PreflightCheck]:
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

    async def _at_start(
        self, want: AttachmentWant, needs: WorkloadDependencies
    ) -> list[PreflightCheck | None]:
        return [
            await self._secrets(want, needs.secrets),
            await self._sql_instances(want, needs.sql_instances),
            await self._buckets(want, needs.buckets),
            await self._topics(want, needs.topics),
        ]

    async def _secrets(self, want: AttachmentWant, secrets: Iterable[ResourceRef]) -> PreflightCheck | None:
        """Return whether the account may access the secrets.

        A template can name any secret. The result discloses only secrets on which the guardrails admit
        grants of the namespace.
        """
        hints: list[tuple[ResourceRef, AccessState]] = []
        remedy: dict[ResourceRef, str] = {}
        for secret in secrets:
            target, home = _secret(secret), _project(secret.project)
            if not may_grant(want, target, SECRET_ACCESSOR, _ACCESS):
                # The policy of the project shows nothing about single secrets.
                hints.append((secret, _unknown_if_no(await self._may(want, _ACCESS, home))))
                remedy[secret] = remedies.ask_for_secret(secret)
                continue
            hint = await self._may(want, _ACCESS, target, home)
            missing = hint is not AccessState.GRANTED and await self._access.is_missing(target)
            hints.append((secret, AccessState.NOT_GRANTED if missing else hint))
            remedy[secret] = (
                remedies.create_secret(secret) if missing else remedies.let_access_secret(want, secret)
            )
        return _summed(
            SECRETS,
            f"{want.email} appears to lack {SECRET_ACCESSOR} on",
            hints,
            lambda secret: secret.name,
            remedy.__getitem__,
        )

    async def _sql_instances(
        self, want: AttachmentWant, instances: Iterable[ResourceRef]
    ) -> PreflightCheck | None:
        role = "roles/cloudsql.client"
        hints = [
            (each, await self._may(want, "cloudsql.instances.connect", _project(each.project)))
            for each in instances
        ]
        return _summed(
            CLOUD_SQL,
            f"{want.email} appears to lack {role} for",
            hints,
            lambda each: f"{each.project}:{each.name}",
            lambda each: remedies.grant_role(want, role, each.project),
        )

    async def _buckets(self, want: AttachmentWant, buckets: Iterable[str]) -> PreflightCheck | None:
        home = _project(want.workload.project_id)
        # The policies of the bucket and of its project are not checked.
        hints = [
            (bucket, _unknown_if_no(await self._may(want, "storage.objects.get", home))) for bucket in buckets
        ]
        return _summed(
            BUCKETS,
            f"nothing on the project shows that {want.email} may read",
            hints,
            str,
            lambda bucket: remedies.let_use_bucket(want, bucket),
        )

    async def _topics(self, want: AttachmentWant, topics: Iterable[ResourceRef]) -> PreflightCheck | None:
        """Return whether the account may publish to the topics.

        As for secrets, the result discloses only the policies of topics on which the guardrails admit grants
        of the namespace.
        """
        hints = []
        for topic in topics:
            target = Target(TargetKind.PUB_SUB_TOPIC, topic.project, name=topic.name)
            seen = [_project(topic.project)]
            if may_grant(want, target, PUBLISHER, _PUBLISH):
                seen.insert(0, target)
            hints.append((topic, _unknown_if_no(await self._may(want, _PUBLISH, *seen))))
        return _summed(
            TOPICS,
            f"nothing that the namespace may see shows that {want.email} may publish to",
            hints,
            lambda topic: f"projects/{topic.project}/topics/{topic.name}",
            lambda topic: remedies.let_publish(want, topic),
        )

    async def _may(self, want: AttachmentWant, permission: str, *targets: Target) -> AccessState:
        return await self._permits(want, service_account_member(want.email), permission, *targets)

    async def _permits(
        self, want: AttachmentWant, member: str, permission: str, *targets: Target
    ) -> AccessState:
        """Return what the policies grant, in projects that are delegated to the object's namespace.

        A template can name any resource. It must not disclose what another team's project grants.
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


def may_grant(want: AttachmentWant, target: Target, role: str, permission: str) -> bool:
    """Return whether an IAMBinding of the attachment's namespace could grant the account the role on it.

    `permission` is the one in the role that is needed.
    """
    namespace = want.obj.metadata.namespace
    project = delegated_project(target.project_id, namespace, want.cluster)
    if project is None:
        return False
    request = GrantRequest(
        namespace=namespace,
        target=replace(target, project_id=project.project_id),
        role=role,
        member=want.account.identity or service_account_member(want.email),
        permissions=frozenset({permission}),
    )
    return isinstance(decide(request, project, guardrail_facts(project, want.cluster)), Admitted)


def _secret(secret: ResourceRef) -> Target:
    return Target(TargetKind.SECRET, secret.project, name=secret.name)


def _project(project_id: str) -> Target:
    return Target(TargetKind.PROJECT, project_id)


def _unknown_if_no(hint: AccessState) -> AccessState:
    return AccessState.UNKNOWN if hint is AccessState.NOT_GRANTED else hint


Resource = TypeVar("Resource")


def _summed(
    check: str,
    what: str,
    hints: Sequence[tuple[Resource, AccessState]],
    text: Callable[[Resource], str],
    remedy: Callable[[Resource], str],
) -> PreflightCheck | None:
    """Return one check for all resources of a kind, as good as the worst; None if there are none."""
    if not hints:
        return None
    found = {hint for _, hint in hints}
    worst = next(
        (hint for hint in (AccessState.NOT_GRANTED, AccessState.UNKNOWN) if hint in found),
        AccessState.GRANTED,
    )
    lacking = [resource for resource, hint in hints if hint is worst]
    return check_of(check, worst, f"{what} {', '.join(map(text, lacking))}; {remedy(lacking[0])}")
