"""Annotations of Cloud Run v1 that are fields in v2.

https://cloud.google.com/run/docs/reference/rest/v1/namespaces.services#ObjectMeta lists them. All other
annotations are the same in both versions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor

Json = dict[str, Any]

_RUN, _AUTOSCALING = "run.googleapis.com", "autoscaling.knative.dev"
OUTPUT_ONLY = frozenset(
    {
        *(f"serving.knative.dev/{name}" for name in ("creator", "lastModifier")),
        *(f"{_RUN}/{name}" for name in ("creator", "lastModifier", "operation-id", "ingress-status", "urls")),
    }
)
"""Annotations that callers cannot set."""


@dataclass(frozen=True)
class Annotation:
    """One annotation, and its field in v2."""

    name: str
    """Name of the annotation."""
    path: tuple[str, ...]
    """Path of the field in the JSON of v2."""
    read: Callable[[str], Any] = str
    """Converts the annotation to the field."""
    write: Callable[[Any], str] = str
    """Converts the field to the annotation."""


def _words(**words: str) -> tuple[Callable[[str], Any], Callable[[Any], str]]:
    """Return both conversions of an enum: the name of each value, and its word."""
    return {word: name for name, word in words.items()}.get, lambda name: words.get(name, "")


def _truth(text: str) -> bool:
    return text.lower() == "true"


def _word(truth: bool) -> str:
    return "true" if truth else "false"


Table = tuple[Annotation, ...]

WORKLOAD = (
    Annotation(
        f"{_RUN}/ingress",
        ("ingress",),
        *_words(
            INGRESS_TRAFFIC_ALL="all",
            INGRESS_TRAFFIC_INTERNAL_ONLY="internal",
            INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER="internal-and-cloud-load-balancing",
            INGRESS_TRAFFIC_NONE="none",
        ),
    ),
    Annotation(f"{_RUN}/launch-stage", ("launchStage",)),
    Annotation(f"{_RUN}/description", ("description",)),
    Annotation(f"{_RUN}/client-name", ("client",)),
    Annotation(f"{_RUN}/client-version", ("clientVersion",)),
    Annotation(f"{_RUN}/invoker-iam-disabled", ("invokerIamDisabled",), _truth, _word),
    Annotation(f"{_RUN}/default-url-disabled", ("defaultUriDisabled",), _truth, _word),
    Annotation(f"{_RUN}/minScale", ("scaling", "minInstanceCount"), int),
    Annotation(f"{_RUN}/manualInstanceCount", ("scaling", "manualInstanceCount"), int),
    Annotation(
        f"{_RUN}/scalingMode",
        ("scaling", "scalingMode"),
        *_words(AUTOMATIC="automatic", MANUAL="manual"),
    ),
)
"""Annotations of a service, job or worker pool."""

TEMPLATE = (
    Annotation(f"{_AUTOSCALING}/maxScale", ("scaling", "maxInstanceCount"), int),
    Annotation(f"{_AUTOSCALING}/minScale", ("scaling", "minInstanceCount"), int),
    Annotation(f"{_RUN}/client-name", ("client",)),
    Annotation(f"{_RUN}/client-version", ("clientVersion",)),
    Annotation(f"{_RUN}/sessionAffinity", ("sessionAffinity",), _truth, _word),
    Annotation(f"{_RUN}/encryption-key", ("encryptionKey",)),
    *(
        Annotation(
            f"{_RUN}/execution-environment",
            (*parent, "executionEnvironment"),
            *_words(EXECUTION_ENVIRONMENT_GEN1="gen1", EXECUTION_ENVIRONMENT_GEN2="gen2"),
        )
        for parent in ((), ("template",))
    ),
    *(
        annotation
        for parent in ((), ("template",))
        for annotation in (
            Annotation(f"{_RUN}/vpc-access-connector", (*parent, "vpcAccess", "connector")),
            Annotation(
                f"{_RUN}/vpc-access-egress",
                (*parent, "vpcAccess", "egress"),
                *_words(ALL_TRAFFIC="all-traffic", PRIVATE_RANGES_ONLY="private-ranges-only"),
            ),
        )
    ),
)
"""Annotations of a template. The path with `template` is that of a job, whose template has a template."""


def fields_of(annotations: Mapping[str, str], table: Table, into: Json, message: Descriptor) -> Json:
    """Set the fields of `into` that are annotations in v1; return the other annotations.

    A kind without the field, such as a job without an ingress, keeps the annotation.
    """
    left = {name: value for name, value in annotations.items() if name not in OUTPUT_ONLY}
    for each in table:
        if each.name in left and _declares(message, each.path):
            put(into, each.path, each.read(left.pop(each.name)))
    return left


def annotations_of(shown: Json, table: Table) -> Json:
    """Return the fields of a message of v2 as annotations of v1."""
    found = ((each, _get(shown, each.path)) for each in table)
    converted = {each.name: each.write(value) for each, value in found if value not in (None, "", 0)}
    return {name: value for name, value in converted.items() if value}


def put(message: Json, path: tuple[str, ...], value: Any) -> None:
    """Set a field by its path."""
    *parents, last = path
    for parent in parents:
        message = message.setdefault(parent, {})
    message[last] = value


def _get(message: Json, path: tuple[str, ...]) -> Any:
    found: Any = message
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _declares(message: Descriptor, path: tuple[str, ...]) -> bool:
    """Return whether a message has a field, by its path in JSON."""
    fields = {field.json_name: field for field in message.fields}
    first, *rest = path
    if first not in fields:
        return False
    return not rest or _declares(fields[first].message_type, tuple(rest))
