"""Cloud Run v2: the common life cycle of services, jobs and worker pools."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from google.cloud import run_v2 as run
from google.longrunning import operations_pb2
from google.protobuf import field_mask_pb2

from cloudrun_identity.api import MULTI_REGION
from cloudrun_identity_playground.emulator.errors import already_exists, failed_precondition

from .actor import actor
from .executions import Executions
from .operations import Operations
from .paging import page, page_size
from .policies import Policies
from .policy_methods import PolicyMethods
from .projects import Project, ProjectRegistry
from .revisions import Revisions
from .rpc import Handler
from .run_kinds import RunKind
from .run_messages import check_etag, copy_of, merged, sent_in, set_ready, settle
from .run_names import WorkloadNames
from .stamps import Stamps

_KEPT_FOR = 30 * 24 * 3600  # seconds from the deletion to the expiry
_NEVER_READY = run.Condition.pb()(state=run.Condition.State.CONDITION_PENDING)


@dataclass
class _Workload:
    """A workload as it is read, and a pending change to a message (None is a deletion) at a due time."""

    shown: Any
    due: float | None = None
    becomes: Any = None

    @property
    def latest(self) -> Any:
        """The message that a further change is based on."""
        return self.shown if self.becomes is None else self.becomes


class Deployments(Protocol):
    """Permissions to deploy: `access.deployments.Deployments`.

    All methods raise GoogleError: PERMISSION_DENIED.
    """

    def check_creation(self, rpc: str, permission: str, project: Project) -> None:
        """Check that the caller of `rpc` may create a workload in `project`."""

    def check_identity(self, project: Project, email: str) -> None:
        """Check that the caller may run a workload of `project` as the account."""

    def check_images(self, template: Any) -> None:
        """Check that the caller may read the images of a template."""


class Workloads:
    """One of `google.cloud.run.v2.{Services,Jobs,WorkerPools}`.

    A change is shown as reconciling, and takes effect when its operation is done. The token of a job creates
    an execution at each create or update that sends it. A token that was used is refused, and no longer
    shown after the job is executed in another way
    (https://github.com/GoogleCloudPlatform/magic-modules/pull/19060).
    """

    def __init__(
        self,
        kind: RunKind,
        projects: ProjectRegistry,
        deployments: Deployments,
        policies: Policies,
        revisions: Revisions,
        executions: Executions,
        operations: Operations,
        stamps: Stamps,
        clock: Callable[[], float],
    ) -> None:
        self.kind = kind
        self._names = WorkloadNames(kind, projects)
        self._deployments = deployments
        self._policies = policies
        self._revisions = revisions
        self._executions = executions
        self._operations = operations
        self._stamps = stamps
        self._clock = clock
        self._workloads: dict[str, _Workload] = {}
        self._failures: dict[str, str] = {}

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers of this kind by RPC; `JobRuns` has `RunJob`."""
        noun = self.kind.noun
        own: dict[str, Handler] = {
            f"Create{noun}": self.create,
            f"Get{noun}": self.get,
            f"List{noun}s": self.list,
            f"Update{noun}": self.update,
            f"Delete{noun}": self.delete,
        }
        service = f"google.cloud.run.v2.{noun}s"
        policy = PolicyMethods(
            service, lambda _: self.kind.policy, self._policies, lambda name: self.read(name).name
        )
        return {f"{service}/{name}": handler for name, handler in own.items()} | dict(policy.handlers())

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the workloads as they are read now, by name."""
        seen = (self._find(name) for name in sorted(self._workloads))
        return iter([self._reported(workload.shown) for workload in seen if workload is not None])

    def create(self, request: Any) -> operations_pb2.Operation:
        """Create a workload; return an operation."""
        short_name = getattr(request, f"{self.kind.field}_id")
        name = self._names.new(request.parent, short_name)
        if self._find(name) is not None:
            raise already_exists(f"Resource '{short_name}' already exists.")
        return self._create(name, sent_in(request, self.kind), request.validate_only)

    def get(self, request: Any) -> Any:
        """Return a workload."""
        return self.kind.wrap(self.read(request.name))

    def read(self, name: str) -> Any:
        """Return the workload of a name as plain protobuf.

        Raises GoogleError: NOT_FOUND.
        """
        canonical = self._names.canonical(name)
        workload = self._find(canonical)
        if workload is None:
            raise self._names.missing(canonical)
        return self._reported(workload.shown)

    def fail_to_start(self, name: str, message: str) -> None:
        """Make new revisions of a workload fail with this message; an empty one ends that.

        Raises GoogleError: NOT_FOUND.
        """
        self._failures[self.read(name).name] = message

    def forget_token(self, name: str) -> None:
        """Remove the execution token of a job, because the job is executed in another way."""
        workload = self._find(name)
        if workload is not None:
            for message in filter(None, (workload.shown, workload.becomes)):
                for field in ("start_execution_token", "run_execution_token"):
                    message.ClearField(field)

    def list(self, request: Any) -> Any:
        """List the workloads of one location."""
        prefix = f"{self._names.parent(request.parent)}/{self.kind.collection}/"
        mine = {workload.name: workload for workload in self if workload.name.startswith(prefix)}
        shown, token = page(mine, request.page_token, page_size(request.page_size, 100, 1000))
        return self.kind.list_response(shown, token)

    def update(self, request: Any) -> operations_pb2.Operation:
        """Change a workload, by mask if its API has one; return an operation."""
        sent = sent_in(request, self.kind)
        name = self._names.canonical(sent.name)
        workload = self._find(name)
        if workload is None:
            if request.allow_missing:
                self._deployments.check_creation(
                    f"google.cloud.run.v2.{self.kind.noun}s/Update{self.kind.noun}",
                    f"run.{self.kind.collection.lower()}.create",
                    self._names.project(name),
                )
                return self._create(name, sent, request.validate_only)
            raise self._names.missing(name)
        current = workload.latest
        check_etag(sent.etag, current)
        # UpdateJob has no mask: a job is always sent as a whole.
        mask = request.update_mask if self.kind.has_revisions else field_mask_pb2.FieldMask()
        desired = merged(current, sent, mask, self.kind, self._names.project(name).compute_account)
        changes_template = desired.template != current.template
        template = self.kind.identity_template(desired)
        if changes_template:
            self._deployments.check_identity(self._names.project(name), template.service_account)
        self._deployments.check_images(template)
        self._check_token(desired)
        renews = self.kind.has_revisions and (
            changes_template or getattr(request, "force_new_revision", False)
        )
        if renews:
            self._revisions.check_free(name, desired.template.revision)
        if request.validate_only:
            return self._operation(desired, lambda: desired)
        desired.generation += desired != current
        self._start_in_regions(desired, new_revision=renews)
        return self._start(desired, new_revision=renews)

    def delete(self, request: Any) -> operations_pb2.Operation:
        """Delete a workload with its policy and revisions; return an operation."""
        shown = self.read(request.name)
        check_etag(request.etag, shown)
        going = copy_of(shown)
        self._stamps.put(going)
        going.delete_time.CopyFrom(going.update_time)
        going.expire_time.FromSeconds(going.delete_time.seconds + _KEPT_FOR)
        if request.validate_only:
            return self._operation(going, lambda: going)
        for name in _in_regions(going):
            if self._find(name) is not None:
                self._forget(name)
        going.generation += 1
        set_ready(going, run.Condition.State.CONDITION_PENDING)
        going.reconciling = True
        self._workloads[going.name] = _Workload(going, self._operations.done_at())

        def gone() -> Any:
            self._find(going.name)  # a due deletion, which removes the parts too
            settled = copy_of(going)
            settle(settled, self.kind)
            return settled

        return self._operation(going, gone)

    def _create(self, name: str, sent: Any, validate_only: bool) -> operations_pb2.Operation:
        workload = merged(
            self.kind.message(name=name),
            sent,
            field_mask_pb2.FieldMask(),
            self.kind,
            self._names.project(name).compute_account,
        )
        workload.uid = str(uuid.uuid4())
        workload.creator = actor()
        workload.generation = 1
        template = self.kind.identity_template(workload)
        self._deployments.check_identity(self._names.project(name), template.service_account)
        self._deployments.check_images(template)
        self._check_token(workload)
        if validate_only:
            return self._operation(workload, lambda: workload)
        self._start_in_regions(workload, new_revision=self.kind.has_revisions)
        return self._start(workload, new_revision=self.kind.has_revisions)

    def _start_in_regions(self, service: Any, *, new_revision: bool) -> None:
        """Deploy a multi-region service to its regions, as a service of the same name in each.

        Each has a policy of its own: `gcloud beta run deploy --regions` sets the policy in each region. The
        regions that were removed keep theirs until the service is deleted.
        """
        for name in _in_regions(service):
            part, existing = copy_of(service), self._find(name)
            part.name = name
            part.multi_region_settings.multi_region_id = service.uid
            part.uid = existing.latest.uid if existing else str(uuid.uuid4())
            part.generation = existing.latest.generation + 1 if existing else 1
            for field in ("latest_created_revision", "latest_ready_revision"):
                setattr(part, field, getattr(existing.latest, field) if existing else "")
            self._start(part, new_revision=new_revision)

    def _start(self, desired: Any, *, new_revision: bool) -> operations_pb2.Operation:
        """Show `desired` as reconciling, and apply it when its operation is done."""
        self._stamps.put(desired)
        desired.last_modifier = actor()
        if desired.generation == 1:
            desired.create_time.CopyFrom(desired.update_time)
        ready_at = None if self.kind.has_revisions else self._executions.start_by_token(desired)
        due = max(self._operations.done_at(), ready_at or 0.0)
        self._reported(desired)
        settled = copy_of(desired)
        settle(settled, self.kind)
        failure = self._add_revision(settled, desired) if new_revision else ""
        desired.reconciling = True
        if desired.observed_generation:
            set_ready(desired, run.Condition.State.CONDITION_PENDING)
        else:  # as recorded: a workload that was never ready reports nothing more
            desired.terminal_condition.CopyFrom(_NEVER_READY)
        self._workloads[desired.name] = _Workload(desired, due, settled)
        return self._operation(self._first_shown(desired), lambda: _came_up(settled, failure), due)

    def _first_shown(self, desired: Any) -> Any:
        """Return a workload as the operation of its change shows it until it is done."""
        if desired.generation > 1 or not self.kind.later:
            return desired
        shown = copy_of(desired)
        for field in self.kind.later:
            shown.ClearField(field)
        return shown

    def _check_token(self, workload: Any) -> None:
        if not self.kind.has_revisions:
            self._executions.check_token(workload)

    def _add_revision(self, settled: Any, desired: Any) -> str:
        """Add a revision to `settled`; return why it fails to start, or an empty string."""
        settled.latest_created_revision = self._revisions.create(desired)
        failure = self._failures.get(desired.name, "")
        if not failure:
            settled.latest_ready_revision = settled.latest_created_revision
            return ""
        short_name = settled.latest_created_revision.rpartition("/")[2]
        failure = f"Revision '{short_name}' is not ready and cannot serve traffic. {failure}"
        set_ready(settled, run.Condition.State.CONDITION_FAILED, failure)
        return failure

    def _find(self, name: str) -> _Workload | None:
        """Return the workload of a canonical name, after a due change."""
        workload = self._workloads.get(name)
        if workload is None or workload.due is None or self._clock() < workload.due:
            return workload
        if workload.becomes is None:
            self._forget(name)
            return None
        workload.shown, workload.becomes, workload.due = workload.becomes, None, None
        return workload

    def _reported(self, workload: Any) -> Any:
        """Return the workload; a job with the fields that report its executions."""
        if not self.kind.has_revisions:
            self._executions.report_on(workload)
        return workload

    def _forget(self, name: str) -> None:
        del self._workloads[name]
        self._failures.pop(name, None)
        self._revisions.drop(name)
        self._executions.drop(name)
        self._policies.drop(name)

    def _operation(
        self, metadata: Any, outcome: Callable[[], Any], done_at: float | None = None
    ) -> operations_pb2.Operation:
        return self._operations.start("/".join(metadata.name.split("/")[:4]), metadata, outcome, done_at)


def _in_regions(workload: Any) -> list[str]:
    """Return the names of a multi-region service in its regions; none for any other workload."""
    place = f"/locations/{MULTI_REGION}/"
    if place not in workload.name:
        return []
    return [
        workload.name.replace(place, f"/locations/{region}/", 1)
        for region in workload.multi_region_settings.regions
    ]


def _came_up(settled: Any, failure: str) -> Any:
    """Return the result of an operation: the workload, or the error of its new revision."""
    if failure:
        raise failed_precondition(failure)
    return settled
