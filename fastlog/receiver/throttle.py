"""Limits how fast the loop reads while a sink is behind: fairness between clients.

A journal is read in order, so a client that fills it delays everybody. Hence a bound on what waits
in it, in time: what was received and is not stored yet, by the speed of the slowest sink that holds
the journal. While it is over that, each connection and each host has a share. A client that sends
less does not notice; one that sends more waits in its own kernel.

The speed is that of what was stored of late; what comes now may cost more. So as long as little
goes through, little may wait: eight times what was stored in the last round, or half of what might
wait in it. A round is over when what had been received at its beginning is stored.

Everything is counted in weight: bytes of the journal, and `FRAME_WEIGHT` for each frame.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from fastlog.config import LimitsConfig
from fastlog.core import FRAME_WEIGHT, Loop
from fastlog.journal import UNKNOWN, ProgressPage, Reading

LEAST_RATE = 256 << 10
"""Weight a second that a connection keeps, however many there are. A stock handler whose buffers
stand still for a second drops records; at half of this, that was seen."""
LEAST_OF_HOST = 64 << 10
"""Weight a second that a host has beyond that at least, for its new connections."""
PARTS = 8
"""A host has beyond that one part in so many of what the slowest sink takes."""
FIRST_WINDOW = 256 << 10
"""Weight that may wait whatever came before."""
GROWTH = 8
LOOK_EVERY = 0.02
LOOK_AFTER = 64 << 10, 1 << 20
"""Weight received, at least and at most, after which the gauges are looked at earlier."""
FIND_EVERY = 0.1
"""Seconds between looks for the gauge of a sink that has none yet."""
MOST_SYNC = 1.0
STANDS = 2.0
"""Seconds without a word, while there is work, after which a sink counts as one that is down; and
that a sink has to begin."""


class Throttle:
    """Looks at the gauges of the sinks that hold the journal, and limits the loop by them.

    Args:
        node: The journal's.
        sinks: The names of the sinks that hold it.
    """

    def __init__(
        self,
        loop: Loop,
        limits: LimitsConfig,
        data_dir: Path,
        node: str,
        sinks: Iterable[str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop, self._limits, self._monotonic = loop, limits, monotonic
        self._sinks = [_Sink(data_dir, name, node) for name in sinks]
        self._began = monotonic()
        self._find_at = self._look_at = float("-inf")
        self._seen, self._look_after = 0, LOOK_AFTER[0]
        self._window = FIRST_WINDOW
        self._round: tuple[int, int] | None = None
        """Weight of all that had been received when the last round began, and this one."""
        self._to_sync: int | None = None
        self._sync_since = self._sync_time = 0.0
        self._rates = 0, 0
        if limits.lag:
            loop.limit_poll(self._look_after)
        self.lag = 0.0
        """Seconds that the slowest sink will need for what it has not stored yet."""

    def look(self, end: int, index: int, durable: int) -> None:
        """Looks, if it is time.

        Args:
            end: Journal offset behind all that was received.
            index: Ordinal of the next frame.
            durable: Offset up to which the sinks may read.
        """
        now, received = self._monotonic(), end + FRAME_WEIGHT * index
        if not self._limits.lag:
            return
        if now < self._look_at and received - self._seen < self._look_after:
            return
        if now > self._look_at + LOOK_EVERY:
            self._to_sync = None  # it may have been durable for long
        self._look_at, self._seen = now + LOOK_EVERY, received
        self._find(now)
        for sink in self._sinks:
            sink.look(now, end, index, durable)
        working = [sink for sink in self._sinks if sink.works]
        work = max((sink.work for sink in working), default=0)
        self.lag, speed = max(((sink.lag, sink.speed) for sink in working), default=(0.0, 0))
        self._end_round(received, work)
        if work > self._window:
            self._limit(LEAST_RATE, LEAST_OF_HOST)
        elif self.lag > self._limits.lag + self._sync(now, end, durable):
            part = min(self._limits.rate, speed // PARTS)
            self._limit(LEAST_RATE, max(LEAST_OF_HOST, part))
        elif len(working) < sum(sink.counts(now - self._began) for sink in self._sinks):
            self._limit(LEAST_RATE, self._limits.rate)
        else:
            self._limit(0, 0)
        soon = min(int(speed * LOOK_EVERY), self._window // GROWTH)
        self._look_after = min(max(soon, LOOK_AFTER[0]), LOOK_AFTER[1])
        self._loop.limit_poll(self._look_after)

    def _limit(self, own: int, host: int) -> None:
        if self._rates != (own, host):
            self._rates = own, host
            self._loop.limit_rate(own, host)

    def _end_round(self, received: int, waiting: int) -> None:
        """Begins the next round if the sinks have what had been received when this one began."""
        last, this = self._round or (received, received)
        if received > this and received - waiting >= this:
            self._window = max(FIRST_WINDOW, GROWTH * (this - last), self._window // 2)
            last, this = this, received
        self._round = last, this

    def _sync(self, now: float, end: int, durable: int) -> float:
        """Seconds from receiving to durable, as it was last. No sink can begin while the disk takes
        these, and one that is fast must find enough when they are over."""
        if self._to_sync is not None and durable >= self._to_sync:
            self._sync_time = min(now - self._sync_since, MOST_SYNC)
            self._to_sync = None
        if self._to_sync is None and end > durable:
            self._to_sync, self._sync_since = end, now
        waiting = 0.0 if self._to_sync is None else min(now - self._sync_since, MOST_SYNC)
        return max(self._sync_time, waiting)

    def timeout(self) -> float:
        """Seconds until it is worth looking again, even if nothing was received."""
        return LOOK_EVERY if any(self._rates) else float("inf")

    def _find(self, now: float) -> None:
        if now >= self._find_at:
            self._find_at = now + FIND_EVERY
            for sink in self._sinks:
                sink.find()

    def close(self) -> None:
        """Lets go of the gauges."""
        for sink in self._sinks:
            sink.close()


class _Sink:
    """A sink as its gauge shows it."""

    def __init__(self, data_dir: Path, name: str, node: str) -> None:
        self._place = data_dir, name, node
        self._gauge: ProgressPage | None = None
        self._reading: Reading | None = None
        self._since = 0.0
        """When it began to show that while there was work for it."""
        self.works = False
        """Whether it gets on. It helps nobody to read ever more slowly for one that is down."""
        self.work = 0
        """Weight of what was received and is not stored."""
        self.speed = 1
        """Weight a second that it gets through."""

    @property
    def lag(self) -> float:
        """Seconds that it will need for its work."""
        return self.work / self.speed

    def find(self) -> None:
        """Takes hold of the gauge, if it is there yet."""
        if self._gauge is None:
            with contextlib.suppress(OSError):  # its worker has not started
                self._gauge = ProgressPage(*self._place)

    def look(self, now: float, end: int, index: int, durable: int) -> None:
        """Reads the gauge, for a journal that ends there."""
        reading = None if self._gauge is None else self._gauge.read()
        if reading is None:
            self.works = False
            return
        if reading is not self._reading or reading.applied >= durable:
            self._reading, self._since = reading, now
        silent = now - self._since
        frames = 0 if reading.frame == UNKNOWN else index - reading.frame
        self.works = reading.speed > 0 and silent <= STANDS
        self.work = max(0, end - reading.applied + FRAME_WEIGHT * frames)
        # What has taken so long without an end is slower than what came before.
        self.speed = max(1, min(reading.speed, int(self.work / max(silent, LOOK_EVERY))))

    def counts(self, seconds: float) -> bool:
        """Whether it is missed if it does not work: so long after the start, one that has not
        begun, or cannot show it, is not."""
        return self._reading is not None or seconds < STANDS

    def close(self) -> None:
        if self._gauge is not None:
            self._gauge.close()
