"""The server's log lines about repeated events, folded so that they cannot fill a disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastlog.bounded_counter import BoundedCounter

TEXTS_PER_KIND = 10
"""Different texts of one kind that are logged per second. One more line counts all others."""
REPEATED_TEXTS = 100
"""Texts that are logged ever less often. Others are logged each second in which they occur."""
FIRST_INTERVAL, LAST_INTERVAL = 1.0, 600.0
"""Seconds from one line of a text to the next: at first, and at the most. Each time it doubles."""


@dataclass
class _Repeated:
    """A text that was logged lately."""

    logged_at: float
    interval: float = FIRST_INTERVAL
    """Seconds from then to its next line."""
    count: int = 0
    """Its events since then."""


class EventLog:
    """Counts events by text and logs each text at once: `rejected 10.0.0.5: http (12)`.

    If it goes on, the next line comes a second later, and then ever less often, with a sum:
    `rejected 10.0.0.5: http (1024 in 512 s)`. After a pause twice as long, it is logged at once
    again.

    Each kind of event has its own limit: many texts of one kind do not displace those of another.

    Args:
        logger: Gets the lines.
        intervals: Seconds from one line of a kind to the next, whatever its texts are.
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
        """By kind, the texts that were not logged lately."""
        self._repeated: dict[tuple[str, str], _Repeated] = {}
        """By kind and text."""
        self._logged_at: dict[str, float] = {}
        """When a kind with an interval was logged last."""

    def add(self, kind: str, text: str, count: int = 1) -> None:
        """Count `count` events of this kind and text."""
        repeated = self._repeated.get((kind, text))
        if repeated is not None:
            repeated.count += count
            return
        counter = self._counters.get(kind)
        if counter is None:
            counter = self._counters[kind] = BoundedCounter(TEXTS_PER_KIND, overflow="")
        counter.add(text, count)

    def flush(self, *, final: bool = False) -> None:
        """Log what is due. Call this once a second.

        Args:
            final: Log also what is not due yet: this process ends.
        """
        now = self._monotonic()
        self._flush_repeated(now, final)
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
                    continue
                self._logger.warning("%s (%d%s)", text, count, span)
                if not interval and len(self._repeated) < REPEATED_TEXTS:
                    self._repeated[kind, text] = _Repeated(now)
            if interval:
                self._logged_at[kind] = now

    def _flush_repeated(self, now: float, final: bool) -> None:
        for (kind, text), one in list(self._repeated.items()):
            since = now - one.logged_at
            if one.count and (since >= one.interval or final):
                self._logger.warning("%s (%d in %.0f s)", text, one.count, since)
                one.logged_at, one.count = now, 0
                one.interval = min(2 * one.interval, LAST_INTERVAL)
            elif since >= 2 * one.interval:
                del self._repeated[kind, text]
