"""Programs that end with the process that started them, and waiting for what they do."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fastlog.errors import FastlogError

T = TypeVar("T")

TIMEOUT = 60.0
"""Seconds in which a program must start, end, or reach an expected state."""


def dying_with_parent(command: Sequence[object]) -> list[str]:
    """Return a command that becomes this one, and that the kernel kills when its parent ends.

    `preexec_fn` of `Popen` could do that, but not in a program with threads: the child has the
    locks that other threads held at the fork, and may wait for them forever.
    """
    return ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)]  # of util-linux


def start_program(command: Sequence[object], log: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process. Its output is appended to a file.

    Args:
        options: More arguments of `Popen`.
    """
    with log.open("ab") as out:
        return subprocess.Popen(  # noqa: S603 - a program that the drill has found
            dying_with_parent(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            process_group=0,  # Ctrl-C in a terminal must reach the drill only
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
