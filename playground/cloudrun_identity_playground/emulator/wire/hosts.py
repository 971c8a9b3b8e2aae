"""Hosts of Google's APIs that are served.

Through the proxy, calls of all APIs arrive. Some have the same paths: `/v1/projects/P/locations/L/jobs` is
one of Cloud Run and of Cloud Scheduler.
"""

from __future__ import annotations

import re
from typing import Final

from cloudrun_identity.api import TARGET_KINDS

_GOOGLE: Final = ".googleapis.com"
_APIS: Final = frozenset(
    {descriptor.host.removesuffix(_GOOGLE) for descriptor in TARGET_KINDS.values()}
    | {
        "iamcredentials",
        "logging",
        "monitoring",
        "oauth2",
        "orgpolicy",
        "policyanalyzer",
        "serviceusage",
        "sts",
        "www",
    }
)
_REGIONAL: Final = re.compile(r"[a-z]+-[a-z]+\d+-(run)|([a-z]+)\.[a-z]+-[a-z]+\d+\.rep")


def is_served(host: str) -> bool:
    """Return whether the emulator answers for a host. It does for each that is not one of Google's."""
    name = host.partition(":")[0]
    if not name.endswith(_GOOGLE):
        return True
    api = name.removesuffix(_GOOGLE)
    regional = _REGIONAL.fullmatch(api)
    return (regional[1] or regional[2] if regional is not None else api) in _APIS
