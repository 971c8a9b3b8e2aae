"""Messages of Secret Manager, whose client library is not a dependency.

Source: https://github.com/googleapis/googleapis/blob/master/google/cloud/secretmanager/v1. The messages have
the fields that the emulator knows, under the published numbers.
"""

from __future__ import annotations

import proto
from google.protobuf import timestamp_pb2

__protobuf__ = proto.module(package="cloudrun_identity_playground.secretmanager")


class GetSecretRequest(proto.Message):  # type: ignore[misc]  # proto-plus ships no types
    """Request of GetSecret."""

    name = proto.Field(proto.STRING, number=1)


class Secret(proto.Message):  # type: ignore[misc]  # proto-plus ships no types
    """A secret, without its replication and its versions."""

    name = proto.Field(proto.STRING, number=1)
    create_time = proto.Field(proto.MESSAGE, number=3, message=timestamp_pb2.Timestamp)
