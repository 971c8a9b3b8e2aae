"""HTTP application of the page: its files, and the state of the cluster as JSON. It serves GET only."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from cloudrun_identity.kube.errors import KubeError

from .security import LOOPBACK, add_headers, host_check, local_peers_only
from .source import Body, Source

CONTENT_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
}
"""Content types of the files of the page. Others are not served."""

INDEX: Final = "index.html"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page."""

    content: bytes
    content_type: str
    etag: str


def application(
    source: Source, *, hosts: Collection[str] = LOOPBACK, local_only: bool = False
) -> web.Application:
    """Return the application, for the root of a server or below a prefix: all its links are relative.

    `hosts` are the names by which browsers may reach it. With `local_only`, it refuses connections from other
    addresses than the loopback address.
    """
    checks: list[Middleware] = [host_check(hosts)]
    if local_only:
        checks.insert(0, local_peers_only)
    app = web.Application(middlewares=checks)
    app.on_response_prepare.append(add_headers)
    app.router.add_get("/", _asset)
    app.router.add_get("/api/page", _page(source))
    app.router.add_get("/api/identities/{namespace}/{name}", _details(source))
    app.router.add_get("/{path:.+}", _asset)
    return app


@cache
def assets() -> dict[str, Asset]:
    """Return the files of the page, by path."""
    return dict(_files(resources.files(__package__).joinpath("static"), ""))


def _files(folder: Traversable, prefix: str) -> "list[tuple[str, Asset]]":
    found: list[tuple[str, Asset]] = []
    for each in folder.iterdir():
        suffix = f".{each.name.rpartition('.')[2]}"
        if each.is_dir():
            found += _files(each, f"{prefix}{each.name}/")
        elif suffix in CONTENT_TYPES:
            content = each.read_bytes()
            asset = Asset(content, CONTENT_TYPES[suffix], sha256(content).hexdigest()[:32])
            found.append((f"{prefix}{each.name}", asset))
    return found


async def _asset(request: web.Request) -> web.StreamResponse:
    asset = assets().get(request.match_info.get("path") or INDEX)
    if asset is None:
        return web.Response(status=HTTPStatus.NOT_FOUND, text="Not found\n")
    return _answer(request, asset.content, asset.etag, asset.content_type, "no-cache")


def _page(source: Source) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            snapshot = await source.current()
        except KubeError as error:
            return _unreadable(error)
        return _json(request, snapshot.page)

    return answer


def _details(source: Source) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        key = "{namespace}/{name}".format(**request.match_info)
        try:
            snapshot = await source.current()
        except KubeError as error:
            return _unreadable(error)
        body = snapshot.details(key)
        if body is None:
            text = {"error": f"CloudRunIdentity {key} does not exist"}
            return web.json_response(text, status=HTTPStatus.NOT_FOUND)
        return _json(request, body)

    return answer


def _json(request: web.Request, body: Body) -> web.StreamResponse:
    # The script keeps the ETag itself, so that no state of the cluster is stored on disk.
    return _answer(request, body.json, body.etag, "application/json", "no-store")


def _answer(
    request: web.Request, content: bytes, etag: str, content_type: str, cache_control: str
) -> web.StreamResponse:
    headers = {"Cache-Control": cache_control}
    known = request.if_none_match or ()
    is_known = any(each.value == etag for each in known)
    response = (
        web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        if is_known
        else web.Response(body=content, content_type=content_type, charset="utf-8", headers=headers)
    )
    response.etag = etag
    if not is_known:
        response.enable_compression()
    return response


def _unreadable(error: KubeError) -> web.Response:
    _log.warning("the page cannot read the cluster: %s", error)
    text = {"error": f"The cluster cannot be read: {error}"}
    return web.json_response(text, status=HTTPStatus.BAD_GATEWAY)
