"""The lock of the data directory, which a supervisor and all its children hold."""

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

ORPHAN_TIMEOUT = 20.0
"""Seconds to wait until the children of a killed supervisor have ended."""
RESTORING = "restoring"
"""A directory that `fastlog restore` has in the data directory until it is complete."""


def lock(directory: Path, access: Access) -> int:
    """Make the data directory if it does not exist, and lock it.

    An existing directory keeps its mode; one that gives more access than configured is logged.

    Args:
        access: The configured mode and group.

    Returns:
        The descriptor that holds the lock. A child that inherits it holds it too.

    Raises:
        FastlogError: The directory is in use, or not writable.
    """
    try:
        _check_group(access)
        make_directory(directory)
        fd = open_file(directory / "lock", os.O_RDWR)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(None, "not writable")
        if warning := mode_warning(directory, access):
            log.warning("%s", warning)
    except OSError as error:
        raise FastlogError(
            f"cannot use the data directory {directory}: {error.strerror}; "
            "name another with --data-dir"
        ) from None
    deadline = time.monotonic() + ORPHAN_TIMEOUT
    while not _try_lock(fd):
        owner = _owner(fd)
        if time.monotonic() >= deadline or (owner and _is_alive(owner)):
            os.close(fd)
            user = f"process {owner}" if owner else "another process"
            raise FastlogError(
                f"the data directory {directory} is in use by {user}; "
                "stop it, or name another with --data-dir"
            )
        time.sleep(0.05)  # the children of a dead supervisor are about to end
    with contextlib.suppress(OSError):  # a full disk does not affect the lock
        os.truncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def check_restored(directory: Path) -> None:
    """Check that the data directory is not a part of a backup only.

    Raises:
        FastlogError: A restore was interrupted there.
    """
    if (directory / RESTORING).exists():
        raise FastlogError(
            f"{directory} is not complete: a restore was interrupted; repeat `fastlog restore`"
        )


def mode_warning(directory: Path, access: Access) -> str:
    """Return a warning, with a command, if others have more access than configured; else ""."""
    if not excess_mode(directory, access):
        return ""
    mode = stat.S_IMODE(directory.stat().st_mode)
    wanted = mode & ~0o077 | mode & 0o077 & access.directory_mode
    return (
        f"{directory} has mode {mode:04o}, which gives others access; "
        f"to deny it, run: chmod {wanted:04o} {directory}"
    )


def _check_group(access: Access) -> None:
    """Check that this process may give files to the group: only root may use groups of others."""
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
    """Return the pid that the lock file names, or 0."""
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # the file may have any number
        return False
    except PermissionError:
        return True
    return True
