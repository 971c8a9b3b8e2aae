"""Cloud Run v2: revisions of services and worker pools."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Iterable
from typing import Any

from google.cloud import run_v2 as run
from google.longrunning import operations_pb2

from cloudrun_identity_playground.emulator.errors import (
    already_exists,
    failed_precondition,
    invalid,
    not_found,
)

from .actor import actor
from .operations import Operations
from .paging import page, page_size
from .projects import ProjectRegistry
from .rpc import serves
from .run_messages import check_etag

_NAME = re.compile(
    r"projects/([^/]+)/(locations/[^/]+/(?:services|workerPools)/[^/]+)(?:/revisions/([^/]+))?"
)


class Revisions:
    """`google.cloud.run.v2.Revisions`."""

    def __init__(self, projects: ProjectRegistry, operations: Operations) -> None:
        self._projects = projects
        self._operations = operations
        self._revisions: dict[str, Any] = {}

    def create(self, workload: Any) -> str:
        """Create a revision from the workload's template and return its full name.

        Raises GoogleError: ALREADY_EXISTS, another revision has the name in the template.
        """
        short_name = workload.name.rpartition("/")[2]
        pinned = workload.template.revision
        revision_id = pinned or f"{short_name}-{workload.generation:05d}-{secrets.token_hex(2)[:3]}"
        name = f"{workload.name}/revisions/{revision_id}"
        self.check_free(workload.name, pinned)
        revision = run.Revision.pb()(
            name=name,
            uid=str(uuid.uuid4()),
            generation=1,
            observed_generation=1,
            service=short_name,
            creator=actor(),
            create_time=workload.update_time,
            update_time=workload.update_time,
            launch_stage=workload.launch_stage,
            etag=workload.etag,
        )
        _copy_common_fields(workload.template, revision)
        revision.conditions.add(type_="Ready", state=run.Condition.State.CONDITION_SUCCEEDED)
        self._revisions[name] = revision
        return name

    def check_free(self, workload_name: str, pinned: str) -> None:
        """Check that no revision has the name in a template (empty if it has none).

        Raises GoogleError: ALREADY_EXISTS.
        """
        if pinned and f"{workload_name}/revisions/{pinned}" in self._revisions:
            raise already_exists(f"Revision named '{pinned}' with different configuration already exists.")

    def all(self) -> Iterable[Any]:
        """Return every revision as plain protobuf."""
        return self._revisions.values()

    def drop(self, workload_name: str) -> None:
        """Remove the revisions of a deleted workload."""
        for name in [name for name in self._revisions if name.startswith(f"{workload_name}/revisions/")]:
            del self._revisions[name]

    @serves("google.cloud.run.v2.Revisions/GetRevision")
    def get(self, request: run.GetRevisionRequest) -> run.Revision:
        """Return a revision."""
        revision: run.Revision = run.Revision.wrap(self._find(request.name))
        return revision

    @serves("google.cloud.run.v2.Revisions/ListRevisions")
    def list(self, request: run.ListRevisionsRequest) -> run.ListRevisionsResponse:
        """List the revisions of a service or worker pool, or with `-` those of all in a location."""
        parent = self._canonical(request.parent)
        prefix = parent[:-1] if parent.endswith("/-") else f"{parent}/revisions/"
        mine = {name: each for name, each in self._revisions.items() if name.startswith(prefix)}
        shown, token = page(mine, request.page_token, page_size(request.page_size, 100, 1000))
        return run.ListRevisionsResponse(
            revisions=[run.Revision.wrap(each) for each in shown], next_page_token=token
        )

    @serves("google.cloud.run.v2.Revisions/DeleteRevision")
    def delete(self, request: run.DeleteRevisionRequest) -> operations_pb2.Operation:
        """Delete a revision that is not the latest; return an operation."""
        revision = self._find(request.name)
        check_etag(request.etag, revision)
        if revision is self._latest(revision.name.partition("/revisions/")[0]):
            short_name = revision.name.rpartition("/")[2]
            raise failed_precondition(f"Revision '{short_name}' is the latest one and cannot be deleted.")
        if not request.validate_only:
            del self._revisions[revision.name]
        return self._operations.start("/".join(revision.name.split("/")[:4]), revision, lambda: revision)

    def _find(self, sent_name: str) -> Any:
        name = self._canonical(sent_name)
        if name not in self._revisions:
            raise not_found(f"Revision '{name.rpartition('/')[2]}' does not exist.")
        return self._revisions[name]

    def _latest(self, workload_name: str) -> Any:
        mine = [
            each for name, each in self._revisions.items() if name.startswith(f"{workload_name}/revisions/")
        ]
        return mine[-1]

    def _canonical(self, name: str) -> str:
        match = _NAME.fullmatch(name)
        if match is None:
            raise invalid(f"Invalid revision or parent name '{name}'.")
        project, workload, revision = match.groups()
        return f"projects/{self._projects.resolve(project).id}/{workload}" + (
            f"/revisions/{revision}" if revision else ""
        )


def _copy_common_fields(source: Any, target: Any) -> None:
    """Copy the fields that a template and a revision both have, by name and type."""
    declared = target.DESCRIPTOR.fields_by_name
    for field, value in source.ListFields():
        twin = declared.get(field.name)
        if twin is None or twin.message_type != field.message_type:
            continue
        if field.is_repeated:
            getattr(target, field.name).MergeFrom(value)
        elif field.message_type is not None:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)
