"""Messages of the target kinds whose client libraries are not dependencies, built from the table of kinds.

The messages have the fields that the table names, under the published numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import proto
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

from cloudrun_identity.api import TARGET_KINDS, NamedBy, TargetKind, TargetKindDescriptor

__protobuf__ = proto.module(package="cloudrun_identity_playground.resources")

SERVED: Final[Mapping[TargetKind, TargetKindDescriptor]] = {
    kind: descriptor
    for kind, descriptor in TARGET_KINDS.items()
    if descriptor.is_admitted_by_name_only
    and descriptor.named_by is NamedBy.NAME
    and not descriptor.contains_projects
}
"""Kinds whose resources have only an existence, an id and a policy here."""

_FILE: Final = "cloudrun_identity_playground/resources.proto"
_PACKAGE: Final = "cloudrun_identity_playground.target_resources"


class GetRequest(proto.Message):  # type: ignore[misc]  # proto-plus ships no types
    """Request of every method that reads a resource by its name."""

    name = proto.Field(proto.STRING, number=1)


def _messages() -> Mapping[str, Any]:
    """Return the class of the reply of each method that reads a resource."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name=_FILE,
        package=_PACKAGE,
        syntax="proto3",
        dependency=[timestamp_pb2.DESCRIPTOR.name],
    )
    by_method = {descriptor.get_method: descriptor for descriptor in SERVED.values()}
    for descriptor in by_method.values():
        message = file.message_type.add(name=descriptor.kind.value)
        message.field.add(name="name", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
        if (number := descriptor.project_number_field) is not None:
            message.field.add(
                name="project", number=number, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL
            )
        if (unique_id := descriptor.unique_id_field) is not None:
            message.field.add(
                name=id_field(descriptor),
                number=unique_id.number,
                type=field.TYPE_MESSAGE,
                label=field.LABEL_OPTIONAL,
                type_name=".google.protobuf.Timestamp",
            )
    pool = descriptor_pool.Default()
    pool.Add(file)
    return {
        method: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{_PACKAGE}.{descriptor.kind.value}")
        )
        for method, descriptor in by_method.items()
    }


def id_field(descriptor: TargetKindDescriptor) -> str:
    """Return the name of the field with the unique id as protos spell it; empty without one."""
    unique_id = descriptor.unique_id_field
    return re.sub(r"[A-Z]", lambda each: f"_{each[0].lower()}", unique_id.name) if unique_id else ""


MESSAGES: Final = _messages()
"""The class of the reply of each method that reads a resource of a kind in `SERVED`."""
