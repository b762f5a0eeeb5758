"""Starting another program, and learning how it ended.

A child is a pid and a descriptor that tells its end, nothing that only this program's memory knows:
the supervisor that replaces itself takes its children along.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(32 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
"""Lets glibc's malloc keep the megabytes that a batch takes and gives back. It would return them to
the kernel each time, and the kernel clear them anew: a third of a worker's time (mallopt(3))."""


def spawn(
    argv: list[str], keep: Sequence[int], stdio: Mapping[int, int] | None = None
) -> tuple[int, int]:
    """Starts a program in a process group of its own, with the signals as a new process has them.

    Args:
        keep: Descriptors that it shall have under the same numbers; all others but 0 to 2 it
            shall not.
        stdio: What its descriptors 1 and 2 shall be, where they are not ours.

    Returns:
        Its pid, and a descriptor that becomes readable when it ends.

    Raises:
        OSError: It cannot be started.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        *((os.POSIX_SPAWN_DUP2, fd, number) for number, fd in (stdio or {}).items()),
        # onto itself, which is how the close-on-exec flag goes away in the child alone
        *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in keep),
    ]
    pid = os.posix_spawn(
        argv[0],
        argv,
        {**_MALLOC, **os.environ},
        file_actions=actions,
        setpgroup=0,  # Ctrl-C in a terminal is the supervisor's to hear
        setsigmask=[],
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )
    try:
        return pid, os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def reap(pid: int) -> int | None:
    """Its exit status if it has ended, or minus the signal that killed it; None while it lives."""
    result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def describe(status: int) -> str:
    """How it ended, in words."""
    if status >= 0:
        return f"ended with {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal
        return f"was killed by signal {-status}"


def memory_file(name: str, content: bytes = b"") -> int:
    """A file in memory, for another program to read or write: its descriptor."""
    fd = os.memfd_create(name)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    return fd


def read_file(fd: int) -> bytes:
    """All that such a file holds; closes it."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        return file.read()
