"""Formats of request bodies and responses."""

import json
from enum import StrEnum
from typing import Any

import yaml
from aiohttp import web

from . import patches, protobuf
from .errors import ApiError, bad_request, unsupported_media_type

_READ = ("application/json", "application/yaml", protobuf.MEDIA_TYPE)
_YAML = frozenset({"application/yaml", patches.APPLY_PATCH})
_JSON = frozenset({"application/json", patches.JSON_PATCH, patches.MERGE_PATCH, patches.STRATEGIC_PATCH})
_ANY = frozenset({"application/json", "application/*", "*/*"})


class Form(StrEnum):
    """Form of objects in a response."""

    OBJECT = "object"
    TABLE = "table"
    METADATA = "metadata"


def form_of(accept: str) -> Form:
    """Return the first supported form of an Accept header.

    Raises:
        ApiError: 406, no form is supported.

    """
    for offer in accept.split(",") if accept else ["*/*"]:
        media_type, *options = (part.strip() for part in offer.split(";"))
        parameters = dict(option.split("=", 1) for option in options if "=" in option)
        match parameters.get("as"), parameters.get("v"):
            case "Table", "v1":
                return Form.TABLE
            case (("PartialObjectMetadata" | "PartialObjectMetadataList"), "v1"):
                return Form.METADATA
            case None, _ if media_type in _ANY:
                return Form.OBJECT
    raise ApiError(
        406,
        "NotAcceptable",
        "only the following media types are accepted: application/json, and in it Table and "
        "PartialObjectMetadata of meta.k8s.io/v1",
    )


async def read_body(request: web.Request) -> Any:
    """Decode the body; an empty one is an empty object.

    Raises:
        ApiError: 400 if it is invalid, 415 if its format is not supported.

    """
    raw = await request.read()
    if not raw:
        return {}
    if request.content_type == protobuf.MEDIA_TYPE:
        return protobuf.decode(raw)
    # Clients that send no type mean JSON.
    if request.content_type not in _YAML | _JSON | {"application/octet-stream"}:
        raise unsupported_media_type(patches.ACCEPTED if request.method == "PATCH" else _READ)
    try:
        return json.loads(raw)
    except ValueError as error:
        if request.content_type not in _YAML:
            raise bad_request(f"the body is not valid JSON: {error}") from error
    try:
        return yaml.load(raw, Loader=_YamlLoader)  # noqa: S506 - derived from the safe loader
    except yaml.YAMLError as error:
        raise bad_request(f"the body is not valid YAML: {error}") from error


async def read_object(request: web.Request) -> dict[str, Any]:
    """Decode a body that must be an object."""
    body = await read_body(request)
    if not isinstance(body, dict):
        raise bad_request("the body must be an object")
    return body


class _YamlLoader(yaml.SafeLoader):
    """YAML loader that keeps timestamps as strings, as JSON does."""


_YamlLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
