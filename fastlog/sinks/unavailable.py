"""The error of a file that a sink cannot use now, in words for an operator."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

from fastlog.config import format_size
from fastlog.errors import SinkUnavailableError
from fastlog.journal.disk import FULL_ERRORS

_LITTLE = 64 << 10
"""Bytes that SQLite needs even to read a file: on a disk with less, some of its errors are named
after what it tried."""

ROOM = 512 << 10
"""Bytes that a sink leaves free."""


def unavailable(path: Path, error: OSError | sqlite3.Error) -> SinkUnavailableError:
    """Return the error for a file that cannot be read or written now; it says if a disk is full."""
    if isinstance(error, OSError):
        is_full, text = error.errno in FULL_ERRORS, error.strerror or str(error)
    else:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest distinguishes operations
        may_be_full = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
        is_full = code == sqlite3.SQLITE_FULL or (may_be_full and _free(path) < _LITTLE)
        text = str(error)
    if not is_full:
        return SinkUnavailableError(f"{path}: {text}")
    return SinkUnavailableError(
        f"disk full: cannot write {path}, {format_size(_free(path))} of its disk are free ({text})"
    )


def require_room(path: Path, size: int) -> None:
    """Check that a file can grow by some bytes, and leave `ROOM` for what comes with it.

    SQLite needs space even to sync or to read, and so does a saved cursor. A sink that took the
    last bytes of a disk could not tell the journal what it has stored, and nothing would be freed.

    Raises:
        SinkUnavailableError: The disk is full.
    """
    needed, free = size + ROOM, _free(path)
    if free < needed:
        raise SinkUnavailableError(
            f"disk full: cannot write {path}, {format_size(free)} of its disk are free, and "
            f"{format_size(needed)} are needed"
        )


def _free(path: Path) -> int:
    """Return the free bytes of the disk of a file, which need not exist."""
    for place in (path, *path.parents):
        try:
            disk = os.statvfs(place)
        except OSError:
            continue
        # A file system without a size does not know.
        return disk.f_bavail * disk.f_frsize if disk.f_blocks else sys.maxsize
    return 0
