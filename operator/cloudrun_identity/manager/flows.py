"""Flows: due keys of the work queue, grouped so that no group delays the others.

The idea is that of the API Priority and Fairness of Kubernetes:
https://kubernetes.io/docs/concepts/cluster-administration/flow-control/.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Flows(Generic[K]):
    """Due keys of one priority, by flow. Flows take turns."""

    def __init__(self) -> None:
        self._flows: OrderedDict[str, OrderedDict[K, float]] = OrderedDict()

    def put(self, flow: str, key: K, since: float) -> None:
        """Add a key of the flow that is due since a time."""
        self._flows.setdefault(flow, OrderedDict())[key] = since

    def contains(self, flow: str, key: K) -> bool:
        """Return whether the key of the flow is due."""
        return key in self._flows.get(flow, ())

    def remove(self, flow: str, key: K) -> float:
        """Remove the key. Return the time since which it is due."""
        keys = self._flows[flow]
        since = keys.pop(key)
        if not keys:
            del self._flows[flow]
        return since

    def pop(self, admits: Callable[[str], bool]) -> K | None:
        """Remove and return the oldest key of the next admitted flow; None if there is none."""
        flow = next((flow for flow in self._flows if admits(flow)), None)
        if flow is None:
            return None
        key = next(iter(self._flows[flow]))
        self._flows.move_to_end(flow)
        self.remove(flow, key)
        return key

    def depth(self) -> Mapping[str, int]:
        """Return the number of keys of each flow."""
        return {flow: len(keys) for flow, keys in self._flows.items()}

    def due_since(self) -> Iterable[float]:
        """Return the times since which the keys are due."""
        return (since for keys in self._flows.values() for since in keys.values())

    def __len__(self) -> int:
        return sum(map(len, self._flows.values()))
