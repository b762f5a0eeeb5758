"""The server's own log lines about bad input, so few that nobody can fill a disk with them."""

from __future__ import annotations

import logging
from collections import Counter

LINES = 10
"""Lines that one second may bring."""


class RefusalLog:
    """Counts events by their text, and tells them once a second: `refused … (12 times)`."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._events: Counter[str] = Counter()
        self._others = 0

    def add(self, text: str, count: int) -> None:
        """It has happened `count` times."""
        if text in self._events or len(self._events) < LINES:
            self._events[text] += count
        else:
            self._others += count

    def tell(self) -> None:
        """A second is over."""
        for text, count in self._events.items():
            self._logger.warning("%s%s", text, f" ({count} times)" if count > 1 else "")
        if self._others:
            self._logger.warning("and %d more of the like", self._others)
        self._events.clear()
        self._others = 0
