"""Requests for objects: from HTTP to an operation, and the response."""

import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from . import documents, faults
from .errors import ApiError, Cause, FieldError, bad_request, invalid, method_not_allowed, version_too_large
from .formats import Decoded, form_of, read_body, read_object
from .listing import Listings
from .operations import FieldValidation, Operations, Write
from .patches import APPLY_PATCH
from .responses import event_view, json_response, object_response, page_response
from .routing import TRUE, Target, target_of, verb_of
from .selectors import Selector, select
from .store import Ending
from .watch import Watch, WatchOptions

Object = dict[str, Any]


class RequestHandler:
    """Answers authenticated requests."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._listings = Listings(operations.store)
        self._faults = faults.Faults()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request.

        Raises:
            ApiError: the error for the client.

        """
        parts = [part for part in request.path.split("/") if part]
        if parts == faults.PATH:
            return await self._control(request)
        document = documents.answer(self._operations.catalog, parts, request.headers.get("Accept", ""))
        if document is not None:
            return document
        target = target_of(self._operations.catalog, parts)
        verb = verb_of(request, target)
        return await self._faults.around(
            target.resource_name, verb, lambda: self._answer(request, target, verb)
        )

    def inject(self, fault: faults.Fault) -> None:
        """Set a fault for the next requests, or end watches at once."""
        if fault.watches is None:
            self._faults.add(fault)
        else:
            self._end_watches(fault, Ending(fault.watches))

    def clear_faults(self) -> None:
        """Remove the faults that are still to come."""
        self._faults.clear()

    async def _answer(self, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
        match verb:
            case "get":
                return object_response(
                    request, target.resource, self._operations.get(target.resource, target.key)
                )
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

    async def _control(self, request: web.Request) -> web.Response:
        match request.method:
            case "GET":
                pass
            case "DELETE":
                self.clear_faults()
            case "POST":
                self.inject(faults.read(await read_object(request)))
            case _:
                raise method_not_allowed("faults support POST, GET and DELETE only")
        return json_response({"faults": self._faults.pending()})

    def _end_watches(self, fault: faults.Fault, ending: Ending) -> None:
        for resource in self._operations.catalog.all():
            if fault.concerns(resource.plural, "watch"):
                self._operations.store.end_watches(resource.storage, ending)

    def _list(self, request: web.Request, target: Target) -> web.Response:
        query = request.query
        limit = 0 if query.get("limit", "").startswith("-") else _number(query, "limit")
        _check_match(query)
        if query.get("continue"):
            if query.get("resourceVersion", "0") not in ("", "0"):
                raise bad_request("specifying resource version is not allowed when using continue")
            page = self._listings.next(query["continue"], limit)
        else:
            exact = query.get("resourceVersionMatch") == "Exact"
            self._listings.check_version(_number(query, "resourceVersion"), exact=exact)
            collection = self._operations.store.collection(target.resource.storage)
            page = self._listings.first(collection, target.namespace, _selector(query, target), limit)
        if query.get("labelSelector") or query.get("fieldSelector"):
            page = replace(page, remaining=0)  # a server that filters does not count
        return page_response(request, target.resource, page)

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        query, store = request.query, self._operations.store
        if query.get("resourceVersionMatch") and query.get("sendInitialEvents") not in TRUE:
            why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            raise _invalid_list("resourceVersionMatch", Cause.FORBIDDEN, f"Forbidden: {why}")
        if query.get("sendInitialEvents") in TRUE:
            # The answer of a server without the feature: clients list and watch instead.
            why = "is forbidden for watch unless the WatchList feature gate is enabled"
            error = FieldError("sendInitialEvents", Cause.FORBIDDEN, f"Forbidden: sendInitialEvents {why}")
            raise invalid("ListOptions", "meta.k8s.io", "", [error])
        options = WatchOptions(
            since=_number(query, "resourceVersion"),
            seconds=_number(query, "timeoutSeconds") or WatchOptions.seconds,
            bookmarks=query.get("allowWatchBookmarks") in TRUE,
        )
        if options.since > store.version:
            raise version_too_large(options.since, store.version)
        form = form_of(request.headers.get("Accept", ""))
        watch = Watch(
            store,
            store.collection(target.resource.storage),
            target.resource,
            _in_namespace(target.namespace, _selector(query, target)),
            event_view(target.resource, form, query.get("includeObject", "Metadata")),
        )
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache"}
        )
        try:
            await response.prepare(request)
            async with aclosing(watch.events(options)) as events:
                async for lines in events:
                    await response.write(lines)
        except ConnectionError:
            # A fault cut the watch, or the client disconnected.
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _create(self, request: web.Request, target: Target) -> web.Response:
        body = await read_object(request)
        if target.resource.verbs == ("create",):
            # A review stores nothing, and the only token is allowed everything.
            return json_response(
                {**body, "metadata": body.get("metadata") or {}, "status": {"allowed": True}}, 201
            )
        write = _write(request, target)
        write.duplicates = list(body.duplicates)
        stored = self._operations.create(target.resource, target.namespace, body, write)
        return object_response(request, target.resource, stored, status=201, warnings=write.warnings)

    async def _update(self, request: web.Request, target: Target) -> web.Response:
        body, write = await read_object(request), _write(request, target)
        write.duplicates = list(body.duplicates)
        stored = self._operations.update(target.resource, target.key, body, write)
        return object_response(request, target.resource, stored, warnings=write.warnings)

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        write = _write(request, target)
        if request.content_type == APPLY_PATCH and "fieldManager" not in request.query:
            missing = "Required value: is required for apply patch"
            error = FieldError("fieldManager", Cause.REQUIRED, missing)
            raise invalid("PatchOptions", "meta.k8s.io", "", [error])
        patch = await read_body(request)
        if write.force and request.content_type != APPLY_PATCH:
            why = "Forbidden: may not be specified for non-apply patch"
            raise invalid("PatchOptions", "meta.k8s.io", "", [FieldError("force", Cause.FORBIDDEN, why)])
        if isinstance(patch, Decoded):
            write.duplicates = list(patch.duplicates)
        stored, created = self._operations.patch(
            target.resource, target.key, patch, request.content_type, write
        )
        return object_response(
            request, target.resource, stored, status=201 if created else 200, warnings=write.warnings
        )

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        options, write = await read_object(request), _write(request, target)
        write.dry_run = write.dry_run or _is_dry_run(request, options.get("dryRun") or ())
        write.propagation = _propagation(request, options)
        stored = self._operations.delete(target.resource, target.key, options, write)
        if "deletionTimestamp" in stored.object["metadata"]:
            return object_response(request, target.resource, stored)
        resource = target.resource
        details = {"name": target.name, "group": resource.group, "kind": resource.plural}
        details["uid"] = stored.object["metadata"]["uid"]
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return json_response({**success, "details": details})

    async def _delete_collection(self, request: web.Request, target: Target) -> web.Response:
        options, write = await read_object(request), _write(request, target)
        write.dry_run = write.dry_run or _is_dry_run(request, options.get("dryRun") or ())
        write.propagation = _propagation(request, options)
        collection = self._operations.store.collection(target.resource.storage)
        page = self._listings.first(collection, target.namespace, _selector(request.query, target), limit=0)
        for stored in page.objects:
            own = stored.object["metadata"]
            key = (own.get("namespace", ""), own["name"])
            # A deletion may remove another object too.
            if key in collection.objects:
                self._operations.delete(target.resource, key, options, write)
        return page_response(request, target.resource, page)


def _write(request: web.Request, target: Target) -> Write:
    query = request.query
    agent = request.headers.get("User-Agent", "unknown").partition("/")[0]
    _check_manager(request, query.get("fieldManager", ""))
    try:
        validation = FieldValidation(query.get("fieldValidation") or FieldValidation.WARN)
    except ValueError as error:
        supported = 'supported values: "", "Ignore", "Strict", "Warn"'
        why = f'Unsupported value: "{query["fieldValidation"]}": {supported}'
        odd = FieldError("fieldValidation", Cause.NOT_SUPPORTED, why)
        raise invalid(_OPTIONS[request.method], "meta.k8s.io", "", [odd]) from error
    return Write(
        manager=query.get("fieldManager") or agent,
        subresource=target.subresource,
        dry_run=_is_dry_run(request, query.getall("dryRun", [])),
        field_validation=validation,
        force=query.get("force") in TRUE,
    )


def _check_match(query: MultiMapping[str]) -> None:
    """Check the option `resourceVersionMatch` of a list. Raises ApiError: it does not fit the others."""
    name, version = "resourceVersionMatch", query.get("resourceVersion", "")
    match query.get(name, ""):
        case "":
            pass
        case _ if query.get("continue"):
            why = f"Forbidden: {name} is forbidden when continue is provided"
            raise _invalid_list(name, Cause.FORBIDDEN, why)
        case _ if not version:
            why = f"Forbidden: {name} is forbidden unless resourceVersion is provided"
            raise _invalid_list(name, Cause.FORBIDDEN, why)
        case "Exact" if version == "0":
            why = f'Forbidden: {name} "exact" is forbidden for resourceVersion "0"'
            raise _invalid_list(name, Cause.FORBIDDEN, why)
        case "Exact" | "NotOlderThan":
            pass
        case odd:
            supported = 'supported values: "Exact", "NotOlderThan", ""'
            raise _invalid_list(name, Cause.NOT_SUPPORTED, f'Unsupported value: "{odd}": {supported}')


def _invalid_list(field: str, cause: Cause, why: str) -> ApiError:
    return invalid("ListOptions", "meta.k8s.io", "", [FieldError(field, cause, why)])


def _check_manager(request: web.Request, manager: str) -> None:
    """Check the name of a field manager.

    Raises ApiError: it is too long, or has a character that does not print.
    """
    error = None
    if len(manager.encode()) > _LONGEST_MANAGER:
        why = f"Too long: may not be more than {_LONGEST_MANAGER} bytes"
        error = FieldError("fieldManager", Cause.TOO_LONG, why)
    elif odd := next((place for place, char in enumerate(manager) if not char.isprintable()), None):
        why = f"invalid character U+{ord(manager[odd]):04X} (at position {odd})"
        error = FieldError("fieldManager", Cause.INVALID, f"Invalid value: {json.dumps(manager)}: {why}")
    if error is not None:
        raise invalid(_OPTIONS[request.method], "meta.k8s.io", "", [error])


def _propagation(request: web.Request, options: Object) -> str:
    """Return the propagation policy of a deletion; empty for the default.

    Raises ApiError: it does not exist, or both forms are set.
    """
    policy = options.get("propagationPolicy") or request.query.get("propagationPolicy", "")
    orphans = options.get("orphanDependents")
    error = None
    if policy and orphans is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        error = FieldError("propagationPolicy", Cause.INVALID, f'Invalid value: "{policy}": {why}')
    elif policy and policy not in ("Foreground", "Background", "Orphan"):
        supported = 'supported values: "Foreground", "Background", "Orphan", "nil"'
        why = f'Unsupported value: "{policy}": {supported}'
        error = FieldError("propagationPolicy", Cause.NOT_SUPPORTED, why)
    if error is not None:
        raise invalid("DeleteOptions", "meta.k8s.io", "", [error])
    return "Orphan" if orphans else policy


def _is_dry_run(request: web.Request, values: Sequence[str]) -> bool:
    """Return whether the values of `dryRun` ask for a dry run. Raises ApiError: a value is not `All`."""
    if set(values) - {"All"}:
        shown = json.dumps(list(values), separators=(",", ":"))
        error = FieldError(
            "dryRun", Cause.NOT_SUPPORTED, f'Unsupported value: {shown}: supported values: "All"'
        )
        raise invalid(_OPTIONS[request.method], "meta.k8s.io", "", [error])
    return bool(values)


_LONGEST_MANAGER = 128
_OPTIONS: Mapping[str, str] = {
    "POST": "CreateOptions",
    "PUT": "UpdateOptions",
    "PATCH": "PatchOptions",
    "DELETE": "DeleteOptions",
}
"""Kind that has the options of a request, by method."""


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
