"""Rate limits while a sink is behind: fairness between clients.

A journal is read in order, so a client that fills it delays all others. Hence the unapplied data is
bounded in time: what was received and is not applied yet, divided by the speed of the slowest sink
that holds the journal. While that exceeds the bound, each connection and each host has a rate
limit. A client that sends less is not affected. One that sends more is blocked by its own kernel.

The speed is that of the data applied lately; the data that arrives now may cost more. So there is a
second bound, in weight: eight times what was applied in the last round, or half of the previous
bound. A round ends when all is applied that had been received when it began.

All amounts are weights: bytes of the journal, and `FRAME_WEIGHT` for each frame.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from operator import itemgetter
from pathlib import Path

from fastlog.config import LimitsConfig
from fastlog.core import FRAME_WEIGHT, Loop
from fastlog.journal import UNKNOWN, ProgressPage, Reading

log = logging.getLogger(__name__)

MIN_CONNECTION_RATE = 256 << 10
"""Weight per second that each connection keeps, however many there are. A stock handler drops
records when its socket buffers stay full for a second. That was seen at half of this rate."""
MIN_HOST_RATE = 64 << 10
"""Weight per second that a host has in addition, at least, for its new connections."""
HOST_PART = 8
"""A host has in addition one part in this many of the slowest sink's speed."""
MIN_BOUND = 256 << 10
"""Weight that may always be unapplied."""
GROWTH = 8
UPDATE_INTERVAL = 0.02
UPDATE_WEIGHT = 64 << 10, 1 << 20
"""Weight received after which an update is due earlier: the least and the greatest."""
OPEN_INTERVAL = 0.1
"""Seconds between attempts to open the progress page of a sink that has none yet."""
MAX_SYNC_TIME = 1.0
LOG_INTERVAL = 60.0
"""Seconds between two log lines about throttled connections."""
STALLED_AFTER = 2.0
"""Seconds without progress, while there is work, after which a sink counts as down; also the time
that a sink has to start."""
_TAKEN = float("-inf")
"""The rank of a cause that was taken: any other replaces it."""


class Throttle:
    """Limits the loop by the progress pages of the sinks that hold the journal.

    Args:
        loop: The loop to limit.
        limits: The configured limits.
        data_dir: Where the progress pages are.
        node: The journal's node id.
        sinks: The names of the sinks that hold the journal.
        monotonic: A monotonic clock, in seconds.
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
        self._started_at = monotonic()
        self._open_at = self._update_at = float("-inf")
        self._received_at_update, self._update_weight = 0, UPDATE_WEIGHT[0]
        self._bound = MIN_BOUND
        self._rounds: tuple[int, int] | None = None
        """Weight of all that had been received when the last round began, and when this one did."""
        self._sync_target: int | None = None
        """The journal offset whose sync is measured."""
        self._sync_since = self._sync_time = 0.0
        self._rates = 0, 0
        if limits.lag:
            loop.limit_poll(self._update_weight)
        self.lag = 0.0
        """Seconds that the slowest sink needs for the unapplied data."""
        self._cause = _TAKEN, ""
        """What `take_cause` returns next, and how bad that was."""

    def update(self, end: int, index: int, durable: int) -> None:
        """Read the progress pages and set the rate limits, if that is due.

        Args:
            end: The journal offset after everything received.
            index: The ordinal of the next frame.
            durable: The offset up to which the sinks can read.
        """
        now, received = self._monotonic(), end + FRAME_WEIGHT * index
        if not self._limits.lag:
            return
        if now < self._update_at and received - self._received_at_update < self._update_weight:
            return
        if now > self._update_at + UPDATE_INTERVAL:
            self._sync_target = None  # it may have been durable long before
        self._update_at, self._received_at_update = now + UPDATE_INTERVAL, received
        self._open_pages(now)
        for sink in self._sinks:
            sink.update(now, end, index, durable)
        working = [sink for sink in self._sinks if sink.is_working]
        unapplied, fullest = max(((each.unapplied, each.name) for each in working), default=(0, ""))
        self.lag, speed, slowest = max(
            ((sink.lag, sink.speed, sink.name) for sink in working), default=(0.0, 0, "")
        )
        self._update_rounds(received, unapplied)
        is_behind = self.lag > self._limits.lag + self._measure_sync(now, end, durable)
        if is_behind:
            self._add_cause(self.lag, f"sink {slowest} was {self.lag:.1f} s behind")
        if unapplied > self._bound:
            self._add_cause(0.0, f"more arrived at once than sink {fullest} has stored lately")
            self._limit(MIN_CONNECTION_RATE, MIN_HOST_RATE)
        elif is_behind:
            part = min(self._limits.rate, speed // HOST_PART)
            self._limit(MIN_CONNECTION_RATE, max(MIN_HOST_RATE, part))
        elif len(working) < sum(sink.is_expected(now - self._started_at) for sink in self._sinks):
            stalled = [sink.name for sink in self._sinks if not sink.is_working]
            self._add_cause(-1.0, f"no progress of sink {', '.join(stalled)}")
            self._limit(MIN_CONNECTION_RATE, self._limits.rate)
        else:
            self._limit(0, 0)
        weight = min(int(speed * UPDATE_INTERVAL), self._bound // GROWTH)
        self._update_weight = min(max(weight, UPDATE_WEIGHT[0]), UPDATE_WEIGHT[1])
        self._loop.limit_poll(self._update_weight)

    def _limit(self, connection: int, host: int) -> None:
        if self._rates != (connection, host):
            self._rates = connection, host
            self._loop.limit_rate(connection, host)

    def _update_rounds(self, received: int, unapplied: int) -> None:
        """Start the next round if all is applied that had been received when this one began."""
        last, this = self._rounds or (received, received)
        if received > this and received - unapplied >= this:
            self._bound = max(MIN_BOUND, GROWTH * (this - last), self._bound // 2)
            last, this = this, received
        self._rounds = last, this

    def _measure_sync(self, now: float, end: int, durable: int) -> float:
        """Return the seconds from receiving to durable, measured lately.

        No sink can read the data during that time, and a fast one must find enough after it.
        """
        if self._sync_target is not None and durable >= self._sync_target:
            self._sync_time = min(now - self._sync_since, MAX_SYNC_TIME)
            self._sync_target = None
        if self._sync_target is None and end > durable:
            self._sync_target, self._sync_since = end, now
        waited = 0.0 if self._sync_target is None else min(now - self._sync_since, MAX_SYNC_TIME)
        return max(self._sync_time, waited)

    def _add_cause(self, rank: float, text: str) -> None:
        if rank >= self._cause[0]:
            self._cause = rank, text

    def take_cause(self) -> str:
        """Return the worst reason why clients were limited since the last call.

        If there was none, that of before is returned: a connection is limited after an update, and
        the next one may have lifted the limit.
        """
        text = self._cause[1]
        self._cause = _TAKEN, text
        return text

    def timeout(self) -> float:
        """Return the seconds until an update is useful even if nothing is received."""
        return UPDATE_INTERVAL if any(self._rates) else float("inf")

    def _open_pages(self, now: float) -> None:
        if now >= self._open_at:
            self._open_at = now + OPEN_INTERVAL
            for sink in self._sinks:
                sink.open()

    def close(self) -> None:
        """Close the progress pages."""
        for sink in self._sinks:
            sink.close()


class _Sink:
    """A sink, as its progress page shows it."""

    def __init__(self, data_dir: Path, name: str, node: str) -> None:
        self._place = data_dir, name, node
        self.name = name
        self._page: ProgressPage | None = None
        self._reading: Reading | None = None
        self._since = 0.0
        """When the page changed last, or the sink had no work."""
        self.is_working = False
        """Whether it makes progress. Limits that fall with time do not help a sink that is down."""
        self.unapplied = 0
        """Weight that was received and is not applied."""
        self.speed = 1
        """Weight that it applies per second."""

    @property
    def lag(self) -> float:
        """Seconds that it needs for the unapplied data."""
        return self.unapplied / self.speed

    def open(self) -> None:
        """Open the progress page, if it exists by now."""
        if self._page is None:
            with contextlib.suppress(OSError):  # its worker has not started
                self._page = ProgressPage(*self._place)

    def update(self, now: float, end: int, index: int, durable: int) -> None:
        """Read the progress page; the arguments are those of `Throttle.update`."""
        reading = None if self._page is None else self._page.read()
        if reading is None:
            self.is_working = False
            return
        if reading is not self._reading or reading.applied >= durable:
            self._reading, self._since = reading, now
        unchanged = now - self._since
        frames = 0 if reading.frame == UNKNOWN else index - reading.frame
        self.is_working = reading.speed > 0 and unchanged <= STALLED_AFTER
        self.unapplied = max(0, end - reading.applied + FRAME_WEIGHT * frames)
        # Data that is still not applied after this time is slower than the data before it.
        upper = int(self.unapplied / max(unchanged, UPDATE_INTERVAL))
        self.speed = max(1, min(reading.speed, upper))

    def is_expected(self, seconds: float) -> bool:
        """Return whether the sink should be working, `seconds` after the start.

        After `STALLED_AFTER`, a sink that never had a progress page is not expected: its worker has
        not started, or cannot create the page.
        """
        return self._reading is not None or seconds < STALLED_AFTER

    def close(self) -> None:
        """Close the progress page."""
        if self._page is not None:
            self._page.close()


class ThrottleLog:
    """Logs which peers are rate-limited, and why: at once, then once a minute with a sum."""

    def __init__(
        self, loop: Loop, throttle: Throttle, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop, self._throttle, self._monotonic = loop, throttle, monotonic
        self._throttlings = 0
        """How many the log has."""
        self._logged_at = float("-inf")

    def update(self, *, final: bool = False) -> None:
        """Log what is due. Call this once a second.

        Args:
            final: Log also what is not due yet: this process ends.
        """
        throttlings, now = self._loop.stats().throttlings, self._monotonic()
        new, since = throttlings - self._throttlings, now - self._logged_at
        if not new or (since < LOG_INTERVAL and not final):
            return
        self._throttlings, self._logged_at = throttlings, now
        peers = sorted(self._loop.throttled(), key=itemgetter(1), reverse=True)
        peer = peers[0][0] if peers else "connections that are over now"
        others = f" and {len(peers) - 1} others" if len(peers) > 1 else ""
        times = f"{new} time" if new == 1 else f"{new} times"
        span = f" in {since:.0f} s" if since < 2 * LOG_INTERVAL else ""
        log.warning(
            "rate-limiting %s%s (%s%s): %s; clients wait",
            *(peer, others, times, span, self._throttle.take_cause()),
        )
