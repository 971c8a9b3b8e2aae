"""Requests for objects: from HTTP to an operation, and back."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from . import documents
from .builtin import rendered
from .errors import (
    ApiError,
    Cause,
    FieldError,
    bad_request,
    invalid,
    method_not_allowed,
    path_not_found,
    version_too_large,
)
from .formats import Form, form_of, read_body, read_object
from .listing import Listings, Page
from .operations import FieldValidation, Operations, Write
from .patches import APPLY_PATCH
from .resources import Catalog, Resource
from .selectors import Selector, select
from .store import ObjectKey, Stored, encode
from .table import partial_metadata, table
from .watch import Watch, WatchOptions

Object = dict[str, Any]

_TRUE = frozenset({"1", "t", "true", "True", "TRUE"})
_PARTIAL_LIST = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}


@dataclass(frozen=True)
class Target:
    """What a path names: a collection, an object of it, or a subresource of that."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> ObjectKey:
        """The key of the object."""
        return self.namespace, self.name


class RequestHandler:
    """Answers authenticated requests."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._listings = Listings(operations.store)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Carries out a request.

        Raises:
            ApiError: whatever the client is to be told.
        """
        parts = [part for part in request.path.split("/") if part]
        document = documents.answer(self._operations.catalog, parts, request.headers.get("Accept", ""))
        if document is not None:
            return document
        target = _target(self._operations.catalog, parts)
        verb = _verb(request, target)
        match verb:
            case "get":
                return _shown(request, target, self._operations.get(target.resource, target.key))
            case "list":
                return self._list(request, target)
            case "watch":
                return await self._watch(request, target)
            case "create":
                return await self._create(request, target)
            case "update":
                return await self._update(request, target)
            case "patch":
                return await self._patch(request, target)
            case "delete":
                return await self._delete(request, target)
            case _:
                return await self._delete_collection(request, target)

    def _list(self, request: web.Request, target: Target) -> web.Response:
        query = request.query
        limit = _number(query, "limit")
        if query.get("continue"):
            page = self._listings.next(query["continue"], limit)
        else:
            exact = query.get("resourceVersionMatch") == "Exact"
            self._listings.check_version(_number(query, "resourceVersion"), exact=exact)
            collection = self._operations.store.collection(target.resource.storage)
            page = self._listings.first(collection, target.namespace, _selector(query, target), limit)
        return _page(request, target.resource, page)

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        query, store = request.query, self._operations.store
        if query.get("sendInitialEvents") in _TRUE:
            # What a server without the feature says: clients list and watch instead.
            why = "is forbidden for watch unless the WatchList feature gate is enabled"
            error = FieldError("sendInitialEvents", Cause.FORBIDDEN, f"Forbidden: sendInitialEvents {why}")
            raise invalid("ListOptions", "meta.k8s.io", "", [error])
        options = WatchOptions(
            since=_number(query, "resourceVersion"),
            seconds=_number(query, "timeoutSeconds") or WatchOptions.seconds,
            bookmarks=query.get("allowWatchBookmarks") in _TRUE,
        )
        if options.since > store.version:
            raise version_too_large(options.since, store.version)
        form = form_of(request.headers.get("Accept", ""))
        watch = Watch(
            store,
            store.collection(target.resource.storage),
            target.resource,
            _in_namespace(target.namespace, _selector(query, target)),
            _event_view(target.resource, form, query.get("includeObject", "Metadata")),
        )
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache"}
        )
        await response.prepare(request)
        async with aclosing(watch.events(options)) as events:
            async for lines in events:
                await response.write(lines)
        return response

    async def _create(self, request: web.Request, target: Target) -> web.Response:
        body = await read_object(request)
        if target.resource.verbs == ("create",):
            # A review: nothing is stored, and whoever has the token may do everything.
            return _json({**body, "metadata": body.get("metadata") or {}, "status": {"allowed": True}}, 201)
        write = _write(request, target)
        stored = self._operations.create(target.resource, target.namespace, body, write)
        return _shown(request, target, stored, status=201, write=write)

    async def _update(self, request: web.Request, target: Target) -> web.Response:
        body, write = await read_object(request), _write(request, target)
        stored = self._operations.update(target.resource, target.key, body, write)
        return _shown(request, target, stored, write=write)

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        write = _write(request, target)
        if request.content_type == APPLY_PATCH and "fieldManager" not in request.query:
            missing = "Required value: is required for apply patch"
            error = FieldError("fieldManager", Cause.REQUIRED, missing)
            raise invalid("PatchOptions", "meta.k8s.io", "", [error])
        patch = await read_body(request)
        stored, created = self._operations.patch(
            target.resource, target.key, patch, request.content_type, write
        )
        return _shown(request, target, stored, status=201 if created else 200, write=write)

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        options, write = await read_object(request), _write(request, target)
        write.dry_run = write.dry_run or "All" in (options.get("dryRun") or ())
        stored = self._operations.delete(target.resource, target.key, options, write)
        if "deletionTimestamp" in stored.object["metadata"]:
            return _shown(request, target, stored)
        resource = target.resource
        details = {"name": target.name, "group": resource.group, "kind": resource.plural}
        details["uid"] = stored.object["metadata"]["uid"]
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return _json({**success, "details": details})

    async def _delete_collection(self, request: web.Request, target: Target) -> web.Response:
        options, write = await read_object(request), _write(request, target)
        write.dry_run = write.dry_run or "All" in (options.get("dryRun") or ())
        collection = self._operations.store.collection(target.resource.storage)
        page = self._listings.first(collection, target.namespace, _selector(request.query, target), limit=0)
        for stored in page.objects:
            own = stored.object["metadata"]
            key = (own.get("namespace", ""), own["name"])
            # One deletion may take another object with it.
            if key in collection.objects:
                self._operations.delete(target.resource, key, options, write)
        return _page(request, target.resource, page)


def status_response(error: ApiError) -> web.Response:
    """A failure on the wire."""
    headers = {"WWW-Authenticate": "Bearer"} if error.code == 401 else {}
    if error.details is not None and "retryAfterSeconds" in error.details:
        headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    return web.Response(
        body=encode(error.status()), status=error.code, content_type="application/json", headers=headers
    )


def _target(catalog: Catalog, parts: list[str]) -> Target:
    root, *rest = parts
    group = rest.pop(0) if root == "apis" else ""
    version, *rest = rest
    namespace = ""
    names_namespace = rest[0] == "namespaces" and len(rest) >= 3
    if names_namespace and not (group == "" and rest[2] == "status"):
        _, namespace, *rest = rest
    resource = catalog.find(group, version, rest[0])
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        raise path_not_found()
    name, subresource = [*rest[1:], "", ""][:2]
    if subresource and subresource not in resource.subresources:
        raise path_not_found()
    if name and resource.namespaced and not namespace:
        raise path_not_found()
    return Target(resource, namespace, name, subresource)


def _verb(request: web.Request, target: Target) -> str:
    watched = request.query.get("watch") in _TRUE
    on_object = {"GET": "watch" if watched else "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    on_collection = {"GET": "watch" if watched else "list", "POST": "create", "DELETE": "deletecollection"}
    verb = (on_object if target.name else on_collection).get(request.method)
    writes_everywhere = (
        target.resource.namespaced and not target.namespace and verb in ("create", "deletecollection")
    )
    if verb not in target.resource.verbs or writes_everywhere or (target.subresource and verb == "delete"):
        raise method_not_allowed("the server does not allow this method on the requested resource")
    return verb


def _write(request: web.Request, target: Target) -> Write:
    query = request.query
    agent = request.headers.get("User-Agent", "unknown").partition("/")[0]
    try:
        validation = FieldValidation(query.get("fieldValidation") or FieldValidation.WARN)
    except ValueError as error:
        raise bad_request(f"invalid fieldValidation {query['fieldValidation']!r}") from error
    return Write(
        manager=query.get("fieldManager") or agent,
        subresource=target.subresource,
        dry_run="All" in query.getall("dryRun", []),
        field_validation=validation,
        force=query.get("force") in _TRUE,
    )


def _selector(query: MultiMapping[str], target: Target) -> Selector:
    fields = f"metadata.name={target.name}" if target.name else query.get("fieldSelector", "")
    return select(target.resource, query.get("labelSelector", ""), fields)


def _in_namespace(namespace: str, is_selected: Selector) -> Selector:
    if not namespace:
        return is_selected
    return lambda obj: obj["metadata"].get("namespace") == namespace and is_selected(obj)


def _number(query: MultiMapping[str], name: str) -> int:
    text = query.get(name) or "0"
    if not (text.isascii() and text.isdigit()):
        raise bad_request(f'{name}: Invalid value: "{text}": it must be a number')
    return int(text)


def _raw(resource: Resource, stored: Stored) -> bytes:
    shown = rendered(resource, stored.object)
    return stored.json if shown is stored.object else encode(shown)


def _shown(
    request: web.Request, target: Target, stored: Stored, *, status: int = 200, write: Write | None = None
) -> web.Response:
    resource, own = target.resource, stored.object["metadata"]
    match form_of(request.headers.get("Accept", "")):
        case Form.OBJECT:
            body = _raw(resource, stored)
        case Form.METADATA:
            body = encode(partial_metadata(stored.object))
        case Form.TABLE:
            include = request.query.get("includeObject", "Metadata")
            version = {"resourceVersion": own.get("resourceVersion", "")}
            body = encode(table(resource, [stored.object], version, include=include))
    response = web.Response(body=body, status=status, content_type="application/json")
    for warning in write.warnings if write is not None else ():
        text = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{text}"')
    return response


def _page(request: web.Request, resource: Resource, page: Page) -> web.Response:
    own: Object = {"resourceVersion": str(page.version)}
    if page.continue_token:
        own |= {"continue": page.continue_token, "remainingItemCount": page.remaining}
    match form_of(request.headers.get("Accept", "")):
        case Form.TABLE:
            include = request.query.get("includeObject", "Metadata")
            return _json(table(resource, (stored.object for stored in page.objects), own, include=include))
        case Form.METADATA:
            items = [partial_metadata(stored.object) for stored in page.objects]
            return _json({**_PARTIAL_LIST, "metadata": own, "items": items})
        case Form.OBJECT:
            head = encode({"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": own})
            joined = b",".join(_raw(resource, stored) for stored in page.objects)
            body = head[:-1] + b',"items":[' + joined + b"]}"
            return web.Response(body=body, content_type="application/json")


def _event_view(resource: Resource, form: Form, include: str) -> Callable[[Stored], Object | bytes]:
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


def _json(document: Any, status: int = 200) -> web.Response:
    return web.Response(body=encode(document), status=status, content_type="application/json")
