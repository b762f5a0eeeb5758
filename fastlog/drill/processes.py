"""Programs that end with the process that started them, and waiting for what they do."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fastlog.errors import FastlogError

T = TypeVar("T")

TIMEOUT = 60.0
"""Seconds in which a program must start, end, or reach an expected state."""
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # a child must not load it between fork and exec


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however that happens: for
    `preexec_fn`."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start_program(command: Sequence[object], log: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process. Its output is appended to a file.

    Args:
        options: More arguments of `Popen`.
    """
    with log.open("ab") as out:
        return subprocess.Popen(  # noqa: S603 - a program that the drill has found
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            process_group=0,  # Ctrl-C in a terminal must reach the drill only
            preexec_fn=die_with_parent,
            **options,
        )


def wait_for(
    condition: Callable[[], T], what: str, seconds: float = TIMEOUT, interval: float = 0.01
) -> T:
    """Return the result of `condition` once it is true.

    Args:
        what: The expected state, as a clause for the error.

    Raises:
        FastlogError: It is not reached in time.
    """
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise FastlogError(f"still not after {seconds:.0f} s: {what}")
        time.sleep(interval)
    return result


def last_line(log: Path) -> str:
    """Return the last line of a log that has text."""
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
