"""What Cloud Run, and then the workload itself, will ask for: looked at before the workload is moved.

Advice, never authorisation: only an account that is missing or disabled holds up a move, because no workload
could run as it. Answers are shared and aged, so that many attachments together cost few calls.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from cloudrun_identity.api import (
    ConditionStatus,
    ConditionType,
    EffectiveCrossProjectUsage,
    PreflightCheck,
    PreflightState,
    TargetKind,
)
from cloudrun_identity.gcp.access import HINTS_AGE, Access, Hint
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.needs import Named, Needs, needs_of
from cloudrun_identity.gcp.projects import cloud_run_service_agent
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import service_account_member

from . import remedies
from .attachment import AttachmentWant
from .conditions import Finding

ACCOUNT: Final = "Account"
ACT_AS: Final = "ActAs"
IMAGE: Final = "Image"
SERVICE_AGENT: Final = "ServiceAgent"
ORG_POLICY: Final = "OrgPolicy"
SECRETS: Final = "Secrets"
CLOUD_SQL: Final = "CloudSQL"
BUCKETS: Final = "Buckets"
TOPICS: Final = "Topics"

_OF_CROSS_PROJECT = frozenset({ACT_AS, SERVICE_AGENT, ORG_POLICY})


class Preflight:
    """Makes the checks; nothing that Google answers is an error here."""

    def __init__(self, inventory: Inventory, access: Access) -> None:
        self._inventory = inventory
        self._access = access

    async def check(self, want: AttachmentWant, state: WorkloadState) -> tuple[PreflightCheck, ...]:
        """One line for each thing that is needed."""
        needs = needs_of(state)
        lines = [await self._account(want), await self._act_as(want), *await self._images(want, needs)]
        if want.is_cross_project:
            lines += [await self._service_agent(want), _org_policy(want)]
        lines += [each for each in await self._at_start(want, needs) if each is not None]
        return tuple(lines)

    async def _account(self, want: AttachmentWant) -> PreflightCheck:
        """Whether the account is there: reading it says so, where testing permissions could be wrong."""
        if not want.account.project_id:
            return _unknown(ACCOUNT, f"{want.email} is in no project that its e-mail would tell")
        try:
            account = await self._inventory.service_account(want.account.project_id, want.email, HINTS_AGE)
        except GoogleError as error:
            return _unknown(ACCOUNT, f"{want.email} cannot be read: {error.message}")
        if account is None:
            return _failed(ACCOUNT, f"{want.email} does not exist; {remedies.creates_account(want)}")
        if account.disabled:
            return _failed(ACCOUNT, f"{want.email} is disabled; {remedies.enables_account(want)}")
        return _passed(ACCOUNT)

    async def _act_as(self, want: AttachmentWant) -> PreflightCheck:
        hint = await self._access.operator_may(
            "iam.serviceAccounts.actAs", _account_target(want), want.workload.project_id
        )
        return _line(
            ACT_AS, hint, f"the operator may not act as {want.email}; {remedies.lets_operator_act(want)}"
        )

    async def _images(self, want: AttachmentWant, needs: Needs) -> list[PreflightCheck]:
        unreadable = [
            project
            for project in needs.image_projects
            if await self._access.operator_may(
                "artifactregistry.repositories.downloadArtifacts", _project(project), want.workload.project_id
            )
            is not Hint.YES
        ]
        if not needs.image_projects:
            return []
        if not unreadable:
            return [_passed(IMAGE)]
        # A role on the repository itself does as well, and that is not looked at.
        return [
            _unknown(
                IMAGE,
                f"in project {', '.join(unreadable)} nothing tells that the operator may read the images, "
                f"as whoever updates a workload must; {remedies.lets_operator_read(want, unreadable[0])}",
            )
        ]

    async def _service_agent(self, want: AttachmentWant) -> PreflightCheck:
        agent = cloud_run_service_agent(want.project_number)
        hint = await self._access.permits(
            service_account_member(agent),
            "iam.serviceAccounts.getAccessToken",
            _account_target(want),
            _project(want.account.project_id),
        )
        return _line(
            SERVICE_AGENT,
            hint,
            f"{agent} gets no tokens of {want.email}; {remedies.lends_account(want, agent)}",
        )

    async def _at_start(self, want: AttachmentWant, needs: Needs) -> list[PreflightCheck | None]:
        return [
            await self._secrets(want, needs.secrets),
            await self._sql_instances(want, needs.sql_instances),
            await self._buckets(want, needs.buckets),
            await self._topics(want, needs.topics),
        ]

    async def _secrets(self, want: AttachmentWant, secrets: Iterable[Named]) -> PreflightCheck | None:
        hints = [
            (secret, await self._permits(want, "secretmanager.versions.access", *_places(secret)))
            for secret in secrets
        ]
        return _summed(
            SECRETS,
            f"{want.email} seems to lack roles/secretmanager.secretAccessor on",
            hints,
            lambda secret: secret.name,
            lambda secret: remedies.lets_access_secret(want, secret),
        )

    async def _sql_instances(self, want: AttachmentWant, instances: Iterable[Named]) -> PreflightCheck | None:
        role = "roles/cloudsql.client"
        hints = [
            (each, await self._permits(want, "cloudsql.instances.connect", _project(each.project)))
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
            (bucket, _unknown_if_no(await self._permits(want, "storage.objects.get", home)))
            for bucket in buckets
        ]
        return _summed(
            BUCKETS,
            f"nothing on the project tells that {want.email} may read",
            hints,
            str,
            lambda bucket: remedies.lets_use_bucket(want, bucket),
        )

    async def _topics(self, want: AttachmentWant, topics: Iterable[Named]) -> PreflightCheck | None:
        # The topic's own policy is not looked at.
        hints = [
            (
                f"projects/{topic.project}/topics/{topic.name}",
                _unknown_if_no(await self._permits(want, "pubsub.topics.publish", _project(topic.project))),
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

    async def _permits(self, want: AttachmentWant, permission: str, *targets: Target) -> Hint:
        return await self._access.permits(service_account_member(want.email), permission, *targets)


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
    concerned = [line for line in lines if line.check in _OF_CROSS_PROJECT]
    if not want.is_cross_project or not concerned:
        return None
    return {ConditionType.CROSS_PROJECT_READY: Finding(*_cross_project(concerned))}


def _cross_project(lines: list[PreflightCheck]) -> tuple[ConditionStatus, str, str]:
    for state, status in (
        (PreflightState.FAILED, ConditionStatus.FALSE),
        (PreflightState.UNKNOWN, ConditionStatus.UNKNOWN),
    ):
        found = [line for line in lines if line.state is state]
        if found:
            return status, found[0].check, "; ".join(line.message or "" for line in found)
    return ConditionStatus.TRUE, "Passed", "the account may be used from the workload's project"


def _org_policy(want: AttachmentWant) -> PreflightCheck:
    constraint = "iam.disableCrossProjectServiceAccountUsage"
    match want.account.cross_project_usage:
        case EffectiveCrossProjectUsage.ALLOWED:
            return _passed(ORG_POLICY)
        case EffectiveCrossProjectUsage.DENIED:
            return _failed(
                ORG_POLICY,
                f"{constraint} is enforced in project {want.account.project_id}; "
                f"{remedies.allows_cross_project(want)}",
            )
        case EffectiveCrossProjectUsage.UNKNOWN:
            return _unknown(
                ORG_POLICY,
                f"nothing tells whether {constraint} is enforced in project {want.account.project_id}; "
                f"{remedies.allows_cross_project(want)}",
            )


def _account_target(want: AttachmentWant) -> Target:
    return Target(TargetKind.SERVICE_ACCOUNT, want.account.project_id or "-", name=want.email)


def _places(secret: Named) -> Iterator[Target]:
    yield Target(TargetKind.SECRET, secret.project, name=secret.name)
    yield _project(secret.project)


def _project(project_id: str) -> Target:
    return Target(TargetKind.PROJECT, project_id)


def _unknown_if_no(hint: Hint) -> Hint:
    return Hint.UNKNOWN if hint is Hint.NO else hint


Thing = TypeVar("Thing")


def _summed(
    check: str,
    what: str,
    hints: Sequence[tuple[Thing, Hint]],
    text: Callable[[Thing], str],
    remedy: Callable[[Thing], str],
) -> PreflightCheck | None:
    """One line for all things of a kind, which the worst decides; None if there is nothing of the kind."""
    if not hints:
        return None
    found = {hint for _, hint in hints}
    worst = next((hint for hint in (Hint.NO, Hint.UNKNOWN) if hint in found), Hint.YES)
    lacking = [thing for thing, hint in hints if hint is worst]
    return _line(check, worst, f"{what} {', '.join(map(text, lacking))}; {remedy(lacking[0])}")


def _line(check: str, hint: Hint, message: str) -> PreflightCheck:
    match hint:
        case Hint.YES:
            return _passed(check)
        case Hint.NO:
            return _failed(check, message)
        case Hint.UNKNOWN:
            return _unknown(check, f"not known, as far as the operator may look: {message}")


def _passed(check: str) -> PreflightCheck:
    return PreflightCheck(check=check, state=PreflightState.PASSED)


def _failed(check: str, message: str) -> PreflightCheck:
    return PreflightCheck(check=check, state=PreflightState.FAILED, message=message)


def _unknown(check: str, message: str) -> PreflightCheck:
    return PreflightCheck(check=check, state=PreflightState.UNKNOWN, message=message)
