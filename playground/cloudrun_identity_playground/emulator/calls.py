"""Counters and a log of all calls, over gRPC and REST together."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .apis.target_messages import SERVED
from .apis.target_names import target_name

_REMEMBERED = 20_000
RUN = "run.googleapis.com"
APIS: Mapping[str, str] = {
    "google.iam.admin.v1.": "iam.googleapis.com",
    "google.iam.v2.": "iam.googleapis.com",
    "google.iam.v3.": "iam.googleapis.com",
    "google.cloud.resourcemanager.": "cloudresourcemanager.googleapis.com",
    "google.cloud.run.": RUN,
    "google.longrunning.": RUN,
    "google.cloud.orgpolicy.": "orgpolicy.googleapis.com",
    "google.iam.credentials.": "iamcredentials.googleapis.com",
    "google.cloud.policyanalyzer.": "policyanalyzer.googleapis.com",
    "google.monitoring.": "monitoring.googleapis.com",
    "google.logging.v2.": "logging.googleapis.com",
    **{f"{descriptor.get_method.partition('/')[0]}/": descriptor.host for descriptor in SERVED.values()},
}
"""Hosts of the APIs, by the prefix of their method names."""


def api_of(rpc: str, resource: str = "") -> str:
    """Return the host of the API of a method; empty if the emulator does not serve it.

    Several APIs have the policy methods of google.iam.v1.IAMPolicy. The resource shows which one is called.
    """
    if rpc.startswith("google.iam.v1."):
        target = target_name(resource, rpc)
        return target.descriptor.host if target else ""
    return next((host for prefix, host in APIS.items() if rpc.startswith(prefix)), "")


_READING = ("Get", "List", "Search", "Test", "Query")


def only_reads(rpc: str) -> bool:
    """Return whether `rpc` (`package.Service/Method`) only reads."""
    return rpc.partition("/")[2].startswith(_READING)


@dataclass(frozen=True)
class Call:
    """One call."""

    rpc: str
    """Name of the RPC, `package.Service/Method`."""
    code: str
    """Status code of the response."""
    reason: str
    """Header `X-Goog-Request-Reason`."""
    caller: str
    """E-mail of the caller."""


class Calls(Mapping[str, int]):
    """Number of calls by RPC, failed calls included.

    `log` holds the last 20,000 calls in the order in which they ended.
    """

    def __init__(self) -> None:
        self.log: deque[Call] = deque(maxlen=_REMEMBERED)
        self._counts: Counter[str] = Counter()

    def add(self, call: Call) -> None:
        """Count a call."""
        self.log.append(call)
        self._counts[call.rpc] += 1

    def reset(self) -> None:
        """Reset all counters."""
        self.log.clear()
        self._counts.clear()

    def __getitem__(self, rpc: str) -> int:
        """Return how often `rpc` was called."""
        return self._counts[rpc]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._counts))

    def __len__(self) -> int:
        return len(self._counts)
