"""Waiting for a condition with a deadline, which tests do instead of sleeping."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SECONDS = float(os.environ.get("WAIT_SECONDS", "30"))
"""The default deadline. Long, since a loaded machine is not a failure."""


def wait_for(condition: Callable[[], T], what: str = "", seconds: float = SECONDS) -> T:
    """Return the result of `condition` once it is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"still not after {seconds:.0f} s: {what or condition}"
        time.sleep(0.01)  # the only sleep that tests may use: it waits between polls
    return result
