"""Protobuf bodies. kubectl sends them for some built-in kinds and does not fall back to JSON.

The messages have the fields that kubectl sends. Field numbers are those of the `generated.proto` files of
`k8s.io/api` and `k8s.io/apimachinery`. Other fields are dropped.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError, Message

from .errors import bad_request, unsupported_media_type

Object = dict[str, Any]

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_PACKAGE = "kubeapi"

# A type in capitals is a message of this table; `[]` means repeated, `map` string keys.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "TypeMeta": {"apiVersion": (1, "string"), "kind": (2, "string")},
    "Unknown": {"typeMeta": (1, "TypeMeta"), "raw": (2, "bytes")},
    "OwnerReference": {
        "kind": (1, "string"),
        "name": (3, "string"),
        "uid": (4, "string"),
        "apiVersion": (5, "string"),
        "controller": (6, "bool"),
        "blockOwnerDeletion": (7, "bool"),
    },
    "ObjectMeta": {
        "name": (1, "string"),
        "generateName": (2, "string"),
        "namespace": (3, "string"),
        "uid": (5, "string"),
        "resourceVersion": (6, "string"),
        "labels": (11, "map string"),
        "annotations": (12, "map string"),
        "ownerReferences": (13, "[]OwnerReference"),
        "finalizers": (14, "[]string"),
    },
    "Namespace": {"metadata": (1, "ObjectMeta")},
    "ServiceAccount": {"metadata": (1, "ObjectMeta")},
    "Secret": {
        "metadata": (1, "ObjectMeta"),
        "data": (2, "map bytes"),
        "type": (3, "string"),
        "stringData": (4, "map string"),
        "immutable": (5, "bool"),
    },
    "ConfigMap": {
        "metadata": (1, "ObjectMeta"),
        "data": (2, "map string"),
        "binaryData": (3, "map bytes"),
        "immutable": (4, "bool"),
    },
    "ResourceAttributes": {
        "namespace": (1, "string"),
        "verb": (2, "string"),
        "group": (3, "string"),
        "version": (4, "string"),
        "resource": (5, "string"),
        "subresource": (6, "string"),
        "name": (7, "string"),
    },
    "SelfSubjectAccessReviewSpec": {"resourceAttributes": (1, "ResourceAttributes")},
    "SelfSubjectAccessReview": {
        "metadata": (1, "ObjectMeta"),
        "spec": (2, "SelfSubjectAccessReviewSpec"),
    },
    "Preconditions": {"uid": (1, "string"), "resourceVersion": (2, "string")},
    "DeleteOptions": {
        "preconditions": (2, "Preconditions"),
        "propagationPolicy": (4, "string"),
        "dryRun": (5, "[]string"),
    },
}
_SCALARS = {
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
}


def decode(body: bytes) -> Object:
    """Decode a protobuf body to the object that JSON would have.

    Raises:
        ApiError: 400 for an invalid body, 415 for an unsupported kind.

    """
    if not body.startswith(_MAGIC):
        raise bad_request("the body is not a Kubernetes protobuf object")
    try:
        envelope = _new("Unknown")
        envelope.ParseFromString(body[len(_MAGIC) :])
        head = json_format.MessageToDict(envelope.typeMeta)
        if head.get("kind") not in _MESSAGES:
            raise unsupported_media_type(["application/json", "application/yaml"])
        message = _new(head["kind"])
        message.ParseFromString(envelope.raw)
    except DecodeError as error:
        raise bad_request(f"the body cannot be decoded: {error}") from error
    return {**json_format.MessageToDict(message, preserving_proto_field_name=True), **head}


def _new(name: str) -> Message:
    message: Message = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))()
    return message


def _declare() -> descriptor_pool.DescriptorPool:
    # proto3, because it drops empty fields: Kubernetes sends every string, even if it is not set.
    file = descriptor_pb2.FileDescriptorProto(name="kubeapi.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            _add_field(message, field_name, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, json_name=name, number=number)
    repeated = kind.startswith(("[]", "map "))
    field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
    element = kind.removeprefix("[]").removeprefix("map ")
    if kind.startswith("map "):
        entry = message.nested_type.add(name=f"{name[0].upper()}{name[1:]}Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", 1, "string")
        _add_field(entry, "value", 2, element)
        field.type = field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{message.name}.{entry.name}"
    elif element in _SCALARS:
        field.type = _SCALARS[element]
    else:
        field.type = field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{element}"


_POOL = _declare()
