"""The reader of standard output: whether it is still there while nothing is printed."""

from __future__ import annotations

import io
import select
import sys
import time


def sleep_while_read(seconds: float) -> None:
    """Sleep, unless the reader of standard output is gone or goes meanwhile.

    A command that waits for something to print would otherwise only notice at its next output,
    which may never come: `fastlog tail -f | head -1`.

    Raises:
        BrokenPipeError: The pipe or socket is closed at its other end.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, io.UnsupportedOperation, ValueError):  # none, replaced, or closed
        time.sleep(seconds)
        return
    poll = select.poll()
    poll.register(descriptor, 0)  # POLLERR and POLLHUP are reported unasked
    if poll.poll(seconds * 1000):
        raise BrokenPipeError
