"""How far a worker is, and how fast, shown on the sink's gauge."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from fastlog.block import Block
from fastlog.core import FRAME_WEIGHT
from fastlog.journal import UNKNOWN, ProgressPage, Reading

log = logging.getLogger(__name__)

FIRST_GUESS = 32 << 20
"""Bytes a second, until a batch has shown better."""
TELLING, LONG = 128 << 10, 0.03
"""Bytes, or seconds, from which a batch tells the speed; in less, what each transaction costs
prevails."""
HALVED_AFTER = 0.1
"""Seconds of work after which what was before counts half."""
TRY_EVERY = 1.0
"""Seconds between tries to make a gauge."""


def weight_of(block: Block) -> int:
    """What a block counts as in a throughput and in the shares of those who send."""
    return block.end - block.offset + FRAME_WEIGHT * block.frames


class Throughput:
    """Measures the average speed of late.

    It is the average of bytes and of seconds, not of speeds: in that, a few records that take long
    would hardly show.
    """

    def __init__(self, data_dir: Path, name: str, node: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._done, self._busy = FIRST_GUESS * HALVED_AFTER, HALVED_AFTER
        """Bytes with the weight of their frames, and the seconds that they took."""
        self._shown = Reading(0, UNKNOWN, 0)
        self._place = data_dir, name, node
        self._gauge: ProgressPage | None = None
        self._try_at = float("-inf")

    def batch(self, applied: Iterable[Block], seconds: float) -> None:
        """Counts a batch: the blocks that were applied, and how long all of it took.

        One of which nothing was applied says that the sink is in trouble, not how fast it is.
        """
        size = sum(map(weight_of, applied))
        if size >= TELLING or (size and seconds >= LONG):
            kept = 0.5 ** (seconds / HALVED_AFTER)
            self._done = kept * self._done + size
            self._busy = kept * self._busy + max(seconds, 1e-6)

    @property
    def speed(self) -> int:
        """Bytes a second, each frame counting `FRAME_WEIGHT` more than it has; 1 at least."""
        return max(1, int(self._done / self._busy))

    def show(self, applied: int, index: int | None) -> None:
        """Shows that the sink is at this offset of the journal, which is before this frame."""
        self._publish(Reading(applied, UNKNOWN if index is None else index, self.speed))

    def trouble(self) -> None:
        """Shows that the sink takes nothing at present."""
        self._publish(self._shown._replace(speed=0))

    def _publish(self, reading: Reading) -> None:
        self._shown = reading
        if self._gauge is None:
            self._gauge = self._make()
        if self._gauge is not None:
            self._gauge.publish(reading)

    def _make(self) -> ProgressPage | None:
        """The gauge, unless the disk is full; then that is tried again, now and then."""
        now = self._clock()
        if now < self._try_at:
            return None
        data_dir, name, node = self._place
        try:
            return ProgressPage(data_dir, name, node, writable=True)
        except OSError as error:
            if self._try_at == float("-inf"):
                log.warning("sink %s: cannot show how far it is: %s", name, error.strerror)
            self._try_at = now + TRY_EVERY
            return None

    def close(self) -> None:
        """Lets go of the gauge; what it shows stays."""
        if self._gauge is not None:
            self._gauge.close()
