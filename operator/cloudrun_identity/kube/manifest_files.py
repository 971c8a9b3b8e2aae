"""Reads manifests from files and validates them without a cluster."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cloudrun_identity.api import API_VERSION, GROUP, KINDS, PolicyLedger, Resource, Scope
from cloudrun_identity.api.schema import ApiModel, legible
from cloudrun_identity.api.validation import complaints, misfits

from .resources import Object

SUFFIXES = (".yaml", ".yml", ".json")

STDIN = Path("-")
"""Path that stands for standard input."""


@dataclass(frozen=True, slots=True)
class Source:
    """Place of a manifest."""

    path: Path
    """File, or `-` for standard input."""
    line: int
    """First line of the document, from 1."""


@dataclass(slots=True)
class Manifests:
    """Result of reading files."""

    objects: list[Object] = field(default_factory=list)
    """Valid objects of the operator's kinds, and Namespaces."""

    problems: list[str] = field(default_factory=list)
    """One line per problem, with file, object and field."""

    sources: dict[tuple[str, str, str], Source] = field(default_factory=dict)
    """Place of each object, by kind, namespace and name."""

    others: list[tuple[Source, Object]] = field(default_factory=list)
    """Objects of other API groups, which are not validated."""


def read_manifests(paths: Iterable[Path], namespace: str) -> Manifests:
    """Read the manifests in the given files and directories.

    Like `kubectl apply --filename`, this reads a directory without its subdirectories. The path `-` is
    standard input. `namespace` is the namespace of objects that do not set one.
    """
    found = Manifests()
    for path in _files(paths):
        try:
            documents = list(_documents(_text(path)))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            found.problems.append(f"{path}{_describe(error)}")
            continue
        for line, document in documents:
            for item in _items([document]):
                _add(found, Source(path, line), item, namespace)
    return found


def read_documents(paths: Iterable[Path]) -> tuple[list[Any], list[str]]:
    """Return all documents of files and directories, whatever they declare, and one line per problem."""
    documents: list[Any] = []
    problems: list[str] = []
    for path in _files(paths):
        try:
            documents += _items(document for _, document in _documents(_text(path)))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problems.append(f"{path}{_describe(error)}")
    return documents, problems


class _DuplicateKey(yaml.MarkedYAMLError):
    """A mapping sets a key twice, which YAML forbids."""


class _Loader(yaml.SafeLoader):
    """Loader that rejects duplicate keys. PyYAML itself silently uses the last one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            if key.value in seen:
                raise _DuplicateKey(problem=key.value, problem_mark=key.start_mark)
            seen.add(key.value)
        return node


def _text(path: Path) -> str:
    return (sys.stdin.buffer.read() if path == STDIN else path.read_bytes()).decode("utf-8")


def _documents(text: str) -> Iterator[tuple[int, Any]]:
    """Yield the documents of a file, each with its first line."""
    loader = _Loader(text)
    try:
        while loader.check_node() and (node := loader.get_node()):
            yield node.start_mark.line + 1, loader.construct_document(node)
    finally:
        loader.dispose()


def _add(found: Manifests, source: Source, document: Any, namespace: str) -> None:
    """Add one document to the objects, or its problems to the problems."""
    path = source.path
    if not isinstance(document, dict) or not all(
        isinstance(document.get(field), str) for field in ("apiVersion", "kind")
    ):
        found.problems.append(f"{path}: not a manifest: apiVersion and kind must be set")
        return
    group = document["apiVersion"].partition("/")[0]
    kind = document["kind"]
    if group != GROUP and not (kind == "Namespace" and group == "v1"):
        found.others.append((source, document))
        return
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        found.problems.append(f"{path}: {legible(kind)}: metadata.name: must be set")
        return
    model = KINDS.get(kind)
    if model and model.scope is Scope.NAMESPACED:
        document = {**document, "metadata": {"namespace": namespace, **metadata}}
    key = kind, document["metadata"].get("namespace", ""), metadata["name"]
    where = f"{path}: {legible(' '.join([kind, '/'.join(filter(None, key[1:]))]))}"
    if key in found.sources:
        found.problems.append(
            f"{where}: already declared in {found.sources[key].path}; remove one of the two"
        )
        return
    found.sources[key] = source
    found_in_object = _problems(kind, model, document) if group == GROUP else ()
    problems = [f"{where}: {legible(each)}" for each in found_in_object]
    found.problems += problems
    if not problems:
        found.objects.append(document)


def _problems(kind: str, model: type[Resource] | None, document: Object) -> Iterable[str]:
    """Return what the API server would reject in the object, as far as can be checked without it."""
    if model is None or model is PolicyLedger:
        known = ", ".join(name for name in KINDS if name != PolicyLedger.__name__)
        return [f"kind: {kind!r} cannot be applied; use one of {known}"]
    if document["apiVersion"] != API_VERSION:
        return [f"apiVersion: {document['apiVersion']!r}: must be {API_VERSION}"]
    try:
        obj = model.model_validate(document)
    except ValidationError as error:
        return misfits(error)
    return [*_unknown_fields(obj.spec, document.get("spec") or {}, "spec"), *complaints(obj)]


def _unknown_fields(model: ApiModel, raw: Any, path: str) -> Iterator[str]:
    """Yield the fields that the kind does not have. kubectl rejects them too; they are usually misspelled."""
    fields = {info.alias: getattr(model, name) for name, info in type(model).model_fields.items()}
    for name, value in raw.items():
        if name not in fields:
            yield f"{path}.{name}: unknown field; the known fields are {', '.join(map(str, fields))}"
        else:
            yield from _unknown_fields_within(fields[name], value, f"{path}.{name}")


def _unknown_fields_within(value: Any, raw: Any, path: str) -> Iterator[str]:
    match value, raw:
        case ApiModel(), dict():
            yield from _unknown_fields(value, raw, path)
        case tuple(), list():
            for index, (item, raw_item) in enumerate(zip(value, raw, strict=True)):
                yield from _unknown_fields_within(item, raw_item, f"{path}[{index}]")
        case _:
            return


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.iterdir() if each.suffix in SUFFIXES)
        else:
            yield path


def _items(documents: Iterable[Any]) -> Iterator[Any]:
    """Yield the documents that are not empty, and the items of lists instead of the lists."""
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "List":
            yield from _items(document.get("items") or ())
        elif document is not None:
            yield document


def _describe(error: OSError | UnicodeDecodeError | yaml.YAMLError) -> str:
    match error:
        case OSError():
            return f": {error.strerror}"
        case _DuplicateKey(problem_mark=yaml.Mark(line=line)):
            return f", line {line + 1}: {error.problem} is set twice; remove one of the two"
        case yaml.MarkedYAMLError(problem_mark=yaml.Mark(line=line)):
            return f", line {line + 1}: the file is not valid YAML"
        case _:
            return ": the file is not UTF-8 text"
