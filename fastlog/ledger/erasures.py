"""Erasures: a row for each `fastlog erase`, in a table of its own.

The row does not have the query, nor a digest of it: both may give away what was to be forgotten.
The table is made by the first erasure; a ledger without it is whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from fastlog.files import touch
from fastlog.ledger.limits import MAX_TEXT
from fastlog.ledger.schema import prepare, transaction

_TABLE = (
    "CREATE TABLE IF NOT EXISTS erasures (id INTEGER PRIMARY KEY, begun REAL NOT NULL,"
    " ended REAL, user TEXT NOT NULL, store TEXT NOT NULL, fields TEXT NOT NULL,"
    " reason TEXT NOT NULL, records INTEGER NOT NULL)"
)


class ErasureNote(NamedTuple):
    """What is known when an erasure begins."""

    begun: float
    """Seconds since the epoch."""
    user: str
    store: str
    """A URL without secrets, or a directory."""
    fields: Sequence[str]
    """The fields that the query was about, without their values."""
    reason: str
    """What the user gave as reason; "" for nothing."""


class ErasureRow:
    """The row of one erasure, which is written before the first record is deleted.

    Args:
        path: Of the ledger.
    """

    def __init__(self, path: Path, note: ErasureNote) -> None:
        self._path = path
        touch(path)
        with closing(self._connect()) as connection:
            prepare(connection, path)
            with transaction(connection):
                connection.execute(_TABLE)
                values = (note.begun, note.user, note.store, ", ".join(note.fields), note.reason)
                self._id = connection.execute(
                    "INSERT INTO erasures (begun, user, store, fields, reason, records)"
                    " VALUES (?, ?, ?, ?, ?, 0)",
                    [text[:MAX_TEXT] if isinstance(text, str) else text for text in values],
                ).lastrowid

    def set_records(self, records: int, ended: float | None = None) -> None:
        """Set how many records were deleted, and, at the end, when."""
        with closing(self._connect()) as connection, transaction(connection):
            connection.execute(
                "UPDATE erasures SET records = ?, ended = ? WHERE id = ?",
                (records, ended, self._id),
            )

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, isolation_level=None, timeout=30.0)


def read_erasures(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return how many erasures a ledger has, and how many records they have deleted."""
    query = "SELECT count(*) FROM sqlite_schema WHERE name = 'erasures'"
    if not connection.execute(query).fetchone()[0]:
        return 0, 0
    [(number, records)] = connection.execute("SELECT count(*), total(records) FROM erasures")
    return number, int(records)
