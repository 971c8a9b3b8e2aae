"""Cloud Run workloads as values: their names, and their state as one read shows it."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cloudrun_identity.api import MULTI_REGION, TargetKind, WorkloadKind
from cloudrun_identity.iam.grants import Target

from .libraries import run_v2


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """Name of a service, job or worker pool."""

    kind: WorkloadKind
    """Kind."""

    project_id: str
    """Project."""

    location: str
    """Region, or `global` for a multi-region service."""

    name: str
    """Short name."""

    @property
    def target(self) -> Target:
        """The workload as the target of an IAM policy."""
        return Target(TargetKind(self.kind), self.project_id, self.location, self.name)

    @property
    def resource(self) -> str:
        """Relative resource name: `projects/P/locations/L/services/N`."""
        return self.target.resource

    def __str__(self) -> str:
        """Return the short form that the status shows: `Service europe-west1/checkout`."""
        return str(self.target)


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """State of a workload. Revisions are short names, and empty for a job."""

    workload: Workload
    """Name of the workload."""

    uid: str
    """Unique id. A recreated workload with the same name has another one."""

    etag: str
    """Version. A write with an older etag is ABORTED."""

    service_account: str
    """E-mail of the account in the template. If empty, the workload runs as the default compute account."""

    generation: int
    """Version of the desired state."""

    observed_generation: int
    """Generation that Cloud Run has processed."""

    reconciling: bool
    """True while Cloud Run processes a change."""

    ready: bool | None
    """Result of the terminal condition; None while it is undecided."""

    ready_message: str
    """Message of the terminal condition."""

    latest_created_revision: str
    """Newest revision."""

    latest_ready_revision: str
    """Newest revision that became ready."""

    template_revision: str
    """Name that the template pins for its revision; usually empty."""

    serving_revisions: tuple[str, ...]
    """Revisions with traffic, a tag or instances, in Google's order. LATEST is the latest ready revision."""

    last_modifier: str
    """E-mail of the principal that made the last change."""

    managed_by: str
    """Product that deploys the workload (`cloudfunctions`) and would revert a change, or the multi-region
    service of which it is the part in one region (`Service global/web`); usually empty."""

    invoker_iam_disabled: bool
    """True if the service allows unauthenticated invocation."""

    updated: float = 0.0
    """Time of the last change, in seconds since the epoch."""

    message: Any = field(default=None, compare=False, repr=False)
    """Plain protobuf message that was read, including fields that this client does not know."""

    @property
    def is_settled(self) -> bool:
        """True if Cloud Run has finished the latest change, with success or failure."""
        done = not self.reconciling and self.observed_generation >= self.generation
        return done and self.ready is not None

    @property
    def template_digest(self) -> str:
        """SHA-256 of the template without its service account and without the revision name that it pins.

        Equal digests mean that nothing else of the template was changed. Fields that this client does not
        know count. A different encoding by a later protobuf version reads as a change.
        """
        template = type(self.message.template)()
        template.CopyFrom(self.message.template)
        if self.workload.kind is WorkloadKind.JOB:
            template.template.service_account = ""
        else:
            template.service_account = template.revision = ""
        return hashlib.sha256(template.SerializeToString(deterministic=True)).hexdigest()

    @property
    def failed_revision(self) -> str:
        """Newest revision if it failed to become ready; empty otherwise."""
        is_late = self.latest_created_revision != self.latest_ready_revision
        return self.latest_created_revision if self.is_settled and is_late else ""


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution of a job that has not ended."""

    job: Workload
    """Job of the execution."""

    name: str
    """Short name."""

    service_account: str
    """E-mail of the account that the execution runs as. The job may have another one now."""


def state_of(workload: Workload, message: Any) -> WorkloadState:
    """Return the state in a `run_v2` Service, Job or WorkerPool."""
    message = type(message).pb(message)
    is_job = workload.kind is WorkloadKind.JOB
    return WorkloadState(
        workload=workload,
        uid=message.uid,
        etag=message.etag,
        service_account=workload_template(workload.kind, message).service_account,
        generation=message.generation,
        observed_generation=message.observed_generation,
        reconciling=message.reconciling,
        ready=_is_ready(message.terminal_condition.state),
        ready_message=message.terminal_condition.message,
        latest_created_revision="" if is_job else short_name(message.latest_created_revision),
        latest_ready_revision="" if is_job else short_name(message.latest_ready_revision),
        template_revision="" if is_job else message.template.revision,
        serving_revisions=_serving(workload.kind, message),
        last_modifier=message.last_modifier,
        managed_by=message.labels.get("goog-managed-by", "") or _multi_region_service(workload, message),
        invoker_iam_disabled=workload.kind is WorkloadKind.SERVICE and message.invoker_iam_disabled,
        updated=message.update_time.seconds + message.update_time.nanos / 1e9,
        message=message,
    )


def _multi_region_service(workload: Workload, message: Any) -> str:
    """Return the multi-region service of which the workload is the part in one region; empty if none."""
    if workload.kind is not WorkloadKind.SERVICE or workload.location == MULTI_REGION:
        return ""
    if not message.HasField("multi_region_settings"):
        return ""
    return str(replace(workload, location=MULTI_REGION))


def with_service_account(state: WorkloadState, email: str) -> tuple[Any, tuple[str, ...]]:
    """Return the message to write for a new service account, and the paths of its changed fields.

    It carries the etag of the read. A revision name that the template pins is cleared, because Cloud Run
    refuses to use a name twice. Imperative fields are cleared: they act at each write that has them.
    """
    message = type(state.message)()
    message.CopyFrom(state.message)
    for imperative in IMPERATIVE_FIELDS[state.workload.kind]:
        message.ClearField(imperative)
    workload_template(state.workload.kind, message).service_account = email
    prefix = "template.template" if state.workload.kind is WorkloadKind.JOB else "template"
    paths = [f"{prefix}.service_account"]
    if state.template_revision:
        message.template.revision = ""
        paths.append("template.revision")
    return message, tuple(paths)


def workload_template(kind: WorkloadKind, message: Any) -> Any:
    """Return the template with the `service_account`, containers and volumes of the workload."""
    return message.template.template if kind is WorkloadKind.JOB else message.template


IMPERATIVE_FIELDS: Mapping[WorkloadKind, tuple[str, ...]] = {
    WorkloadKind.SERVICE: (),
    # "A unique string used as a suffix creating a new execution upon job create or update"
    # (https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs). A job is always written
    # as a whole. If a token is sent back, Cloud Run executes the job again, or refuses the token for ever:
    # https://github.com/hashicorp/terraform-provider-google/issues/24451
    WorkloadKind.JOB: ("start_execution_token", "run_execution_token"),
    WorkloadKind.WORKER_POOL: (),
}
"""Fields of a workload that make Cloud Run act, rather than describe a state. They are never sent back."""


def short_name(resource: str) -> str:
    """Return the last segment of a resource name."""
    return resource.rpartition("/")[2]


def _serving(kind: WorkloadKind, message: Any) -> tuple[str, ...]:
    latest = short_name(message.latest_ready_revision) if kind is not WorkloadKind.JOB else ""
    match kind:
        case WorkloadKind.SERVICE:
            # The statuses show what serves now. Before the first status, the desired traffic is used.
            routes = [
                (short_name(route.revision), bool(route.percent or route.tag))
                for route in message.traffic_statuses or message.traffic
            ]
        case WorkloadKind.WORKER_POOL:
            routes = [
                (short_name(split.revision), bool(split.percent))
                for split in message.instance_split_statuses or message.instance_splits
            ]
        case WorkloadKind.JOB:
            return ()
    if not routes:
        routes = [("", True)]  # Google's default: everything goes to the latest ready revision
    return _distinct(revision or latest for revision, serves in routes if serves)


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))


def _is_ready(state: int) -> bool | None:
    """Return the result that a state of a condition shows; None while it is undecided."""
    match state:
        case run_v2.Condition.State.CONDITION_SUCCEEDED:
            return True
        case run_v2.Condition.State.CONDITION_FAILED:
            return False
        case _:
            return None
