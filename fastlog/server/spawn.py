"""Start a program, and find out how it ended.

A child is a pid and a pidfd, nothing that exists only in this program's memory: a supervisor that
replaces itself keeps its children.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(32 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
"""Makes glibc's malloc keep the megabytes that each batch allocates and frees. Otherwise it returns
them to the kernel, which clears them anew each time: a third of a worker's time (mallopt(3))."""


def spawn(
    argv: list[str], keep: Sequence[int], stdio: Mapping[int, int] | None = None
) -> tuple[int, int]:
    """Start a program in a process group of its own, with default signal handling.

    Args:
        keep: Descriptors to inherit under the same numbers. Of all others, only 0 to 2 are
            inherited.
        stdio: Descriptors for its 1 and 2, where they differ from those of this process.

    Returns:
        The pid, and a pidfd, which becomes readable when the program ends.

    Raises:
        OSError: The program cannot be started.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        *((os.POSIX_SPAWN_DUP2, fd, number) for number, fd in (stdio or {}).items()),
        # dup2 onto itself clears the close-on-exec flag, in the child only
        *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in keep),
    ]
    pid = os.posix_spawn(
        argv[0],
        argv,
        {**_MALLOC, **os.environ},
        file_actions=actions,
        setpgroup=0,  # Ctrl-C in a terminal must reach the supervisor only
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
    """Return the exit status, or minus the signal that killed it; None while it runs."""
    result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def describe(status: int) -> str:
    """Describe an exit status of `reap` in words."""
    if status >= 0:
        return f"ended with {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal
        return f"was killed by signal {-status}"


def memory_file(name: str, content: bytes = b"") -> int:
    """Make a memory file for another program to read or write; return its descriptor."""
    fd = os.memfd_create(name)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    return fd


def read_file(fd: int) -> bytes:
    """Return the content of a memory file, and close it."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        return file.read()
