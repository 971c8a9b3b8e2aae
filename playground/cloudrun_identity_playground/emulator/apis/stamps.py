"""What every change of a Cloud Run resource leaves on it: a new update time and a new etag."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from google.protobuf import timestamp_pb2


class Stamps:
    """Stamps that are never given twice, even if the clock stands; it gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = 0

    def put(self, resource: Any) -> None:
        """Stamp `resource`, as plain protobuf; etags of Cloud Run are quoted, with the quotes in them."""
        self._last = max(int(self._clock() * 1e6), self._last + 1)
        stamp = timestamp_pb2.Timestamp()
        stamp.FromMicroseconds(self._last)
        resource.update_time.CopyFrom(stamp)
        content = base64.urlsafe_b64encode(f"{self._last}/{resource.name}".encode()).decode()
        resource.etag = f'"{content}"'
