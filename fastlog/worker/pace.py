"""How fast a worker is, and who keeps its slow reader busy; shown on the sink's gauge."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from fastlog.block import Run
from fastlog.core import FRAME_WEIGHT
from fastlog.journal import Gauge

log = logging.getLogger(__name__)

FIRST_GUESS = 32 << 20
"""Bytes a second, until a batch has shown better."""
TELLING, LONG = 128 << 10, 0.03
"""Bytes, or seconds, from which a batch tells the speed; in less, what each transaction costs
prevails."""
FADING = 0.7
"""What all earlier batches weigh against the newest."""
HALVED_EVERY = 1.0
"""Seconds after which what was spent on a connection counts half."""
WORTH_TELLING = 0.002
"""Seconds of the slow reader from which on a connection is told of."""
SHOW_EVERY = 0.05
"""Seconds of the slow reader after which a batch that is under way is told of."""
TRY_EVERY = 1.0
"""Seconds between tries to make a gauge."""
KNOWN = 256
"""Connections that are kept in mind."""


class Pace:
    """The average speed of late, and what was spent of late on each connection's odd frames."""

    def __init__(self, data_dir: Path, name: str, node: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._done, self._busy = FIRST_GUESS / 10, 0.1
        """Bytes, and the seconds that they took."""
        self._spent: dict[int, tuple[float, float]] = {}
        """By connection: seconds, and the weight of the frames that took them."""
        self._halved_at = clock()
        self._applied, self._unshown = 0, 0.0
        self._place = data_dir, name, node
        self._gauge: Gauge | None = None
        self._try_at = float("-inf")

    def spent(self, run: Run, seconds: float) -> None:
        """The slow reader has taken so long for a run of a connection."""
        self._forget()
        before, others = self._spent.get(run.connection, (0.0, 0.0))
        weight = len(run.body) + FRAME_WEIGHT * run.frames
        self._spent[run.connection] = before + seconds, others + weight
        self._unshown += seconds
        if self._unshown >= SHOW_EVERY:
            self.show(self._applied)

    def batch(self, size: int, seconds: float) -> None:
        """A batch of so many bytes of the journal was read, decoded and applied.

        One of which nothing was applied says that the sink is in trouble, not how fast it is.
        """
        if size >= TELLING or (size and seconds >= LONG):
            self._done = FADING * self._done + size
            self._busy = FADING * self._busy + max(seconds, 1e-6)

    def show(self, applied: int) -> None:
        """The sink is at this offset of the journal."""
        self._applied, self._unshown = applied, 0.0
        self._forget()
        self._publish(max(1, int(self._done / self._busy)), self._costs())

    def trouble(self) -> None:
        """The sink takes nothing at present."""
        self._publish(0, {})

    def _publish(self, speed: int, costs: dict[int, int]) -> None:
        if self._gauge is None:
            self._gauge = self._make()
        if self._gauge is not None:
            self._gauge.publish(self._applied, speed, costs)

    def _make(self) -> Gauge | None:
        """The gauge, unless the disk is full; then that is tried again, now and then."""
        now = self._clock()
        if now < self._try_at:
            return None
        data_dir, name, node = self._place
        try:
            return Gauge(data_dir, name, node, writable=True)
        except OSError as error:
            if self._try_at == float("-inf"):
                log.warning("sink %s: cannot show how far it is: %s", name, error.strerror)
            self._try_at = now + TRY_EVERY
            return None

    def _costs(self) -> dict[int, int]:
        """Nanoseconds a byte of weight of those that took most time, they first."""
        told = [each for each in self._spent.items() if each[1][0] >= WORTH_TELLING]
        told.sort(key=lambda each: each[1], reverse=True)
        return {serial: int(seconds / weight * 1e9) for serial, (seconds, weight) in told}

    def _forget(self) -> None:
        halvings = (self._clock() - self._halved_at) // HALVED_EVERY
        if not halvings:
            return
        self._halved_at += halvings * HALVED_EVERY
        left = 0.5**halvings
        most = sorted(self._spent.items(), key=lambda each: each[1], reverse=True)[:KNOWN]
        self._spent = {
            serial: (seconds * left, weight * left)
            for serial, (seconds, weight) in most
            if seconds * left >= WORTH_TELLING / 2
        }

    def close(self) -> None:
        """Lets go of the gauge; what it shows stays."""
        if self._gauge is not None:
            self._gauge.close()
