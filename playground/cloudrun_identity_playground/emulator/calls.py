"""What was called, over gRPC and REST together."""

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
"""The hosts of the APIs, by what the names of their methods begin with."""

_READING = ("Get", "List", "Search", "Test", "Query")


def only_reads(rpc: str) -> bool:
    """Whether `rpc` (`package.Service/Method`) changes nothing."""
    return rpc.partition("/")[2].startswith(_READING)


@dataclass(frozen=True)
class Call:
    """One call: the RPC, the code it ended with, the caller's `X-Goog-Request-Reason` and e-mail."""

    rpc: str
    code: str
    reason: str
    caller: str


class Calls(Mapping[str, int]):
    """How often each RPC was called, by its name; failed calls count too.

    `log` holds the last 20,000 calls in the order they ended.
    """

    def __init__(self) -> None:
        self.log: deque[Call] = deque(maxlen=_REMEMBERED)
        self._counts: Counter[str] = Counter()

    def add(self, call: Call) -> None:
        """Count `call`."""
        self.log.append(call)
        self._counts[call.rpc] += 1

    def reset(self) -> None:
        """Start from zero."""
        self.log.clear()
        self._counts.clear()

    def __getitem__(self, rpc: str) -> int:
        """How often `rpc` was called; 0 if never."""
        return self._counts[rpc]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._counts))

    def __len__(self) -> int:
        return len(self._counts)
