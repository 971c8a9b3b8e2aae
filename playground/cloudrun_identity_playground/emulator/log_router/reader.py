"""Cloud Logging: reads of the entries of the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf import json_format

from cloudrun_identity_playground.emulator.apis.paging import page, page_size
from cloudrun_identity_playground.emulator.apis.projects import ProjectRegistry
from cloudrun_identity_playground.emulator.apis.rpc import serves
from cloudrun_identity_playground.emulator.audit_log.entries import Json

from .messages import ListLogEntriesResponse
from .query import parse


class LogReader:
    """`google.logging.v2.LoggingServiceV2`. `entries` returns all entries, oldest first."""

    def __init__(self, projects: ProjectRegistry, entries: Callable[[], Iterable[Json]]) -> None:
        self._projects = projects
        self._entries = entries

    @serves("google.logging.v2.LoggingServiceV2/ListLogEntries")
    def list(self, request: Any) -> Any:
        """List the entries of projects, folders and organizations that match a filter."""
        query = parse(request.filter)
        containers = {self._container(name) for name in request.resource_names}
        matching = [
            entry
            for entry in self._entries()
            if str(entry["logName"]).partition("/logs/")[0] in containers and query(entry)
        ]
        if "desc" in request.order_by:
            matching.reverse()
        numbered = {f"{number:08d}": entry for number, entry in enumerate(matching)}
        shown, token = page(numbered, request.page_token, page_size(request.page_size, 50, 1000))
        response = ListLogEntriesResponse(next_page_token=token)
        # proto-plus does not convert lists in a Struct.
        entries = ListLogEntriesResponse.pb(response).entries
        for entry in shown:
            json_format.ParseDict(entry, entries.add())
        return response

    def _container(self, name: str) -> str:
        if not name.startswith("projects/"):
            return name
        project = self._projects.find(name.split("/")[1])
        return f"projects/{project.id}" if project else name
