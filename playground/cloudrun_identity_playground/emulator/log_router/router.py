"""The export of entries by sinks, with the disturbances that the switches ask for."""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cloudrun_identity_playground.emulator.access.effective import EffectivePermissions
from cloudrun_identity_playground.emulator.access.resources import Hierarchy
from cloudrun_identity_playground.emulator.apis.actor import Caller
from cloudrun_identity_playground.emulator.errors import GoogleError
from cloudrun_identity_playground.emulator.pubsub.store import PubSub
from cloudrun_identity_playground.emulator.switches import Switches

from .sinks import Sink, Sinks

_PUBLISH = "google.pubsub.v1.Publisher/Publish"
Content = tuple[bytes, Mapping[str, str]]
"""Data and attributes of a message."""


class LogRouter:
    """Sends entries to the topics of sinks. `clock` returns seconds since the epoch.

    The data of a message is the entry as JSON, and an attribute has its time
    (https://cloud.google.com/logging/docs/export/pubsub). An entry is lost if the writer identity of the sink
    may not publish to the topic, as with Google.
    """

    def __init__(
        self,
        sinks: Sinks,
        pubsub: PubSub,
        hierarchy: Hierarchy,
        permissions: EffectivePermissions,
        switches: Switches,
        clock: Callable[[], float],
    ) -> None:
        self._sinks = sinks
        self._pubsub = pubsub
        self._hierarchy = hierarchy
        self._permissions = permissions
        self._switches = switches
        self._clock = clock
        self._random = random.Random(0)
        self._order = itertools.count()
        self._held: list[tuple[float, int, Sink, Content]] = []
        self.counts: Counter[str] = Counter()
        """Messages that were exported, lost by the switch, or refused by the topic."""
        self.refusals: dict[str, str] = {}
        """Reason of the last refusal by the name of the sink."""

    @property
    def held(self) -> int:
        """Number of messages that are not exported yet."""
        return len(self._held)

    def route(self, entry: Mapping[str, Any]) -> None:
        """Send an entry to the topics of all sinks that match it."""
        container = str(entry["logName"]).partition("/logs/")[0]
        content: Content | None = None
        for sink in self._sinks.exporting(container):
            if sink.topic and sink.query(entry):
                content = content or content_of(entry)
                self._disturb(sink, content)

    def inject(self, contents: Iterable[Content]) -> None:
        """Publish messages to the topics of all sinks, without their filters and without disturbances."""
        everything = list(contents)
        for sink in self._sinks:
            if sink.topic:
                self._export(sink, everything)

    def release(self) -> None:
        """Export the messages that are due by now."""
        now = self._clock()
        while self._held and self._held[0][0] <= now and not self._switches.sink_stopped:
            _, _, sink, content = heapq.heappop(self._held)
            self._export(sink, [content])

    def _disturb(self, sink: Sink, content: Content) -> None:
        switches = self._switches
        if self._random.random() < switches.sink_loss:
            self.counts["lost"] += 1
            return
        copies = 1 + (self._random.random() < switches.sink_duplication)
        for _ in range(copies):
            delay = switches.sink_delay.total_seconds()
            delay += self._random.random() * switches.sink_reordering.total_seconds()
            if delay or switches.sink_stopped:
                held = (self._clock() + delay, next(self._order), sink, content)
                heapq.heappush(self._held, held)
            else:
                self._export(sink, [content])

    def _export(self, sink: Sink, contents: list[Content]) -> None:
        try:
            resource = self._hierarchy.resource(sink.topic, _PUBLISH)
            allowed = resource is not None and self._permissions.has(
                Caller(sink.writer), "pubsub.topics.publish", resource
            )
            if not allowed:
                self._refuse(sink, f"{sink.writer} may not publish to {sink.topic}", len(contents))
                return
            self._pubsub.publish(sink.topic, contents)
        except GoogleError as error:
            self._refuse(sink, error.message, len(contents))
        else:
            self.counts["exported"] += len(contents)

    def _refuse(self, sink: Sink, reason: str, count: int) -> None:
        self.counts["refused"] += count
        self.refusals[sink.name] = reason


def content_of(entry: Mapping[str, Any]) -> Content:
    """Return the message of an entry."""
    attributes = {"logging.googleapis.com/timestamp": str(entry.get("timestamp", ""))}
    return json.dumps(entry, separators=(",", ":")).encode(), attributes
