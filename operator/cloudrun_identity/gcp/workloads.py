"""Cloud Run workloads as values: which one, and what can be seen of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from google.cloud.run_v2 import types

from cloudrun_identity.api import TargetKind, WorkloadKind
from cloudrun_identity.iam.grants import Target


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """A service, job or worker pool."""

    kind: WorkloadKind
    project_id: str
    location: str
    name: str

    @property
    def target(self) -> Target:
        """The workload as the carrier of an IAM policy."""
        return Target(TargetKind(self.kind), self.project_id, self.location, self.name)

    @property
    def resource(self) -> str:
        """The relative resource name: `projects/P/locations/L/services/N`."""
        return self.target.resource

    def __str__(self) -> str:
        """The short form that statuses show: `Service europe-west1/checkout`."""
        return str(self.target)


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """What one read of a workload shows.

    `service_account` is empty where Google shows none; the default compute account then runs it. Revisions
    are short names; a job has none. `template_revision` is the name that the template pins, if any.
    `serving_revisions` are those with traffic, a tag or a share of the instances, in Google's order, with
    LATEST resolved to the latest ready one. `ready` is None while the terminal condition is undecided.
    `managed_by` names a product that deploys the workload for its user (`cloudfunctions`) and would undo a
    change. `updated` is when it was last changed, in seconds since the epoch. `message` is what was read, as
    plain protobuf, with whatever fields this client does not know.
    """

    workload: Workload
    uid: str
    etag: str
    service_account: str
    generation: int
    observed_generation: int
    reconciling: bool
    ready: bool | None
    ready_message: str
    latest_created_revision: str
    latest_ready_revision: str
    template_revision: str
    serving_revisions: tuple[str, ...]
    last_modifier: str
    managed_by: str
    invoker_iam_disabled: bool
    updated: float = 0.0
    message: Any = field(default=None, compare=False, repr=False)

    @property
    def is_settled(self) -> bool:
        """Whether the platform is done with the latest change, for good or bad."""
        done = not self.reconciling and self.observed_generation >= self.generation
        return done and self.ready is not None

    @property
    def failed_revision(self) -> str:
        """The newest revision where it is not ready, though the platform is done with it; empty otherwise."""
        is_late = self.latest_created_revision != self.latest_ready_revision
        return self.latest_created_revision if self.is_settled and is_late else ""


@dataclass(frozen=True, slots=True)
class Execution:
    """A run of a job that has not ended; `service_account` is what it runs as, whatever the job says now."""

    job: Workload
    name: str
    service_account: str


def state_of(workload: Workload, message: Any) -> WorkloadState:
    """Read a `run_v2` Service, Job or WorkerPool."""
    message = type(message).pb(message)
    is_job = workload.kind is WorkloadKind.JOB
    return WorkloadState(
        workload=workload,
        uid=message.uid,
        etag=message.etag,
        service_account=account_holder(workload.kind, message).service_account,
        generation=message.generation,
        observed_generation=message.observed_generation,
        reconciling=message.reconciling,
        ready=_READY.get(message.terminal_condition.state),
        ready_message=message.terminal_condition.message,
        latest_created_revision="" if is_job else short_name(message.latest_created_revision),
        latest_ready_revision="" if is_job else short_name(message.latest_ready_revision),
        template_revision="" if is_job else message.template.revision,
        serving_revisions=_serving(workload.kind, message),
        last_modifier=message.last_modifier,
        managed_by=message.labels.get("goog-managed-by", ""),
        invoker_iam_disabled=workload.kind is WorkloadKind.SERVICE and message.invoker_iam_disabled,
        updated=message.update_time.seconds + message.update_time.nanos / 1e9,
        message=message,
    )


def moved(state: WorkloadState, email: str) -> tuple[Any, tuple[str, ...]]:
    """The message that was read with `email` for its account, and the paths of what differs.

    It bears the etag of that read. A revision name that the template pins is given up, because Cloud Run
    refuses to use a name twice.
    """
    message = type(state.message)()
    message.CopyFrom(state.message)
    account_holder(state.workload.kind, message).service_account = email
    prefix = "template.template" if state.workload.kind is WorkloadKind.JOB else "template"
    paths = [f"{prefix}.service_account"]
    if state.template_revision:
        message.template.revision = ""
        paths.append("template.revision")
    return message, tuple(paths)


def account_holder(kind: WorkloadKind, message: Any) -> Any:
    """The part of the message whose `service_account` the workload runs as."""
    return message.template.template if kind is WorkloadKind.JOB else message.template


def short_name(resource: str) -> str:
    """The last segment of a resource name; a short name is itself."""
    return resource.rpartition("/")[2]


def _serving(kind: WorkloadKind, message: Any) -> tuple[str, ...]:
    latest = short_name(message.latest_ready_revision) if kind is not WorkloadKind.JOB else ""
    match kind:
        case WorkloadKind.SERVICE:
            # The statuses say what does serve; before the first of them, the wish has to do.
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


_READY = {
    types.Condition.State.CONDITION_SUCCEEDED: True,
    types.Condition.State.CONDITION_FAILED: False,
}
