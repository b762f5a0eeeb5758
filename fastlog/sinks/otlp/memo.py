"""Bytes that recur, remembered up to a number of bytes, whatever clients send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

LIMIT: Final = 2 << 20
"""Bytes of arguments and results that are remembered."""
_OVERHEAD: Final = 400
"""Bytes of the objects around them."""


class Memo:
    """A function of texts and numbers whose results are remembered.

    All are forgotten when they take too much memory: what recurs is soon there again.
    """

    def __init__(self, make: Callable[..., bytes], limit: int = LIMIT) -> None:
        self._make = make
        self._limit = limit
        self._known: dict[tuple[Any, ...], bytes] = {}
        self._bytes = 0

    def __call__(self, *arguments: Any) -> bytes:
        """Return what the function makes of these arguments."""
        found = self._known.get(arguments)
        if found is None:
            found = self._make(*arguments)
            texts = sum(4 * len(each) for each in arguments if isinstance(each, str))
            self._bytes += _OVERHEAD + texts + 4 * len(found)
            if self._bytes > self._limit:
                self._known.clear()
                self._bytes = 0
            else:
                self._known[arguments] = found
        return found

    def __len__(self) -> int:
        return len(self._known)
