"""Cloud Run v2: revisions of services and worker pools."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Iterable
from typing import Any

from google.cloud import run_v2 as run

from cloudrun_identity_playground.emulator.errors import already_exists, invalid, not_found

from .actor import actor
from .paging import page, page_size
from .projects import ProjectRegistry
from .rpc import serves

_NAME = re.compile(
    r"projects/([^/]+)/(locations/[^/]+/(?:services|workerPools)/[^/]+)(?:/revisions/([^/]+))?"
)


class Revisions:
    """`google.cloud.run.v2.Revisions`."""

    def __init__(self, projects: ProjectRegistry) -> None:
        self._projects = projects
        self._revisions: dict[str, Any] = {}

    def create(self, workload: Any) -> str:
        """Make a revision of the workload's template, and give its full name.

        Raises GoogleError: ALREADY_EXISTS, the template pins the name of another revision.
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
        """Whether a template may pin that revision name (empty: it pins none).

        Raises GoogleError: ALREADY_EXISTS.
        """
        if pinned and f"{workload_name}/revisions/{pinned}" in self._revisions:
            raise already_exists(f"Revision named '{pinned}' with different configuration already exists.")

    def all(self) -> Iterable[Any]:
        """Every revision, as plain protobuf."""
        return self._revisions.values()

    def drop(self, workload_name: str) -> None:
        """Forget the revisions of a workload that is gone."""
        for name in [name for name in self._revisions if name.startswith(f"{workload_name}/revisions/")]:
            del self._revisions[name]

    @serves("google.cloud.run.v2.Revisions/GetRevision")
    def get(self, request: run.GetRevisionRequest) -> run.Revision:
        """Show a revision."""
        name = self._canonical(request.name)
        if name not in self._revisions:
            raise not_found(f"Revision '{name.rpartition('/')[2]}' does not exist.")
        revision: run.Revision = run.Revision.wrap(self._revisions[name])
        return revision

    @serves("google.cloud.run.v2.Revisions/ListRevisions")
    def list(self, request: run.ListRevisionsRequest) -> run.ListRevisionsResponse:
        """List the revisions of a service or worker pool."""
        parent = self._canonical(request.parent)
        mine = {
            name: each for name, each in self._revisions.items() if name.startswith(f"{parent}/revisions/")
        }
        shown, token = page(mine, request.page_token, page_size(request.page_size, 100, 1000))
        return run.ListRevisionsResponse(
            revisions=[run.Revision.wrap(each) for each in shown], next_page_token=token
        )

    def _canonical(self, name: str) -> str:
        match = _NAME.fullmatch(name)
        if match is None:
            raise invalid(f"Invalid revision or parent name '{name}'.")
        project, workload, revision = match.groups()
        return f"projects/{self._projects.resolve(project).id}/{workload}" + (
            f"/revisions/{revision}" if revision else ""
        )


def _copy_common_fields(source: Any, target: Any) -> None:
    """Copy what a template and a revision both declare, by name and type."""
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
