"""Cache of a collection that Google lists, with reads of single items."""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from .errors import Fault, GoogleError
from .single_flight_cache import Clock, Reading, SingleFlightCache

Item = TypeVar("Item")


class CachedCollection(Generic[Item]):
    """The latest list, and the items that were read or written since it started. Ages are in seconds."""

    def __init__(
        self,
        read_all: Callable[[], Awaitable[Mapping[str, Item]]],
        read_one: Callable[[str], Awaitable[Item]],
        clock: Clock,
    ) -> None:
        """Create an empty cache. `read_all` lists, and `read_one` gets one item by its key.

        Both may raise GoogleError, which the methods raise too.
        """
        self._list = SingleFlightCache(read_all, clock)
        self._read_one = read_one
        self._clock = clock
        self._single: dict[str, Reading[Item]] = {}
        self._written: dict[str, float] = {}

    async def one(self, key: str, max_age: float) -> Item | None:
        """Return the item, at most `max_age` old; None if it does not exist. Age 0 always reads the item."""
        after = self._clock() - max_age
        if max_age > 0:
            known = self._single.get(key)
            if known is not None and known.started > max(after, self._written_at(key)):
                return known.value
            listed = await self._listed(after)
            if listed.started > self._written_at(key) and key in listed.value:
                return listed.value[key]
        # A list never proves that an item does not exist: if it was read while a create still propagated,
        # the item would count as missing long afterwards.
        return await self._get(key)

    async def all(self, max_age: float) -> Mapping[str, Item]:
        """Return every item by key, at most `max_age` old and newer than the latest write."""
        latest_write = max(self._written.values(), default=_NEVER)
        return (await self._listed(max(self._clock() - max_age, latest_write))).value

    def invalidate(self, key: str) -> None:
        """Record that the item was just written. Older reads of it no longer count."""
        self._written[key] = self._clock()

    def update(self, key: str, item: Item) -> None:
        """Store the item that the reply to a write shows."""
        self._written[key] = now = self._clock()
        self._single[key] = Reading(item, math.nextafter(now, math.inf))

    def _written_at(self, key: str) -> float:
        return self._written.get(key, _NEVER)

    async def _listed(self, after: float) -> Reading[Mapping[str, Item]]:
        listed = await self._list.get(after)
        self._written = {key: at for key, at in self._written.items() if at >= listed.started}
        self._single = {
            key: reading for key, reading in self._single.items() if reading.started > listed.started
        }
        return listed

    async def _get(self, key: str) -> Item | None:
        started = self._clock()
        try:
            item = await self._read_one(key)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            self._single.pop(key, None)
            return None
        known = self._single.get(key)
        if known is None or known.started < started:
            self._single[key] = Reading(item, started)
        return item


_NEVER = float("-inf")
