"""What users of SQLite files share: the type of `execute`, damage, and the log on small disks."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

Execute = Callable[..., sqlite3.Cursor]
"""`sqlite3.Connection.execute`."""

CHECKPOINT_PAGES: Final = 2048
"""Pages in the write-ahead log after which they are moved into the database, at most."""
LOG_PARTS: Final = 64
"""The log has at most about one part in this many of a small disk."""
_CODES: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether SQLite reports that the content of a file is wrong, as opposed to a file that
    cannot be read now."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _CODES


def checkpoint_pages(path: Path, page: int) -> int:
    """Return after how many pages SQLite's write-ahead log is moved into the database.

    Args:
        path: The database.
        page: Bytes of a page.
    """
    disk = os.statvfs(path)
    pages = disk.f_blocks * disk.f_frsize // LOG_PARTS // page
    return min(max(pages, 1), CHECKPOINT_PAGES) if pages else CHECKPOINT_PAGES
