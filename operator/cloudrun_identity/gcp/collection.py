"""Cache of a collection that Google lists, with reads of single items."""

import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Generic, TypeVar

from .errors import Fault, GoogleError
from .single_flight_cache import Clock, Reading, SingleFlightCache

Item = TypeVar("Item")


class CachedCollection(Generic[Item]):
    """The latest list, and the items that were read or written since it started. Ages are in seconds.

    A subclass, `ReadOnce`, is for a command that writes nothing.
    """

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


class ReadOnce(CachedCollection[Item]):
    """A collection of which a command reads nothing twice, whatever age its callers accept.

    The first items are read one by one, because a plan of a few objects does not need a list of thousands.
    After `SINGLE_READS`, the rest comes from one list.
    """

    def __init__(
        self,
        read_all: Callable[[], Awaitable[Mapping[str, Item]]],
        read_one: Callable[[str], Awaitable[Item]],
        clock: Clock,
    ) -> None:
        """Create an empty cache with the functions that a `CachedCollection` takes."""
        super().__init__(read_all, read_one, clock)
        self._items: dict[str, SingleFlightCache[Item | None]] = {}
        self._is_unlisted = False

    async def one(self, key: str, max_age: float) -> Item | None:  # noqa: ARG002
        """Return the item; None if it does not exist."""
        if key not in self._items:
            if len(self._items) >= SINGLE_READS and (found := (await self._known()).get(key)):
                return found
            # A list does not prove that an item does not exist: it may have been created since.
            self._items.setdefault(key, SingleFlightCache(partial(self._get, key), self._clock))
        return (await self._items[key].get(_NEVER)).value

    async def all(self, max_age: float) -> Mapping[str, Item]:  # noqa: ARG002
        """Return every item by key."""
        return (await self._listed(_NEVER)).value

    async def _known(self) -> Mapping[str, Item]:
        """Return every item by key; none if they cannot be listed, so that each is read."""
        if self._is_unlisted:
            return {}
        try:
            return await self.all(0.0)
        except GoogleError:
            self._is_unlisted = True
            return {}


SINGLE_READS = 16
"""Items that a command reads one by one before it lists all of them."""
