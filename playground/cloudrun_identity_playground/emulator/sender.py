"""The sender of a call, as the headers of the request describe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sender:
    """Sender of a request, by its headers."""

    authorization: str = ""
    """Header `Authorization`."""
    reason: str = ""
    """Header `X-Goog-Request-Reason`."""
    user_agent: str = ""
    """Header `User-Agent`."""
    address: str = ""
    """IP address."""
    is_version_1: bool = False
    """True for a call over the REST API of version 1 of an API that has later versions too."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """Body of such a call."""
