"""Formats of request bodies and responses."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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


class Decoded(dict[str, Any]):
    """A decoded object, and messages about fields that its text has twice."""

    duplicates: Sequence[str] = ()
    is_yaml: bool = False


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
        return _decode_json(raw)
    except ValueError as error:
        if request.content_type not in _YAML:
            raise bad_request(f"the body is not valid JSON: {error}") from error
    try:
        return _decode_yaml(raw)
    except yaml.YAMLError as error:
        raise bad_request(f"the body is not valid YAML: {error}") from error


async def read_object(request: web.Request) -> Decoded:
    """Decode a body that must be an object."""
    body = await read_body(request)
    if not isinstance(body, dict):
        raise bad_request("the body must be an object")
    return body if isinstance(body, Decoded) else Decoded(body)


def _decode_json(raw: bytes) -> Any:
    """Decode JSON; an object has the paths of the fields that it has twice."""
    repeated: dict[int, list[str]] = {}  # by the id of the object that has them
    objects: list[dict[str, Any]] = []  # keeps the ids in use

    def decoded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        obj = dict(pairs)
        if len(obj) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            objects.append(obj)
            repeated[id(obj)] = [name for name, count in counts.items() if count > 1]
        return obj

    body = json.loads(raw, object_pairs_hook=decoded)
    if not isinstance(body, dict):
        return body
    result = Decoded(body)
    if repeated:
        result.duplicates = [f'duplicate field "{path}"' for path in _paths(body, repeated)]
    return result


def _paths(value: Any, repeated: Mapping[int, Sequence[str]], path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name in repeated.get(id(value), ()):
            yield f"{path}.{name}".lstrip(".")
        for name, inner in value.items():
            yield from _paths(inner, repeated, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _paths(inner, repeated, f"{path}[{place}]")


def _decode_yaml(raw: bytes) -> Any:
    """Decode YAML; an object has the lines of the keys that it has twice."""
    loader = _YamlLoader(raw)
    try:
        body = loader.get_single_data()
    finally:
        loader.dispose()
    if not isinstance(body, dict):
        return body
    result = Decoded(body)
    result.duplicates, result.is_yaml = loader.duplicates, True
    return result


class _YamlLoader(yaml.SafeLoader):
    """YAML loader that keeps timestamps as strings, as JSON does, and records keys that appear twice."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.duplicates: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                self.duplicates.append(f'line {line}: key "{key.value}" already set in map')
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_YamlLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
