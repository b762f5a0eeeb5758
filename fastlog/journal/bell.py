"""A sink's bell: it wakes the worker when there is more to read.

A named pipe. The worker makes it and waits at it; the journal's writer puts a byte into it after
each sync, and does not care whether that fits or is read. It is a hint and no more: a worker that
was not woken looks a little later all the same.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

_TRY_EVERY = 1.0
"""Seconds between tries to find a bell that is not there yet."""
_SIZE = 65536
"""What a pipe holds at most, unless somebody has asked for more (pipe(7))."""


def _path(data_dir: Path, name: str) -> Path:
    return data_dir / "positions" / f"{name}.bell"


def _opened(path: Path, flags: int) -> int:
    """A descriptor that waits for nobody.

    Raises:
        OSError: There is no pipe, or nobody listens.
    """
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileExistsError(f"{path} is not a pipe")
    return fd


class Bell:
    """The worker's end of the bell of the sink `name`.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, data_dir: Path, name: str) -> None:
        path = _path(data_dir, name)
        path.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        self._fd = _opened(path, os.O_RDWR)  # a pipe without a writer is at its end all the time

    def fileno(self) -> int:
        """Becomes readable when the bell was rung."""
        return self._fd

    def quiet(self) -> None:
        """Takes back what was rung."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, _SIZE)

    def close(self) -> None:
        """Lets go of the pipe; it stays where it is."""
        os.close(self._fd)


class Bells:
    """The bells of these sinks, for who rings them, until the process ends."""

    def __init__(self, data_dir: Path, names: Iterable[str]) -> None:
        self._paths = {name: _path(data_dir, name) for name in names}
        self._fds: dict[str, int] = {}
        self._find_at = float("-inf")

    def ring(self) -> None:
        """Rings all that are there. Never waits, and never fails."""
        if len(self._fds) < len(self._paths) and time.monotonic() >= self._find_at:
            self._find()
        for fd in self._fds.values():
            with contextlib.suppress(OSError):  # full: it was rung before; or nobody listens now
                os.write(fd, b"\0")

    def _find(self) -> None:
        self._find_at = time.monotonic() + _TRY_EVERY
        for name, path in self._paths.items():
            if name not in self._fds:
                with contextlib.suppress(OSError):  # the worker has not started yet
                    self._fds[name] = _opened(path, os.O_WRONLY)
