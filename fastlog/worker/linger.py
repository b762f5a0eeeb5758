"""Linger: lets blocks wait for others, where each call of a sink costs much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

ENOUGH: Final = 128 << 10
"""Bytes of blocks that do not wait for others."""


class Linger:
    """Says whether what waits in the journal should wait for more.

    Args:
        seconds: The longest time between two calls of the sink while little comes; 0: none.
        monotonic: A clock.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds, self._monotonic = seconds, monotonic
        self._called_at = float("-inf")

    def holds(self, waiting: int) -> bool:
        """Return whether `waiting` bytes are too few and too young for a call."""
        return waiting < ENOUGH and self._monotonic() < self._called_at + self._seconds

    def called(self) -> None:
        """Note that the sink was called."""
        self._called_at = self._monotonic()

    def end(self) -> None:
        """Let nothing wait any more."""
        self._seconds = 0.0
