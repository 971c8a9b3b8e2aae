"""Latency of calls."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from .calls import only_reads

_IAM = "google.iam.admin.v1.IAM"
_PROJECTS = "google.cloud.resourcemanager.v3.Projects"

# Medians of the recordings, in seconds.
_RECORDED: Mapping[str, float] = {
    f"{_PROJECTS}/GetIamPolicy": 0.176,
    f"{_PROJECTS}/SetIamPolicy": 0.786,
    f"{_IAM}/GetServiceAccount": 0.088,
    f"{_IAM}/CreateServiceAccount": 0.606,
    f"{_IAM}/DeleteServiceAccount": 0.212,
    "google.longrunning.Operations/GetOperation": 0.115,
}
# Cloud Run by verb. Methods without a recording have the value of a similar one.
_RECORDED_RUN: Mapping[str, float] = {
    "Get": 0.107,
    "List": 0.107,
    "Create": 0.467,
    "Update": 0.235,
    "Delete": 0.127,
}
_READ, _WRITE = 0.1, 0.25

OPERATION_SECONDS = 1.0
"""Duration of a Cloud Run operation with recorded latency. Recordings have 6 to 52 seconds.

The value is shorter, so that benchmarks with many workloads end.
"""


class Latency(StrEnum):
    """Source of the duration of a call."""

    NONE = "none"
    RECORDED = "recorded"

    def seconds(self, rpc: str) -> float:
        """Return how long a call of `rpc` takes before it has an effect."""
        if self is Latency.NONE:
            return 0.0
        service, _, method = rpc.partition("/")
        if rpc in _RECORDED:
            return _RECORDED[rpc]
        if service.startswith("google.cloud.run."):
            for verb, seconds in _RECORDED_RUN.items():
                if method.startswith(verb):
                    return seconds
        return _READ if only_reads(rpc) else _WRITE

    @property
    def operation_seconds(self) -> float:
        """Duration of a Cloud Run operation."""
        return OPERATION_SECONDS if self is Latency.RECORDED else 0.0
