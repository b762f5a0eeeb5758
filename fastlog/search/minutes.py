"""Minutes: which of them a day file counts each by itself."""

from __future__ import annotations

import sqlite3

from fastlog.errors import DamagedFileError
from fastlog.sinks.day_chunks import MinuteBounds


def read_minutes(connection: sqlite3.Connection) -> MinuteBounds:
    """Return the minutes that a file counts each by itself.

    Those before 1970 are left out: one of them is `OTHER_MINUTES`.

    Raises:
        DamagedFileError: The file does not state them. The text names no path.
    """
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    first, end = meta.get("first_minute"), meta.get("end_minute")
    if not (type(first) is type(end) is int):
        raise DamagedFileError("is damaged: it does not state the minutes of its counts")
    return MinuteBounds(max(first, 0), end)
