"""The server's log lines about repeated events, folded so that they cannot fill a disk."""

from __future__ import annotations

import logging

from fastlog.bounded_counter import BoundedCounter

TEXTS_PER_KIND = 10
"""Different texts of one kind that are logged per second. One more line counts all others."""


class EventLog:
    """Counts events by text and logs each text once a second: `rejected 10.0.0.5: http (12)`.

    Each kind of event has its own limit: many texts of one kind do not displace those of another.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._counters: dict[str, BoundedCounter[str]] = {}

    def add(self, kind: str, text: str, count: int = 1) -> None:
        """Count `count` events of this kind and text."""
        counter = self._counters.get(kind)
        if counter is None:
            counter = self._counters[kind] = BoundedCounter(TEXTS_PER_KIND, overflow="")
        counter.add(text, count)

    def flush(self) -> None:
        """Log what was counted since the last flush. Call this once a second."""
        for kind, counter in self._counters.items():
            for text, count in counter.items():
                if text == counter.overflow:
                    self._logger.warning("%s: %d other events", kind, count)
                else:
                    self._logger.warning("%s (%d)", text, count)
        self._counters.clear()
