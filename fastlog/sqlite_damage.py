"""Damage of SQLite files, as opposed to files that cannot be read now."""

from __future__ import annotations

import sqlite3
from typing import Final

_CODES: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether SQLite reports that the content of a file is wrong."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _CODES
