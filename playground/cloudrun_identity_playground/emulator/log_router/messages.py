"""Messages of Cloud Logging's sinks, with the field numbers of google/logging/v2/logging_config.proto.

Its client library is not a dependency: it has no REST, which gcloud and Terraform use.
"""

from __future__ import annotations

import proto
from google.protobuf import empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2

PACKAGE = "cloudrun_identity_playground.logging"
__protobuf__ = proto.module(package=PACKAGE)


class LogSink(proto.Message):  # type: ignore[misc]  # proto-plus ships no types
    """A sink: a filter, and a destination for the entries that match it."""

    name = proto.Field(proto.STRING, number=1)
    destination = proto.Field(proto.STRING, number=3)
    filter = proto.Field(proto.STRING, number=5)
    description = proto.Field(proto.STRING, number=18)
    disabled = proto.Field(proto.BOOL, number=19)
    writer_identity = proto.Field(proto.STRING, number=8)
    include_children = proto.Field(proto.BOOL, number=9)
    create_time = proto.Field(timestamp_pb2.Timestamp, number=13)
    update_time = proto.Field(timestamp_pb2.Timestamp, number=14)


class CreateSinkRequest(proto.Message):  # type: ignore[misc]
    """Request of `CreateSink`."""

    parent = proto.Field(proto.STRING, number=1)
    sink = proto.Field(LogSink, number=2)
    unique_writer_identity = proto.Field(proto.BOOL, number=3)


class GetSinkRequest(proto.Message):  # type: ignore[misc]
    """Request of `GetSink`."""

    sink_name = proto.Field(proto.STRING, number=1)


class UpdateSinkRequest(proto.Message):  # type: ignore[misc]
    """Request of `UpdateSink`."""

    sink_name = proto.Field(proto.STRING, number=1)
    sink = proto.Field(LogSink, number=2)
    unique_writer_identity = proto.Field(proto.BOOL, number=3)
    update_mask = proto.Field(field_mask_pb2.FieldMask, number=4)


class DeleteSinkRequest(proto.Message):  # type: ignore[misc]
    """Request of `DeleteSink`."""

    sink_name = proto.Field(proto.STRING, number=1)


class ListSinksRequest(proto.Message):  # type: ignore[misc]
    """Request of `ListSinks`."""

    parent = proto.Field(proto.STRING, number=1)
    page_token = proto.Field(proto.STRING, number=2)
    page_size = proto.Field(proto.INT32, number=3)


class ListSinksResponse(proto.Message):  # type: ignore[misc]
    """Response of `ListSinks`."""

    sinks = proto.RepeatedField(LogSink, number=1)
    next_page_token = proto.Field(proto.STRING, number=2)


class ListLogEntriesRequest(proto.Message):  # type: ignore[misc]
    """Request of `ListLogEntries`."""

    resource_names = proto.RepeatedField(proto.STRING, number=8)
    filter = proto.Field(proto.STRING, number=2)
    order_by = proto.Field(proto.STRING, number=3)
    page_size = proto.Field(proto.INT32, number=4)
    page_token = proto.Field(proto.STRING, number=5)


class ListLogEntriesResponse(proto.Message):  # type: ignore[misc]
    """Response of `ListLogEntries`. Over gRPC, the entries have another type with Google."""

    entries = proto.RepeatedField(struct_pb2.Struct, number=1)
    next_page_token = proto.Field(proto.STRING, number=2)


CONFIG = "google.logging.v2.ConfigServiceV2"
LOGGING = "google.logging.v2.LoggingServiceV2"
METHODS = {
    f"{CONFIG}/CreateSink": (CreateSinkRequest, LogSink),
    f"{CONFIG}/GetSink": (GetSinkRequest, LogSink),
    f"{CONFIG}/UpdateSink": (UpdateSinkRequest, LogSink),
    f"{CONFIG}/DeleteSink": (DeleteSinkRequest, empty_pb2.Empty),
    f"{CONFIG}/ListSinks": (ListSinksRequest, ListSinksResponse),
    f"{LOGGING}/ListLogEntries": (ListLogEntriesRequest, ListLogEntriesResponse),
}
"""Classes of the request and the response of each method."""
