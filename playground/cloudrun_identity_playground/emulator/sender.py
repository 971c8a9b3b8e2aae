"""The sender of a call, as the headers of the request describe it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sender:
    """What a request says about its sender."""

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
