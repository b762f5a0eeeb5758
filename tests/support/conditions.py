"""Waiting for a condition with a deadline, which tests do instead of sleeping."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DAY = 86400.0
"""Seconds of a UTC day."""

SECONDS = float(os.environ.get("WAIT_SECONDS", "30"))
"""The default deadline. Long, since a loaded machine is not a failure."""
SHORTEST, LONGEST = 0.01, 0.25
"""Seconds between two checks of a condition."""
IDLE = 9
"""How many times longer than the check itself the pause after it is: checks of databases, or of all
processes, would otherwise take a third of a core."""


def wait_for(condition: Callable[[], T], what: str = "", seconds: float = SECONDS) -> T:
    """Return the result of `condition` once it is true; fail after `seconds`."""
    now = time.monotonic()
    deadline = now + seconds
    while not (result := condition()):
        since, now = now, time.monotonic()
        assert now < deadline, f"still not after {seconds:.0f} s: {what or condition}"
        # The only sleep that tests may use: it waits between polls.
        time.sleep(min(max(SHORTEST, IDLE * (now - since)), LONGEST))
        now = time.monotonic()
    return result


def wait_past_midnight(seconds: float = 120.0) -> None:
    """Wait for the next UTC day if less than `seconds` of this one are left.

    A test calls this first if its records must all be in one day file.
    """

    def left() -> float:
        return DAY - time.time() % DAY

    if left() < seconds:
        wait_for(lambda: left() > seconds, "the next UTC day", 2 * seconds)
