"""What Cloud Run, and then the workload itself, will ask for: looked at before the workload is moved.

Advice, never authorisation: only an account that is missing or disabled holds up a move, because no workload
could run as it. Answers are shared and aged, so that many attachments together cost few calls.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from cloudrun_identity.api import ConditionType, PreflightCheck, PreflightState
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.permission_checks import ADVISORY_MAX_AGE, AccessState, PermissionChecks
from cloudrun_identity.gcp.projects import cloud_run_service_agent
from cloudrun_identity.gcp.workload_dependencies import ResourceRef, WorkloadDependencies, dependencies_of
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.reconcile.conditions import Finding
from cloudrun_identity.reconcile.preconditions import is_delegated

from . import remedies
from .attachment import AttachmentWant
from .checks import failed, line, passed, unknown
from .cross_project import CROSS_PROJECT_CHECKS, Crossing, acting, allowing, cross_project_ready, lending

ACCOUNT: Final = "Account"
IMAGE: Final = "Image"
SECRETS: Final = "Secrets"
CLOUD_SQL: Final = "CloudSQL"
BUCKETS: Final = "Buckets"
TOPICS: Final = "Topics"


class Preflight:
    """Makes the checks; nothing that Google answers is an error here."""

    def __init__(self, inventory: Inventory, access: PermissionChecks) -> None:
        self._inventory = inventory
        self._access = access

    async def check(self, want: AttachmentWant, state: WorkloadState) -> tuple[PreflightCheck, ...]:
        """One line for each thing that is needed."""
        needs = dependencies_of(state)
        crossing = Crossing(want.account, want.managed_project, want.project_number, want.operator)
        lines = [await self._account(want), acting(crossing, await self._act_as(want))]
        lines += await self._images(want, needs)
        if want.is_cross_project:
            lines += [lending(crossing, await self._gives_tokens(want)), allowing(crossing)]
        lines += [each for each in await self._at_start(want, needs) if each is not None]
        return tuple(lines)

    async def _account(self, want: AttachmentWant) -> PreflightCheck:
        """Whether the account is there: reading it says so, where testing permissions could be wrong."""
        if not want.account.project_id:
            return unknown(ACCOUNT, f"{want.email} is in no project that its e-mail would tell")
        try:
            account = await self._inventory.service_account(
                want.account.project_id, want.email, ADVISORY_MAX_AGE
            )
        except GoogleError as error:
            return unknown(ACCOUNT, f"{want.email} cannot be read: {error.message}")
        if account is None:
            return failed(ACCOUNT, f"{want.email} does not exist; {remedies.creates_account(want)}")
        if account.disabled:
            return failed(ACCOUNT, f"{want.email} is disabled; {remedies.enables_account(want)}")
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
        # A role on the repository itself does as well, and that is not looked at.
        return [
            unknown(
                IMAGE,
                f"in project {', '.join(unreadable)} nothing tells that the operator may read the images, "
                f"as whoever updates a workload must; {remedies.lets_operator_read(want, unreadable[0])}",
            )
        ]

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
        hints = [
            (secret, await self._may(want, "secretmanager.versions.access", *_places(secret)))
            for secret in secrets
        ]
        return _summed(
            SECRETS,
            f"{want.email} seems to lack roles/secretmanager.secretAccessor on",
            hints,
            lambda secret: secret.name,
            lambda secret: remedies.lets_access_secret(want, secret),
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
            f"{want.email} seems to lack {role} for",
            hints,
            lambda each: f"{each.project}:{each.name}",
            lambda each: remedies.grants_role(want, role, each.project),
        )

    async def _buckets(self, want: AttachmentWant, buckets: Iterable[str]) -> PreflightCheck | None:
        home = _project(want.workload.project_id)
        # The bucket's own policy, and its project, are not looked at.
        hints = [
            (bucket, _unknown_if_no(await self._may(want, "storage.objects.get", home))) for bucket in buckets
        ]
        return _summed(
            BUCKETS,
            f"nothing on the project tells that {want.email} may read",
            hints,
            str,
            lambda bucket: remedies.lets_use_bucket(want, bucket),
        )

    async def _topics(self, want: AttachmentWant, topics: Iterable[ResourceRef]) -> PreflightCheck | None:
        # The topic's own policy is not looked at.
        hints = [
            (
                f"projects/{topic.project}/topics/{topic.name}",
                _unknown_if_no(await self._may(want, "pubsub.topics.publish", _project(topic.project))),
            )
            for topic in topics
        ]
        return _summed(
            TOPICS,
            f"nothing on the project tells that {want.email} may publish to",
            hints,
            str,
            lambda topic: remedies.lets_publish(want, topic),
        )

    async def _may(self, want: AttachmentWant, permission: str, *targets: Target) -> AccessState:
        return await self._permits(want, service_account_member(want.email), permission, *targets)

    async def _permits(
        self, want: AttachmentWant, member: str, permission: str, *targets: Target
    ) -> AccessState:
        """What policies say, of projects that are lent to the object's namespace.

        A template names whatever its author likes: nobody is to learn by it how somebody else's project is.
        """
        namespace = want.obj.metadata.namespace
        delegated = [each for each in targets if is_delegated(each.project_id, namespace, want.cluster)]
        hint = (
            await self._access.member_access(member, permission, *delegated)
            if delegated
            else AccessState.UNKNOWN
        )
        return hint if len(delegated) == len(targets) else _unknown_if_no(hint)


def holds_up(lines: Iterable[PreflightCheck]) -> str:
    """Why the workload must not be moved: the message about its account, empty if that is well."""
    return next(
        (
            line.message or ""
            for line in lines
            if line.check == ACCOUNT and line.state is PreflightState.FAILED
        ),
        "",
    )


def all_passed(lines: Iterable[PreflightCheck]) -> bool:
    """Whether there is nothing to look at again."""
    return all(line.state is PreflightState.PASSED for line in lines)


def cross_project(
    want: AttachmentWant, lines: Iterable[PreflightCheck]
) -> dict[ConditionType, Finding] | None:
    """The condition CrossProjectReady, of an attachment to another project's account."""
    concerned = [each for each in lines if each.check in CROSS_PROJECT_CHECKS]
    if not want.is_cross_project or not concerned:
        return None
    return {ConditionType.CROSS_PROJECT_READY: cross_project_ready(concerned)}


def _account_target(want: AttachmentWant) -> Target:
    return Target.service_account(want.account.project_id or "-", want.email)


def _places(secret: ResourceRef) -> Iterator[Target]:
    yield Target.secret(secret.project, secret.name)
    yield _project(secret.project)


def _project(project_id: str) -> Target:
    return Target.project(project_id)


def _unknown_if_no(hint: AccessState) -> AccessState:
    return AccessState.UNKNOWN if hint is AccessState.NOT_GRANTED else hint


Thing = TypeVar("Thing")


def _summed(
    check: str,
    what: str,
    hints: Sequence[tuple[Thing, AccessState]],
    text: Callable[[Thing], str],
    remedy: Callable[[Thing], str],
) -> PreflightCheck | None:
    """One line for all things of a kind, which the worst decides; None if there is nothing of the kind."""
    if not hints:
        return None
    found = {hint for _, hint in hints}
    worst = next(
        (hint for hint in (AccessState.NOT_GRANTED, AccessState.UNKNOWN) if hint in found),
        AccessState.GRANTED,
    )
    lacking = [thing for thing, hint in hints if hint is worst]
    return line(check, worst, f"{what} {', '.join(map(text, lacking))}; {remedy(lacking[0])}")
