"""Hypothesis strategies for arbitrary protobuf messages."""

from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

DEPTH = 5
"""Depth to which messages are filled. The containers of a job are at level four, their fields at five."""

UNKNOWN = b"\xfa\xff\x07\x06future"
"""Field 16383 with six bytes. No message has it; a newer server could send it."""


def messages(descriptor: Descriptor, depth: int = DEPTH) -> st.SearchStrategy[Any]:
    """Generate messages with arbitrary fields and values, sometimes with an unknown field."""
    return st.builds(_assembled, st.just(descriptor), st.lists(_parts(descriptor, depth), max_size=4))


@cache
def _parts(descriptor: Descriptor, depth: int) -> st.SearchStrategy[bytes]:
    """Generate serialized messages with one field. Merged, they result in any message."""
    fields = [
        field
        for field in descriptor.fields
        if field.type != FieldDescriptor.TYPE_GROUP and (depth > 1 or field.message_type is None)
    ]
    return st.one_of(st.just(UNKNOWN), *(_part(field, depth) for field in fields))


def _part(field: FieldDescriptor, depth: int) -> st.SearchStrategy[bytes]:
    if field.message_type is None:
        return _scalars(field).map(lambda value: _with(field, value))
    entry = field.message_type
    if entry.GetOptions().map_entry:
        # Whole entries, because merged parts of one could contradict each other.
        return st.builds(lambda key, value: _with_entry(field, key, value), *_entry(entry, depth))
    return st.deferred(lambda: messages(entry, depth - 1)).map(lambda value: _with(field, value))


def _entry(entry: Descriptor, depth: int) -> tuple[st.SearchStrategy[Any], st.SearchStrategy[Any]]:
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    if value.message_type is None:
        return _scalars(key), _scalars(value)
    return _scalars(key), messages(value.message_type, depth - 1)


def _with(field: FieldDescriptor, value: Any) -> bytes:
    message = GetMessageClass(field.containing_type)()
    if field.is_repeated and field.message_type is not None:
        getattr(message, field.name).add().CopyFrom(value)
    elif field.is_repeated:
        getattr(message, field.name).append(value)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)
    return bytes(message.SerializeToString())


def _with_entry(field: FieldDescriptor, key: Any, value: Any) -> bytes:
    message = GetMessageClass(field.containing_type)()
    entries = getattr(message, field.name)
    if field.message_type.fields_by_name["value"].message_type is None:
        entries[key] = value
    else:
        entries[key].CopyFrom(value)
    return bytes(message.SerializeToString())


def _assembled(descriptor: Descriptor, parts: list[bytes]) -> Any:
    message = GetMessageClass(descriptor)()
    for part in parts:
        message.MergeFromString(part)
    return message


def _scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return st.binary(max_size=8)
        case FieldDescriptor.CPPTYPE_STRING:
            return st.text(max_size=8)
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_ENUM:
            return st.integers(0, 2**31 - 1)  # a newer server knows more values
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return st.floats(allow_nan=False, width=32)
        case FieldDescriptor.CPPTYPE_INT32:
            return st.integers(-(2**31), 2**31 - 1)
        case FieldDescriptor.CPPTYPE_INT64:
            return st.integers(-(2**63), 2**63 - 1)
        case FieldDescriptor.CPPTYPE_UINT32:
            return st.integers(0, 2**32 - 1)
        case _:
            return st.integers(0, 2**64 - 1)
