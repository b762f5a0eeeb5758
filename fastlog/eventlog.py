"""The server's log lines about repeated events, folded so that they cannot fill a disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from fastlog.bounded_counter import BoundedCounter

TEXTS_PER_KIND = 10
"""Different texts of one kind that are logged per second. One more line counts all others."""


class EventLog:
    """Counts events by text and logs each text once a second: `rejected 10.0.0.5: http (12)`.

    Each kind of event has its own limit: many texts of one kind do not displace those of another.

    Args:
        logger: Gets the lines.
        intervals: Seconds from one line of a kind to the next, where that is more than a second.
            The first event is logged at once.
        monotonic: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        logger: logging.Logger,
        intervals: Mapping[str, float] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger, self._intervals, self._monotonic = logger, intervals or {}, monotonic
        self._counters: dict[str, BoundedCounter[str]] = {}
        self._logged_at: dict[str, float] = {}
        """When a kind with an interval was logged last."""

    def add(self, kind: str, text: str, count: int = 1) -> None:
        """Count `count` events of this kind and text."""
        counter = self._counters.get(kind)
        if counter is None:
            counter = self._counters[kind] = BoundedCounter(TEXTS_PER_KIND, overflow="")
        counter.add(text, count)

    def flush(self, *, final: bool = False) -> None:
        """Log what was counted since the last flush. Call this once a second.

        Args:
            final: Log also what is not due yet: this process ends.
        """
        now = self._monotonic()
        for kind in list(self._counters):
            interval = self._intervals.get(kind, 0.0)
            since = now - self._logged_at.get(kind, float("-inf"))
            if since < interval and not final:
                continue
            span = f" in {since:.0f} s" if since < 2 * interval else ""
            counter = self._counters.pop(kind)
            for text, count in counter.items():
                if text == counter.overflow:
                    self._logger.warning("%s: %d other events%s", kind, count, span)
                else:
                    self._logger.warning("%s (%d%s)", text, count, span)
            if interval:
                self._logged_at[kind] = now
