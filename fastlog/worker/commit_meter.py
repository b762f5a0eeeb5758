"""The time that a sink takes for its commits, counted for metrics."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastlog.journal import COMMIT_BOUNDS, CommitTimes


class CommitMeter:
    """Counts commits by the time that they took.

    Args:
        known: What earlier workers of the sink have counted.
    """

    def __init__(self, known: CommitTimes, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._counts, self._seconds = [*known.counts], known.seconds
        if len(self._counts) != len(COMMIT_BOUNDS) + 1:  # another version had other buckets
            self._counts, self._seconds = [*CommitTimes().counts], 0.0
        self._monotonic = monotonic

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Count what runs inside as a commit, unless it raises an error."""
        began = self._monotonic()
        yield
        seconds = self._monotonic() - began
        self._counts[bisect_left(COMMIT_BOUNDS, seconds)] += 1
        self._seconds += seconds

    def times(self) -> CommitTimes:
        """Return what was counted so far."""
        return CommitTimes(counts=(*self._counts,), seconds=self._seconds)
