"""A counter of repeated events whose number of keys is bounded.

Clients choose some of the texts that are logged or stored, such as host names and key ids. A
counter of these needs a bound, or a client could fill memory or the disk with new keys.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class BoundedCounter(Generic[Key]):
    """Counts events by key. All keys beyond the limit share the overflow key.

    Args:
        limit: The number of keys that are counted separately, without the overflow key.
        overflow: The key under which all others are counted.
    """

    def __init__(self, limit: int, overflow: Key) -> None:
        self.overflow = overflow
        self._limit = limit
        self._counts: dict[Key, int] = {}
        self._overflowed = 0

    def add(self, key: Key, count: int = 1) -> Key:
        """Count `count` events.

        Returns:
            The key under which they were counted: `key` or `overflow`.
        """
        if key == self.overflow or (key not in self._counts and len(self._counts) >= self._limit):
            self._overflowed += count
            return self.overflow
        self._counts[key] = self._counts.get(key, 0) + count
        return key

    def __getitem__(self, key: Key) -> int:
        """Return the count of a key; 0 if it has none."""
        return self._overflowed if key == self.overflow else self._counts.get(key, 0)

    def items(self) -> Iterator[tuple[Key, int]]:
        """Yield each key with its count, in the order of first events, the overflow key last."""
        yield from self._counts.items()
        if self._overflowed:
            yield self.overflow, self._overflowed

    def clear(self) -> None:
        """Forget all keys and counts."""
        self._counts.clear()
        self._overflowed = 0
