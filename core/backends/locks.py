"""One thing at a time for each version."""

import asyncio
from weakref import WeakValueDictionary

from longshore.core.names import VersionKey


class Locks:
    """A lock for each version, for as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[VersionKey, asyncio.Lock] = WeakValueDictionary()

    def __len__(self) -> int:
        """Return how many versions have one now."""
        return len(self._locks)

    def of(self, key: VersionKey) -> asyncio.Lock:
        """Return the lock of a version: use it at once, for nobody else keeps it."""
        return self._locks.setdefault(key, asyncio.Lock())

    def taken(self, key: VersionKey) -> bool:
        """Return whether something is being done to a version."""
        lock = self._locks.get(key)
        return lock is not None and lock.locked()
