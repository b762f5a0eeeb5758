"""Whether the wall clock can be believed.

A wall clock is set: by NTP after a boot without a battery, by a person, by a virtual machine that
was restored. Nothing may be deleted because of it. So whatever deletes by age asks a `ClockWatch`,
which compares the wall clock with one that nobody can set.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

STEP = 60.0
"""Seconds by which the wall clock may differ from the steady one before that is a jump."""
TRIAL = 3600.0
"""Seconds without a jump after which the wall clock is trusted."""


def steady() -> float:
    """Seconds since the boot, with those during which the machine slept."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Reading(NamedTuple):
    """What a look at the clock gave."""

    now: float
    """Seconds since the epoch, by the wall clock."""
    trusted: bool
    """Whether the wall clock was in step for an hour."""
    jump: float
    """Seconds by which the wall clock was set since the last look; 0.0 while it is in step."""


class ClockWatch:
    """Compares the wall clock with a steady one, from one look to the next.

    The two are in step while they differ by the same amount as an hour ago, give or take a minute.
    So neither a jump nor many small ones go unnoticed, and the slow correction that NTP makes is
    no jump. Looks may be rare: a jump that was undone before the next look changed nothing.

    Args:
        wall: seconds since the epoch.
        steady: seconds since any moment; never set.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = steady
    ) -> None:
        self._wall, self._steady = wall, steady
        self._since = steady()
        """When the present comparison began."""
        self._offset = wall() - self._since
        """By how much the wall clock was ahead of the steady one then."""
        self._trusted = False

    def look(self) -> Reading:
        """Read the wall clock, and say whether it can be believed."""
        at, now = self._steady(), self._wall()
        moved = now - at - self._offset
        if abs(moved) > STEP:
            self._since, self._offset, self._trusted = at, now - at, False
            return Reading(now, trusted=False, jump=moved)
        if at - self._since >= TRIAL:
            self._since, self._offset, self._trusted = at, now - at, True
        return Reading(now, self._trusted, 0.0)
