"""A worker's throughput: measured from its batches, and published on the sink's progress page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from fastlog.block import Block
from fastlog.core import FRAME_WEIGHT
from fastlog.journal import UNKNOWN, ProgressPage, Reading

log = logging.getLogger(__name__)

FIRST_GUESS = 32 << 20
"""Bytes a second, until a batch was measured."""
MEASURED_BYTES, MEASURED_SECONDS = 128 << 10, 0.03
"""A batch is measured if it has so many bytes or takes so long; in a smaller one the fixed cost of
a transaction prevails."""
HALF_LIFE = 0.1
"""Seconds of work after which older measurements count half."""
RETRY_INTERVAL = 1.0
"""Seconds between attempts to make a progress page."""


def weight_of(block: Block) -> int:
    """Return a block's size as throughput and rate limits count it: with its frames' weight."""
    return block.end - block.offset + FRAME_WEIGHT * block.frames


class Throughput:
    """Measures the average throughput of the last batches.

    It divides the average of bytes by the average of seconds. An average of throughputs would
    hardly show a few records that take long.
    """

    def __init__(self, data_dir: Path, name: str, node: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._bytes, self._seconds = FIRST_GUESS * HALF_LIFE, HALF_LIFE
        """Bytes with the weight of their frames, and the seconds that they took; both decay."""
        self._published = Reading(0, UNKNOWN, 0)
        self._data_dir, self._name, self._node = data_dir, name, node
        self._page: ProgressPage | None = None
        self._retry_at = float("-inf")

    def measure(self, applied: Iterable[Block], seconds: float) -> None:
        """Measure a batch: the blocks that were applied, and the seconds that it took.

        A batch of which nothing was applied is not counted: the sink fails, but is not slow.
        """
        size = sum(map(weight_of, applied))
        if size >= MEASURED_BYTES or (size and seconds >= MEASURED_SECONDS):
            decay = 0.5 ** (seconds / HALF_LIFE)
            self._bytes = decay * self._bytes + size
            self._seconds = decay * self._seconds + max(seconds, 1e-6)

    @property
    def speed(self) -> int:
        """Bytes a second, with `FRAME_WEIGHT` added for each frame; 1 at least."""
        return max(1, int(self._bytes / self._seconds))

    def publish(self, applied: int, index: int | None) -> None:
        """Publish the throughput, the offset of the sink, and the ordinal of the next frame."""
        self._publish(Reading(applied, UNKNOWN if index is None else index, self.speed))

    def publish_failure(self) -> None:
        """Publish that the sink fails now."""
        self._publish(self._published._replace(speed=0))

    def _publish(self, reading: Reading) -> None:
        self._published = reading
        if self._page is None:
            self._page = self._make_page()
        if self._page is not None:
            self._page.publish(reading)

    def _make_page(self) -> ProgressPage | None:
        """Return the progress page; None if it cannot be made now, as on a full disk."""
        now = self._clock()
        if now < self._retry_at:
            return None
        try:
            return ProgressPage(self._data_dir, self._name, self._node, writable=True)
        except OSError as error:
            if self._retry_at == float("-inf"):
                log.warning(
                    "sink %s: cannot make its progress page: %s", self._name, error.strerror
                )
            self._retry_at = now + RETRY_INTERVAL
            return None

    def close(self) -> None:
        """Close the progress page; its content stays."""
        if self._page is not None:
            self._page.close()
