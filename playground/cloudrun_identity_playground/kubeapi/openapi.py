"""OpenAPI documents for `kubectl explain` and `kubectl apply`."""

import copy
import hashlib
from typing import Any

from . import metadata
from .discovery import gvk
from .resources import Catalog, Resource
from .store import encode

Object = dict[str, Any]

V2_PROTOBUF = b"\n\x032.0"
"""An OpenAPI v2 document with a version only: kubectl takes field validation from v3."""
V2: Object = {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.36.0"}, "paths": {}}

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


def index(catalog: Catalog) -> Object:
    """Return `/openapi/v3`, the index of documents by version; the hash enables caching."""
    paths = {}
    for group, versions in catalog.versions().items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            digest = hashlib.sha256(encode(document(catalog, group, version))).hexdigest().upper()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def document(catalog: Catalog, group: str, version: str) -> Object:
    """Return the OpenAPI v3 document of one version."""
    resources = catalog.in_version(group, version)
    schemas: Object = {_META: metadata.SCHEMA.source}
    paths: Object = {}
    for resource in resources:
        schemas[_schema_name(resource)] = _schema(resource)
        paths.update(_paths(resource))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _schema_name(resource: Resource) -> str:
    if not resource.definition:
        package = resource.group.removesuffix(".k8s.io") or "core"
        return f"io.k8s.api.{package}.{resource.version}.{resource.kind}"
    reversed_group = ".".join(reversed(resource.group.split(".")))
    return f"{reversed_group}.{resource.version}.{resource.kind}"


def _schema(resource: Resource) -> Object:
    schema = copy.deepcopy(resource.schema.source)
    schema["properties"] = {
        "apiVersion": {
            "type": "string",
            "description": "APIVersion defines the versioned schema of this representation of an object.",
        },
        "kind": {
            "type": "string",
            "description": "Kind is a string value representing the REST resource this object represents.",
        },
        "metadata": {
            "description": "Standard object's metadata.",
            "allOf": [{"$ref": f"#/components/schemas/{_META}"}],
        },
        **{name: value for name, value in schema.get("properties", {}).items() if name != "metadata"},
    }
    schema["x-kubernetes-group-version-kind"] = [gvk(resource)]
    return schema


def _paths(resource: Resource) -> Object:
    root = f"/apis/{resource.group}" if resource.group else "/api"
    namespace = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"{root}/{resource.version}{namespace}/{resource.plural}"
    paths = {collection: {"post": _operation(resource, "post", _WRITE_PARAMETERS)}}
    if "patch" in resource.verbs:
        paths[collection]["get"] = _operation(resource, "list", ())
        paths[f"{collection}/{{name}}"] = {
            "get": _operation(resource, "get", ()),
            "put": _operation(resource, "put", _WRITE_PARAMETERS),
            "patch": _operation(resource, "patch", (*_WRITE_PARAMETERS, "force")),
            "delete": _operation(resource, "delete", ("dryRun",)),
        }
    return paths


def _operation(resource: Resource, action: str, parameters: tuple[str, ...]) -> Object:
    schema = {"$ref": f"#/components/schemas/{_schema_name(resource)}"}
    return {
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(resource),
        "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in parameters],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}},
    }
