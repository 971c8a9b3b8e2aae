"""REST server: JSON over the same dispatcher."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from aiohttp import web
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.rpc import error_details_pb2

from cloudrun_identity_playground.emulator.dispatch import Dispatcher
from cloudrun_identity_playground.emulator.errors import GoogleError, NotServedError, invalid
from cloudrun_identity_playground.emulator.sender import Sender

from .ancestry import ancestry
from .fixed import fixed_answer
from .hosts import is_served
from .knative_children import KnativeChildren
from .knative_rest import KnativeRest, region_of
from .knative_rest import address as knative_address
from .last_use import last_use_answer
from .methods import as_protobuf
from .older import RENAMED, RESHAPES
from .org_policy_v1 import OrgPolicyV1
from .routes import Route, routes
from .storage_json import StorageJson, is_storage, storage_error

_UNKNOWN_FIELD = re.compile(r'has no field named "([^"]+)"')
_SYSTEM_PARAMETERS = frozenset(
    {"alt", "prettyPrint", "key", "access_token", "quotaUser", "fields", "userProject"}
)


def add_rest(
    app: web.Application,
    dispatcher: Dispatcher,
    number_of: Callable[[str], str],
    is_uniform: Callable[[str], bool],
) -> None:
    """Serve every path without another route in `app` as a call of a Google API.

    `number_of` returns the number of a project. `is_uniform` returns whether a bucket has uniform
    bucket-level access.
    """

    async def answer(request: web.Request) -> web.Response:
        legacy = request.path.startswith("/v1/")
        try:
            if not is_served(request.host):
                raise NotServedError(f"{request.method} {request.host}{request.path}")
            body = await _body(request)
            sender = _sender(request, body, is_version_1=legacy)

            async def call(rpc: str, message: Any) -> Any:
                return await dispatcher.call(rpc, message, sender)

            if is_storage(request.path):
                query = {name: request.query.getall(name) for name in request.query}
                storage = StorageJson(call, is_uniform)
                return web.json_response(await storage.answer(request.method, request.path, query, body))
            if (shown := await _of_version_1(request, body, call, number_of)) is not None:
                return web.json_response(shown)
            route, fields = _route(request.method, request.path)
            response = await call(route.method.rpc, _message(route, fields, request, body))
        except GoogleError as error:
            if is_storage(request.path):
                status, shown = storage_error(error)
                return web.json_response(shown, status=status)
            return web.json_response(error.body(legacy=legacy), status=error.http_status)
        return web.json_response(_shown(route, response, request))

    app.router.add_route("*", "/{path:.*}", answer)


def _sender(request: web.Request, body: Mapping[str, Any], *, is_version_1: bool) -> Sender:
    is_version_1 = is_version_1 or knative_address(request.path, request.host) is not None
    return Sender(
        authorization=request.headers.get("Authorization", ""),
        reason=request.headers.get("X-Goog-Request-Reason", ""),
        user_agent=request.headers.get("User-Agent", ""),
        address=request.remote or "",
        is_version_1=is_version_1,
        body=body if is_version_1 else {},
    )


async def _of_version_1(
    request: web.Request,
    body: dict[str, Any],
    call: Callable[[str, Any], Any],
    number_of: Callable[[str], str],
) -> dict[str, Any] | None:
    """Return the response of an API of version 1 that differs in more than names; None for another URL."""
    if (target := knative_address(request.path, request.host)) is not None:
        return await KnativeRest(call, number_of).answer(request.method, target, body)
    children = KnativeChildren(call, number_of, region_of(request.host))
    selector = request.query.get("labelSelector", "")
    if (shown := await children.answer(request.method, request.path, selector)) is not None:
        return shown
    if (shown := await OrgPolicyV1(call).answer(request.path, body)) is not None:
        return shown
    if (shown := await ancestry(request.path, call)) is not None:
        return shown
    if (shown := await last_use_answer(request.method, request.path, request.query, call)) is not None:
        return shown
    return fixed_answer(request.method, request.path, body)


def _route(verb: str, path: str) -> tuple[Route, Mapping[str, str]]:
    for route in routes():
        if route.verb == verb and (fields := route.fields(path)) is not None:
            return route, fields
    raise NotServedError(f"{verb} {path}")


async def _body(request: web.Request) -> dict[str, Any]:
    text = await request.text()
    try:
        body = json.loads(text) if text else {}
    except ValueError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from error
    if not isinstance(body, dict):
        raise invalid("Invalid JSON payload received. It is not an object.")
    return body


def _message(route: Route, path_fields: Mapping[str, str], request: web.Request, body: dict[str, Any]) -> Any:
    """Return the request message of the route's method."""
    content: dict[str, Any] = {}
    message = as_protobuf(route.method.request())
    if route.body == "*":
        content = body
    elif route.body:
        content[route.body] = body
    for name in request.query:
        if not name.startswith("$") and name not in _SYSTEM_PARAMETERS:
            values = [_from_query(message.DESCRIPTOR, name, text) for text in request.query.getall(name)]
            _put(content, name, values if _is_list(message.DESCRIPTOR, name) else values[-1])
    if route.older:
        content = {RENAMED.get(name, name): value for name, value in content.items()}
    for name, value in path_fields.items():
        _put(content, name, value)
    _use_camel_case_masks(content)
    try:
        json_format.ParseDict(content, message)
    except json_format.ParseError as error:
        raise _bad_payload(str(error)) from error
    request_type = route.method.request
    return request_type.wrap(message) if hasattr(request_type, "wrap") else message


def _bad_payload(problem: str) -> GoogleError:
    """Return INVALID_ARGUMENT with the violation in the format of Google's front end."""
    unknown = _UNKNOWN_FIELD.search(problem)
    what = f'Unknown name "{unknown[1]}": Cannot find field.' if unknown is not None else problem
    description = f"Invalid JSON payload received. {what}"
    violation = error_details_pb2.BadRequest.FieldViolation(description=description)
    return GoogleError(
        grpc.StatusCode.INVALID_ARGUMENT,
        description,
        error_details_pb2.BadRequest(field_violations=[violation]),
    )


def _from_query(message: Descriptor, dotted: str, text: str) -> str | bool:
    """Convert a query parameter to JSON. Protobuf accepts numbers as text, but not booleans."""
    first, _, rest = dotted.partition(".")
    field = _field(message, first)
    if field and rest and field.message_type:
        return _from_query(field.message_type, rest, text)
    return _truth(field, text) if field and field.type == FieldDescriptor.TYPE_BOOL else text


def _truth(field: FieldDescriptor, text: str) -> bool:
    """Return the boolean in a query, in every form that Google's front end takes.

    It converts with `safe_strtob` of protobuf's `stubs/strutil.cc`, through `DataPiece::ToBool` of protobuf's
    `util/internal/datapiece.cc`. gcloud sends `True` and `False`.
    """
    match text.lower():
        case "true" | "t" | "yes" | "y" | "1":
            return True
        case "false" | "f" | "no" | "n" | "0":
            return False
        case _:
            problem = f"Invalid value at '{field.name}' (TYPE_BOOL), {json.dumps(text)}"
            violation = error_details_pb2.BadRequest.FieldViolation(field=field.name, description=problem)
            raise GoogleError(
                grpc.StatusCode.INVALID_ARGUMENT,
                problem,
                error_details_pb2.BadRequest(field_violations=[violation]),
            )


def _is_list(message: Descriptor, name: str) -> bool:
    field = _field(message, name)
    return field is not None and field.is_repeated


def _field(message: Descriptor, name: str) -> FieldDescriptor | None:
    return next((each for each in message.fields if name in (each.name, each.json_name)), None)


def _put(content: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        # The body has camel case, the http rules have snake case.
        camel = re.sub(r"_(.)", lambda match: match[1].upper(), parent)
        content = content.setdefault(camel if camel in content else parent, {})
    content[last] = value


def _use_camel_case_masks(content: dict[str, Any]) -> None:
    """Convert field masks to camel case. Google accepts both, protobuf's JSON only camel case."""
    for name in ("updateMask", "update_mask"):
        if isinstance(content.get(name), str):
            content[name] = re.sub(r"_(.)", lambda match: match[1].upper(), content[name])


def _shown(route: Route, response: Any, request: web.Request) -> dict[str, Any]:
    integers = "enum-encoding=int" in request.query.get("$alt", "")
    shown: dict[str, Any] = json_format.MessageToDict(as_protobuf(response), use_integers_for_enums=integers)
    return RESHAPES.get(route.method.name, dict)(shown) if route.older else shown
