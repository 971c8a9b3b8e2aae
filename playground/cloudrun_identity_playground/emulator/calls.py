"""Counters and a log of all calls, over gRPC and REST together."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_REMEMBERED = 20_000
RUN = "run.googleapis.com"
APIS: Mapping[str, str] = {
    "google.iam.admin.v1.": "iam.googleapis.com",
    "google.cloud.resourcemanager.": "cloudresourcemanager.googleapis.com",
    "google.cloud.run.": RUN,
    "google.longrunning.": RUN,
    "google.cloud.secretmanager.": "secretmanager.googleapis.com",
    "google.cloud.orgpolicy.": "orgpolicy.googleapis.com",
    "google.iam.credentials.": "iamcredentials.googleapis.com",
}
"""Hosts of the APIs, by the prefix of their method names."""

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
