"""Things that Google lists together, read at an age that the caller accepts."""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from .errors import Fault, GoogleError
from .single_flight_cache import Clock, Reading, SingleFlightCache

Item = TypeVar("Item")


class Collection(Generic[Item]):
    """The latest list, and the items read or written since it began. Ages are in seconds.

    `read_all` lists, `read_one` gets one item by its key; both may raise GoogleError, which is passed on.
    """

    def __init__(
        self,
        read_all: Callable[[], Awaitable[Mapping[str, Item]]],
        read_one: Callable[[str], Awaitable[Item]],
        clock: Clock,
    ) -> None:
        self._list = SingleFlightCache(read_all, clock)
        self._read_one = read_one
        self._clock = clock
        self._single: dict[str, Reading[Item]] = {}
        self._written: dict[str, float] = {}

    async def one(self, key: str, max_age: float) -> Item | None:
        """The item as it was at most so long ago, None if there is none; age 0 is a read of its own."""
        after = self._clock() - max_age
        if max_age > 0:
            known = self._single.get(key)
            if known is not None and known.began > max(after, self._written_at(key)):
                return known.value
            page = await self._page(after)
            if page.began > self._written_at(key) and key in page.value:
                return page.value[key]
        # Absence is never taken from a list: one made while Google was still spreading the news of a create
        # would be believed long after.
        return await self._get(key)

    async def all(self, max_age: float) -> Mapping[str, Item]:
        """Every item by its key; never older than the newest write."""
        newest_write = max(self._written.values(), default=_NEVER)
        return (await self._page(max(self._clock() - max_age, newest_write))).value

    def wrote(self, key: str) -> None:
        """Note that the item has just been written: older reads do not count for it any more."""
        self._written[key] = self._clock()

    def saw(self, key: str, item: Item) -> None:
        """Note what the reply of a write has just shown of the item."""
        self._written[key] = now = self._clock()
        self._single[key] = Reading(item, math.nextafter(now, math.inf))

    def _written_at(self, key: str) -> float:
        return self._written.get(key, _NEVER)

    async def _page(self, after: float) -> Reading[Mapping[str, Item]]:
        page = await self._list.get(after)
        self._written = {key: at for key, at in self._written.items() if at >= page.began}
        self._single = {key: reading for key, reading in self._single.items() if reading.began > page.began}
        return page

    async def _get(self, key: str) -> Item | None:
        began = self._clock()
        try:
            item = await self._read_one(key)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            self._single.pop(key, None)
            return None
        known = self._single.get(key)
        if known is None or known.began < began:
            self._single[key] = Reading(item, began)
        return item


_NEVER = float("-inf")
