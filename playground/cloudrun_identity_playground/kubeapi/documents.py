"""Documents about the API: versions, discovery, OpenAPI, health."""

from typing import Any, TypeVar

from aiohttp import web

from . import discovery, openapi
from .errors import path_not_found
from .resources import Catalog
from .store import encode

_OPENAPI_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_ROOT = ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
_T = TypeVar("_T")
_DISCOVERY_VERSIONS = ("v2", "v2beta1")


def answer(catalog: Catalog, parts: list[str], accept: str) -> web.Response | None:
    """Return the document at a path (split at its slashes), or None if it is a path of objects.

    Raises:
        ApiError: 404, the document does not exist.

    """
    match parts:
        case []:
            return _json({"paths": _ROOT})
        case ["healthz" | "livez" | "readyz"]:
            return web.Response(text="ok")
        case ["version"]:
            return _json(discovery.VERSION)
        case ["openapi", *rest]:
            return _openapi(catalog, rest, accept)
        case ["api" | "apis" as root]:
            return _groups(catalog, accept, core=root == "api")
        case ["apis", group]:
            return _json(_found(discovery.group(catalog, group)))
        case ["api", version]:
            return _json(discovery.resource_list(_found(catalog.in_version("", version))))
        case ["apis", group, version]:
            return _json(discovery.resource_list(_found(catalog.in_version(group, version))))
        case ["api" | "apis", *_]:
            return None
        case _:
            raise path_not_found()


def _openapi(catalog: Catalog, parts: list[str], accept: str) -> web.Response:
    match parts:
        case ["v2"] if "protobuf" in accept:
            return web.Response(body=openapi.V2_PROTOBUF, content_type=_OPENAPI_V2_PROTOBUF)
        case ["v2"]:
            return _json(openapi.V2)
        case ["v3"]:
            return _json(openapi.index(catalog))
        case ["v3", "api", version] if catalog.in_version("", version):
            return _json(openapi.document(catalog, "", version))
        case ["v3", "apis", group, version] if catalog.in_version(group, version):
            return _json(openapi.document(catalog, group, version))
        case _:
            raise path_not_found()


def _groups(catalog: Catalog, accept: str, *, core: bool) -> web.Response:
    if f"as={discovery.AGGREGATED}" in accept:
        for version in _DISCOVERY_VERSIONS:
            if f"v={version};" in f"{accept.replace(',', ';')};":
                media_type = f"application/json;g=apidiscovery.k8s.io;v={version};as={discovery.AGGREGATED}"
                document = discovery.aggregated(catalog, core=core, version=version)
                return web.Response(body=encode(document), headers={"Content-Type": media_type})
    return _json(discovery.core_versions() if core else discovery.group_list(catalog))


def _found(document: _T | None) -> _T:
    if not document:
        raise path_not_found()
    return document


def _json(document: Any) -> web.Response:
    return web.Response(body=encode(document), content_type="application/json")
