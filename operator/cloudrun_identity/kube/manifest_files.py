"""Manifests read from files, and what is wrong with them, one line a problem."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cloudrun_identity.api import API_VERSION, GROUP, KINDS, PolicyLedger, Resource, Scope
from cloudrun_identity.api.schema import ApiModel
from cloudrun_identity.api.validation import complaints, misfits

from .resources import Object

SUFFIXES = (".yaml", ".yml", ".json")

STDIN = Path("-")


@dataclass(slots=True)
class Manifests:
    """Objects of our kinds and namespaces; `problems` name file, object and field, one line each."""

    objects: list[Object] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_manifests(paths: Iterable[Path], namespace: str) -> Manifests:
    """Read files, and all manifests in directories as `kubectl apply --filename` does: not in those below.

    A path `-` is standard input.
    `namespace` is that of objects that name none.
    """
    found = Manifests()
    seen: dict[tuple[str, str, str], Path] = {}
    for path in _files(paths):
        try:
            documents = list(yaml.load_all(_text(path), _UniqueKeys))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            found.problems.append(f"{path}{_where(error)}")
            continue
        for document in _items(documents):
            _take(found, seen, path, document, namespace)
    return found


class _KeyRepeated(yaml.MarkedYAMLError):
    """A field is set twice, which YAML forbids."""


class _UniqueKeys(yaml.SafeLoader):
    """Of a field that is set twice PyYAML itself would take the last, and nobody would know of the first."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            if key.value in seen:
                raise _KeyRepeated(problem=key.value, problem_mark=key.start_mark)
            seen.add(key.value)
        return node


def _text(path: Path) -> str:
    return (sys.stdin.buffer.read() if path == STDIN else path.read_bytes()).decode("utf-8")


def _take(
    found: Manifests, seen: dict[tuple[str, str, str], Path], path: Path, document: Any, namespace: str
) -> None:
    """Take in one document."""
    if not isinstance(document, dict) or not all(
        isinstance(document.get(field), str) for field in ("apiVersion", "kind")
    ):
        found.problems.append(f"{path}: a manifest has apiVersion, kind and metadata")
        return
    group = document["apiVersion"].partition("/")[0]
    kind = document["kind"]
    if group != GROUP and not (kind == "Namespace" and group == "v1"):
        return
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        found.problems.append(f"{path}: {kind}: metadata.name: must be set")
        return
    model = KINDS.get(kind)
    if model and model.scope is Scope.NAMESPACED:
        document = {**document, "metadata": {"namespace": namespace, **metadata}}
    place = kind, document["metadata"].get("namespace", ""), metadata["name"]
    where = f"{path}: {kind} {'/'.join(filter(None, place[1:]))}"
    if place in seen:
        found.problems.append(f"{where}: declared in {seen[place]} already; remove one of the two")
        return
    seen[place] = path
    problems = [f"{where}: {each}" for each in _problems(kind, model, document)] if group == GROUP else []
    found.problems += problems
    if not problems:
        found.objects.append(document)


def _problems(kind: str, model: type[Resource] | None, document: Object) -> Iterable[str]:
    """What the API server would refuse in an object of our group, as far as can be told without it."""
    if model is None or model is PolicyLedger:
        known = ", ".join(name for name in KINDS if name != PolicyLedger.__name__)
        return [f"kind: {kind!r} cannot be applied; use one of {known}"]
    if document["apiVersion"] != API_VERSION:
        return [f"apiVersion: {document['apiVersion']!r}: must be {API_VERSION}"]
    try:
        obj = model.model_validate(document)
    except ValidationError as error:
        return misfits(error)
    return [*_strangers(obj.spec, document.get("spec") or {}, "spec"), *complaints(obj)]


def _strangers(model: ApiModel, raw: Any, path: str) -> Iterator[str]:
    """The fields that the kind does not have: kubectl refuses them, and they are usually misspelt."""
    fields = {info.alias: getattr(model, name) for name, info in type(model).model_fields.items()}
    for name, value in raw.items():
        if name not in fields:
            yield f"{path}.{name}: there is no such field; known are {', '.join(map(str, fields))}"
        else:
            yield from _strangers_within(fields[name], value, f"{path}.{name}")


def _strangers_within(value: Any, raw: Any, path: str) -> Iterator[str]:
    match value, raw:
        case ApiModel(), dict():
            yield from _strangers(value, raw, path)
        case tuple(), list():
            for index, (item, raw_item) in enumerate(zip(value, raw, strict=True)):
                yield from _strangers_within(item, raw_item, f"{path}[{index}]")
        case _:
            return


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.iterdir() if each.suffix in SUFFIXES)
        else:
            yield path


def _items(documents: Iterable[Any]) -> Iterator[Any]:
    """The documents that are not empty, and those in lists."""
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "List":
            yield from _items(document.get("items") or ())
        elif document is not None:
            yield document


def _where(error: OSError | UnicodeDecodeError | yaml.YAMLError) -> str:
    match error:
        case OSError():
            return f": {error.strerror}"
        case _KeyRepeated(problem_mark=yaml.Mark(line=line)):
            return f", line {line + 1}: {error.problem} is set for the second time; remove one of the two"
        case yaml.MarkedYAMLError(problem_mark=yaml.Mark(line=line)):
            return f", line {line + 1}: this is not YAML"
        case _:
            return ": this is not text in UTF-8"
