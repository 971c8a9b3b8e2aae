"""Cloud Logging: the sinks of projects, folders and organizations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import empty_pb2

from cloudrun_identity_playground.emulator.apis.paging import page, page_size
from cloudrun_identity_playground.emulator.apis.projects import ProjectRegistry
from cloudrun_identity_playground.emulator.apis.rpc import serves
from cloudrun_identity_playground.emulator.errors import already_exists, invalid, not_found

from .messages import ListSinksResponse, LogSink
from .query import Query, parse

_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,100}")
_DESTINATION: Final = re.compile(r"pubsub\.googleapis\.com/(projects/[^/]+/topics/[^/]+)")
_OTHER_DESTINATIONS: Final = ("storage.", "bigquery.", "logging.")
_WRITABLE: Final = ("destination", "filter", "description", "disabled", "include_children")
_DEFAULT_MASK: Final = ("destination", "filter", "include_children")


@dataclass(frozen=True)
class Sink:
    """A sink that exports to Pub/Sub."""

    name: str
    """Resource name, `projects/ID/sinks/NAME`."""
    parent: str
    """Project, folder or organization."""
    query: Query
    """Filter of entries."""
    topic: str
    """Name of the topic; empty for another destination."""
    message: Any
    """The resource as the API shows it."""

    @property
    def writer(self) -> str:
        """Principal that publishes the entries."""
        return str(self.message.writer_identity)


class Sinks:
    """`google.logging.v2.ConfigServiceV2`, without log buckets and exclusions. `clock` returns seconds."""

    def __init__(self, projects: ProjectRegistry, clock: Callable[[], float]) -> None:
        self._projects = projects
        self._clock = clock
        self._sinks: dict[str, Sink] = {}

    def __iter__(self) -> Iterator[Sink]:
        return iter(self._sinks.values())

    def __bool__(self) -> bool:
        return bool(self._sinks)

    def exporting(self, container: str) -> Iterator[Sink]:
        """Yield the sinks that export the logs of a project, folder or organization."""
        above = list(self._projects.above(container)) if self._sinks else []
        for sink in self:
            included = sink.parent == container or (sink.message.include_children and sink.parent in above)
            if included and not sink.message.disabled:
                yield sink

    @serves("google.logging.v2.ConfigServiceV2/CreateSink")
    def create(self, request: Any) -> Any:
        """Create a sink."""
        parent = self._parent(request.parent)
        if not _NAME.fullmatch(request.sink.name):
            raise invalid(f"Invalid sink name '{request.sink.name}'.")
        name = f"{parent}/sinks/{request.sink.name}"
        if name in self._sinks:
            raise already_exists(f"Sink {request.sink.name} already exists.")
        message = LogSink({field: getattr(request.sink, field) for field in ("name", *_WRITABLE)})
        message.writer_identity = self._writer(parent, unique=request.unique_writer_identity)
        message.create_time = {"seconds": int(self._clock())}
        return self._store(name, parent, message)

    @serves("google.logging.v2.ConfigServiceV2/GetSink")
    def get(self, request: Any) -> Any:
        """Return a sink."""
        return self._find(request.sink_name).message

    @serves("google.logging.v2.ConfigServiceV2/UpdateSink")
    def update(self, request: Any) -> Any:
        """Change a sink."""
        sink = self._find(request.sink_name)
        message = LogSink(sink.message)
        for path in request.update_mask.paths or _DEFAULT_MASK:
            if path not in _WRITABLE:
                raise invalid(f"Invalid field mask path '{path}' of a sink.")
            setattr(message, path, getattr(request.sink, path))
        if request.unique_writer_identity:
            message.writer_identity = self._writer(sink.parent, unique=True)
        return self._store(sink.name, sink.parent, message)

    @serves("google.logging.v2.ConfigServiceV2/DeleteSink")
    def delete(self, request: Any) -> empty_pb2.Empty:
        """Delete a sink."""
        del self._sinks[self._find(request.sink_name).name]
        return empty_pb2.Empty()

    @serves("google.logging.v2.ConfigServiceV2/ListSinks")
    def list(self, request: Any) -> Any:
        """List the sinks of a project, folder or organization."""
        parent = self._parent(request.parent)
        found = {sink.name: sink.message for sink in self if sink.parent == parent}
        sinks, token = page(found, request.page_token, page_size(request.page_size, 100, 1000))
        return ListSinksResponse(sinks=sinks, next_page_token=token)

    def _store(self, name: str, parent: str, message: Any) -> Any:
        match = _DESTINATION.fullmatch(message.destination)
        if match is None and not message.destination.startswith(_OTHER_DESTINATIONS):
            raise invalid(f"Invalid destination '{message.destination}'.")
        message.update_time = {"seconds": int(self._clock())}
        topic = match[1] if match is not None else ""
        self._sinks[name] = Sink(name, parent, parse(message.filter), topic, message)
        return message

    def _find(self, name: str) -> Sink:
        holder, _, short_name = name.partition("/sinks/")
        sink = self._sinks.get(f"{self._parent(holder)}/sinks/{short_name}")
        if sink is None:
            raise not_found(f"Sink {short_name} does not exist")
        return sink

    def _parent(self, name: str) -> str:
        """Return the name of a project by its ID; of a folder or organization as it is.

        Raises GoogleError: as `ProjectRegistry.resolve_name`.
        """
        return self._projects.canonical(name) if name.startswith("projects/") else name

    def _writer(self, parent: str, *, unique: bool) -> str:
        """Return the writer identity of a sink.

        https://cloud.google.com/logging/docs/api/tasks/exporting-logs#writer-identity
        """
        if not unique:
            return "serviceAccount:cloud-logs@system.gserviceaccount.com"
        kind, _, number = parent.partition("/")
        prefix = {"folders": "folder-", "organizations": "org-"}.get(kind, "")
        if kind == "projects":
            number = self._projects.resolve_name(parent).number
        return f"serviceAccount:service-{prefix}{number}@gcp-sa-logging.iam.gserviceaccount.com"
