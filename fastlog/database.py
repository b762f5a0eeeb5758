"""What all users of SQLite files share: the type of `execute`, and how damage is recognized."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

Execute = Callable[..., sqlite3.Cursor]
"""`sqlite3.Connection.execute`."""

_CODES: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether SQLite reports that the content of a file is wrong, as opposed to a file that
    cannot be read now."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _CODES
