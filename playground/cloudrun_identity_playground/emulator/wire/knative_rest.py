"""REST of Cloud Run v1: calls of the methods of v2, with objects in the form of Knative.

The host names the region, as with Google: `europe-west1-run.googleapis.com`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.cloud import run_v2 as run
from google.longrunning import operations_pb2
from google.protobuf import json_format

from cloudrun_identity_playground.emulator.apis.run_locations import REGIONS
from cloudrun_identity_playground.emulator.errors import GoogleError, invalid, not_found

from .knative import DELETED, KINDS, KnativeKind, to_v1, to_v2
from .methods import as_protobuf

Json = dict[str, Any]

_NAMESPACED = re.compile(
    r"/apis/(?P<api>[a-z.]+/v1)/namespaces/(?P<project>[^/]+)/(?P<plural>[a-z]+)(?:/(?P<name>[^/:]+))?"
)
_LOCATED = re.compile(
    r"/v1/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/(?P<plural>services|jobs|workerpools)"
    r"(?:/(?P<name>[^/:]+))?"
)
_HOST = re.compile(r"(?P<region>[a-z]+-[a-z]+\d+)-")


@dataclass(frozen=True)
class _Address:
    """The workload or the collection that a URL names."""

    kind: KnativeKind
    project: str
    location: str
    """Empty if the URL names all locations."""
    name: str
    """Empty for the collection."""

    @property
    def parent(self) -> str:
        if not self.location:
            raise invalid("The host does not name a region; use https://REGION-run.googleapis.com.")
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def full_name(self) -> str:
        return f"{self.parent}/{self.kind.run.collection}/{self.name}"


def address(path: str, host: str) -> _Address | None:
    """Return what a URL of Cloud Run v1 names; None if it is a URL of another API."""
    match = _NAMESPACED.fullmatch(path) or _LOCATED.fullmatch(path)
    if match is None:
        return None
    found = match.groupdict()
    kind = next((each for each in KINDS if each.plural == found["plural"]), None)
    if kind is None or found.get("api", kind.api) != kind.api:
        return None
    location = found.get("location") or region_of(host)
    return _Address(kind, found["project"], "" if location == "-" else location, found["name"] or "")


def region_of(host: str) -> str:
    """Return the region in a host such as `europe-west1-run.googleapis.com`; empty if there is none."""
    match = _HOST.match(host)
    return match["region"] if match is not None else ""


class KnativeRest:
    """Answers calls of Cloud Run v1. `call` calls a method, `number_of` returns a project's number."""

    def __init__(self, call: Callable[[str, Any], Any], number_of: Callable[[str], str]) -> None:
        self._call = call
        self._number_of = number_of

    async def answer(self, verb: str, target: _Address, body: Json) -> Json:
        """Return the response to a request.

        Raises GoogleError: as the methods of v2.
        """
        match verb, bool(target.name):
            case "GET", True:
                request = self._request("Get", target, name=target.full_name)
                return self._shown(target, as_protobuf(await self._send("Get", target, request)))
            case "GET", False:
                return await self._list(target)
            case "POST", False:
                return await self._create(target, body)
            case "PUT", True:
                return await self._replace(target, body)
            case "DELETE", True:
                request = self._request("Delete", target, name=target.full_name)
                await self._send("Delete", target, request)
                return DELETED
        raise not_found(f"Cloud Run v1 has no {verb} for this URL.")

    async def _create(self, target: _Address, body: Json) -> Json:
        field = target.kind.run.field
        name = body.get("metadata", {}).get("name", "")
        named = {"parent": target.parent, f"{field}_id": name, field: self._message(target, body)}
        return await self._change("Create", target, named)

    async def _replace(self, target: _Address, body: Json) -> Json:
        message = self._message(target, body)
        message.name = target.full_name
        return await self._change("Update", target, {target.kind.run.field: message})

    async def _change(self, verb: str, target: _Address, fields: Mapping[str, Any]) -> Json:
        operation = await self._send(verb, target, self._request(verb, target, **fields))
        return self._shown(target, _in_progress(operation, target))

    async def _list(self, target: _Address) -> Json:
        kind = target.kind
        items: list[Json] = []
        for location in [target.location] if target.location else sorted(REGIONS):
            parent = f"projects/{target.project}/locations/{location}"
            request = self._request("List", target, parent=parent)
            response = as_protobuf(await self._send("List", target, request))
            items += [self._shown(target, each) for each in getattr(response, f"{kind.run.field}s")]
        return {"apiVersion": kind.api, "kind": f"{kind.kind}List", "metadata": {}, "items": items}

    def _message(self, target: _Address, body: Json) -> Any:
        message = target.kind.run.message()
        try:
            json_format.ParseDict(to_v2(target.kind, body), message)
        except (json_format.ParseError, KeyError, TypeError, ValueError) as error:
            raise invalid(f"The {target.kind.kind} is not valid: {error}") from error
        return target.kind.run.wrap(message)

    def _request(self, verb: str, target: _Address, **fields: Any) -> Any:
        plural = "s" if verb == "List" else ""
        return getattr(run, f"{verb}{target.kind.run.noun}{plural}Request")(fields)

    async def _send(self, verb: str, target: _Address, request: Any) -> Any:
        noun = target.kind.run.noun
        plural = "s" if verb == "List" else ""
        return await self._call(f"google.cloud.run.v2.{noun}s/{verb}{noun}{plural}", request)

    def _shown(self, target: _Address, message: Any) -> Json:
        shown: Json = json_format.MessageToDict(message)
        return to_v1(target.kind, shown, self._number_of(target.project))


def _in_progress(operation: operations_pb2.Operation, target: _Address) -> Any:
    """Return the workload that an operation changes.

    Raises GoogleError: The operation failed.
    """
    if operation.HasField("error"):
        raise GoogleError.of_status(operation.error)
    message = target.kind.run.message()
    operation.metadata.Unpack(message)
    return message
