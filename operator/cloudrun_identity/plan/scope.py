"""The objects that a dry run reconciles, and those that it has to reconcile next."""

from collections.abc import Iterable, Iterator

from cloudrun_identity.reconcile.cluster_state import ObjectKey


class Scope:
    """Objects to reconcile. An object is due until its reconcile begins, and again when it is added again.

    It replaces the work queue of the operator: the cache adds the objects that a change concerns.
    """

    def __init__(self) -> None:
        self._keys: set[ObjectKey] = set()
        self._due: set[ObjectKey] = set()
        self._waiting: set[ObjectKey] = set()

    @property
    def due(self) -> frozenset[ObjectKey]:
        """The objects that were added since their last reconcile began."""
        return frozenset(self._due)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(tuple(self._keys))

    def __len__(self) -> int:
        return len(self._keys)

    def update(self, *added: Iterable[ObjectKey]) -> None:
        """Add objects, which are due from now on."""
        for keys in map(tuple, added):
            self._keys.update(keys)
            self._due.update(keys)

    def begin(self, keys: Iterable[ObjectKey]) -> None:
        """Note that these objects are reconciled now. A later change makes them due again."""
        listed = tuple(keys)
        self._due.difference_update(listed)
        self._waiting.difference_update(listed)

    def wait(self, keys: Iterable[ObjectKey]) -> None:
        """Note that these objects wait for a change, until their next reconcile begins."""
        self._waiting.update(keys)

    def requeue_waiting(self) -> None:
        """Make the objects due that wait for a change."""
        self.update(self._waiting)

    def discard(self, key: ObjectKey) -> None:
        """Remove an object that no longer exists."""
        self._keys.discard(key)
        self._due.discard(key)
        self._waiting.discard(key)

    def clear(self) -> None:
        """Remove all objects."""
        self._keys.clear()
        self._due.clear()
        self._waiting.clear()
