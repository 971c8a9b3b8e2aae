"""Lists and their pages. All pages of one list show the state at the first page."""

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import bad_request, expired, version_too_large
from .selectors import Selector
from .store import Collection, Store, Stored

_REMEMBERED_LISTS = 128


@dataclass(frozen=True)
class Page:
    """Page of a list; `version` is that of the whole list."""

    objects: Sequence[Stored]
    version: int
    continue_token: str = ""
    remaining: int = 0


class Listings:
    """Lists of which clients have not read all pages.

    Objects are immutable, so a list is kept as references, and a page is the same if it is requested twice.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unfinished: OrderedDict[str, tuple[int, list[Stored]]] = OrderedDict()

    def first(self, collection: Collection, namespace: str, is_selected: Selector, limit: int) -> Page:
        """List the first `limit` objects (0: all) of a namespace (empty: all namespaces) in order."""
        objects = [
            collection.objects[key]
            for key in sorted(collection.objects)
            if (not namespace or key[0] == namespace) and is_selected(collection.objects[key].object)
        ]
        if not limit or len(objects) <= limit:
            return Page(objects, self._store.version)
        name = secrets.token_urlsafe(12)
        self._unfinished[name] = self._store.version, objects
        if len(self._unfinished) > _REMEMBERED_LISTS:
            self._unfinished.popitem(last=False)
        return self._page(name, 0, limit)

    def next(self, continue_token: str, limit: int) -> Page:
        """List the page after a continue token.

        Raises:
            ApiError: 400, it is not a token; 410, the list is no longer kept.

        """
        name, _, start = continue_token.partition(":")
        if not start.isdigit():
            raise bad_request("invalid continue token: continue key is not valid")
        if name not in self._unfinished:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You can start a new list without the continue parameter."
            )
        return self._page(name, int(start), limit)

    def check_version(self, wanted: int, *, exact: bool) -> None:
        """Check that the current list may answer a client that has seen version `wanted`.

        Raises:
            ApiError: 504 if the version is in the future, 410 if it is past and wanted exactly.

        """
        current = self._store.version
        if wanted > current:
            raise version_too_large(wanted, current)
        if exact and wanted < current:
            raise expired(
                f"The resourceVersion for the provided list is too old: {wanted}, current: {current}"
            )

    def _page(self, name: str, start: int, limit: int) -> Page:
        version, objects = self._unfinished[name]
        end = start + limit if limit else len(objects)
        remaining = max(len(objects) - end, 0)
        return Page(objects[start:end], version, f"{name}:{end}" if remaining else "", remaining)
