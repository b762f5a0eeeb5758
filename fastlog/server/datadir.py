"""The data directory has one owner: the supervisor, and its children until the last has ended."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import time
from pathlib import Path

from fastlog.errors import FastlogError
from fastlog.files import Access, excess_mode, make_directory, open_file

log = logging.getLogger(__name__)

ORPHANS = 20.0
"""Seconds that the children of a supervisor that was killed have to end."""


def own(directory: Path, access: Access) -> int:
    """Makes the data directory if it is not there, and locks it.

    One that is there keeps its mode, which is its owner's decision; one that lets others in is
    mentioned in the log.

    Args:
        access: Who may use it.

    Returns:
        The descriptor that holds the lock. A child that inherits it holds it too.

    Raises:
        FastlogError: It is in use, or cannot be written.
    """
    try:
        _check_group(access)
        make_directory(directory)
        fd = open_file(directory / "lock", os.O_RDWR)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(None, "not writable")
        if wide := too_wide(directory, access):
            log.warning("%s", wide)
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


def too_wide(directory: Path, access: Access) -> str:
    """Returns what is wrong with the mode of a directory that lets others in, and the command that
    mends it; or ""."""
    if not excess_mode(directory, access):
        return ""
    mode = stat.S_IMODE(directory.stat().st_mode)
    wanted = mode & ~0o077 | mode & 0o077 & access.directory_mode
    return (
        f"{directory} has mode {mode:04o} and lets others in; "
        f"if nobody else shall look in, run: chmod {wanted:04o} {directory}"
    )


def _check_group(access: Access) -> None:
    """A process may give its files to its own groups only, unless it is root's."""
    gid = access.gid
    if gid >= 0 and os.geteuid() != 0 and gid not in (os.getegid(), *os.getgroups()):
        raise FastlogError(
            f"files.group: the server's user is not in the group {gid}; "
            "add it (usermod -aG), or name another group"
        )


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
