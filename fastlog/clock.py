"""Whether the wall clock can be trusted.

A wall clock is set: by NTP after a boot without a battery, by a person, by a virtual machine that
was restored. Nothing may be deleted because of that. So everything that deletes by age uses a
`ClockWatch`, which compares the wall clock with a clock that cannot be set.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

STEP = 60.0
"""Seconds by which the wall clock may deviate from the steady one before that is a jump."""
TRIAL = 3600.0
"""Seconds without a jump after which the wall clock is trusted."""


def steady() -> float:
    """Return the seconds since boot, including those in suspend."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class ClockReading(NamedTuple):
    """One reading of the wall clock."""

    now: float
    """Seconds since the epoch, by the wall clock."""
    trusted: bool
    """Whether the wall clock had no jump for an hour."""
    jump: float
    """Seconds by which the wall clock was set since the last reading; 0.0 without a jump."""


class ClockWatch:
    """Compares the wall clock with a steady one, from one reading to the next.

    The clocks are in step while their difference stays within a minute of what it was an hour ago.
    So neither a jump nor many small ones are missed, and the slow correction by NTP is no jump.
    Readings may be rare: a jump that is undone before the next reading changes nothing.

    Args:
        wall: Returns seconds since the epoch.
        steady: Returns seconds since any moment; this clock is never set.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = steady
    ) -> None:
        self._wall, self._steady = wall, steady
        self._since = steady()
        """When the present comparison began, by the steady clock."""
        self._offset = wall() - self._since
        """By how much the wall clock was ahead of the steady one then."""
        self._trusted = False

    def read(self) -> ClockReading:
        """Read the wall clock and compare it with the steady one."""
        at, now = self._steady(), self._wall()
        moved = now - at - self._offset
        if abs(moved) > STEP:
            self._since, self._offset, self._trusted = at, now - at, False
            return ClockReading(now, trusted=False, jump=moved)
        if at - self._since >= TRIAL:
            self._since, self._offset, self._trusted = at, now - at, True
        return ClockReading(now, self._trusted, 0.0)
