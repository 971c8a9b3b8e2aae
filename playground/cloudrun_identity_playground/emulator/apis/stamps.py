"""Update times and etags of Cloud Run resources."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from google.protobuf import timestamp_pb2


class Stamps:
    """Stamps that are unique even if the clock does not advance. It returns seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = 0

    def put(self, resource: Any) -> None:
        """Stamp `resource`, as plain protobuf. Etags of Cloud Run include quotes."""
        self._last = max(int(self._clock() * 1e6), self._last + 1)
        stamp = timestamp_pb2.Timestamp()
        stamp.FromMicroseconds(self._last)
        resource.update_time.CopyFrom(stamp)
        content = base64.urlsafe_b64encode(f"{self._last}/{resource.name}".encode()).decode()
        resource.etag = f'"{content}"'
