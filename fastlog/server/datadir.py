"""The data directory has one owner: the supervisor, and its children until the last has ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from fastlog.errors import FastlogError

ORPHANS = 20.0
"""Seconds that the children of a supervisor that was killed have to end."""


def own(directory: Path) -> int:
    """Makes the data directory if it is not there, and locks it.

    Returns:
        The descriptor that holds the lock. A child that inherits it holds it too.

    Raises:
        FastlogError: It is in use, or cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(None, "not writable")
    except OSError as error:
        raise FastlogError(
            f"cannot use the data directory {directory}: {error.strerror}; "
            "name another with --data-dir"
        ) from None
    deadline = time.monotonic() + ORPHANS
    while not _try_lock(fd):
        owner = _owner(fd)
        if time.monotonic() >= deadline or (owner and _lives(owner)):
            os.close(fd)
            who = f"by process {owner}" if owner else "by another process"
            raise FastlogError(
                f"the data directory {directory} is in use {who}; "
                "stop it, or name another with --data-dir"
            )
        time.sleep(0.05)  # the children of a dead supervisor are about to notice
    with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
        os.truncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(fd: int) -> int:
    """The process that wrote itself into the lock, or 0."""
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
