"""Responses with objects, lists and events in the form that the client requested."""

from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from .builtin import rendered
from .errors import ApiError
from .formats import Form, form_of
from .listing import Page
from .resources import Resource
from .store import Stored, encode
from .table import partial_metadata, table

Object = dict[str, Any]

_PARTIAL_LIST = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}


def status_response(error: ApiError) -> web.Response:
    """Return the response for an error."""
    headers = {"WWW-Authenticate": "Bearer"} if error.code == 401 else {}
    if error.details is not None and "retryAfterSeconds" in error.details:
        headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    return web.Response(
        body=encode(error.status()), status=error.code, content_type="application/json", headers=headers
    )


def object_response(
    request: web.Request,
    resource: Resource,
    stored: Stored,
    *,
    status: int = 200,
    warnings: Iterable[str] = (),
) -> web.Response:
    """Return the response with one object and warnings for the client."""
    match form_of(request.headers.get("Accept", "")):
        case Form.OBJECT:
            body = _raw(resource, stored)
        case Form.METADATA:
            body = encode(partial_metadata(stored.object))
        case Form.TABLE:
            include = request.query.get("includeObject", "Metadata")
            version = {"resourceVersion": stored.object["metadata"].get("resourceVersion", "")}
            body = encode(table(resource, [stored.object], version, include=include))
    response = web.Response(body=body, status=status, content_type="application/json")
    for warning in warnings:
        text = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{text}"')
    return response


def page_response(request: web.Request, resource: Resource, page: Page) -> web.Response:
    """Return the response with a list or a page of it."""
    own: Object = {"resourceVersion": str(page.version)}
    if page.continue_token:
        own["continue"] = page.continue_token
    if page.remaining:
        own["remainingItemCount"] = page.remaining
    match form_of(request.headers.get("Accept", "")):
        case Form.TABLE:
            include = request.query.get("includeObject", "Metadata")
            return json_response(
                table(resource, (stored.object for stored in page.objects), own, include=include)
            )
        case Form.METADATA:
            items = [partial_metadata(stored.object) for stored in page.objects]
            return json_response({**_PARTIAL_LIST, "metadata": own, "items": items})
        case Form.OBJECT:
            head = encode({"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": own})
            joined = b",".join(_raw(resource, stored) for stored in page.objects)
            body = head[:-1] + b',"items":[' + joined + b"]}"
            return web.Response(body=body, content_type="application/json")


def event_view(resource: Resource, form: Form, include: str) -> Callable[[Stored], Object | bytes]:
    """Return a function that renders the objects of one watch; it returns bytes if JSON is cached."""
    described = False

    def as_table(stored: Stored) -> Object:
        nonlocal described
        header, described = not described, True
        version = {"resourceVersion": stored.object["metadata"]["resourceVersion"]}
        return table(resource, [stored.object], version, include=include, header=header)

    match form:
        case Form.TABLE:
            return as_table
        case Form.METADATA:
            return lambda stored: partial_metadata(stored.object)
        case Form.OBJECT:
            return lambda stored: _raw(resource, stored)


def json_response(document: Any, status: int = 200) -> web.Response:
    """Return a JSON response."""
    return web.Response(body=encode(document), status=status, content_type="application/json")


def _raw(resource: Resource, stored: Stored) -> bytes:
    shown = rendered(resource, stored.object)
    return stored.json if shown is stored.object else encode(shown)
