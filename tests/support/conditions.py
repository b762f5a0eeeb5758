"""Waiting for a condition with a deadline, which tests do instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str = "", seconds: float = 30.0) -> T:
    """Return the result of `condition` once it is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"still not after {seconds:.0f} s: {what or condition}"
        time.sleep(0.01)  # the only sleep that tests may use: it waits between polls
    return result
