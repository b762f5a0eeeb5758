"""Erase from day files: deletes what a query finds in one file for good."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from fastlog.errors import FastlogError
from fastlog.query import Node
from fastlog.sinks.day_cursor import read_file_version
from fastlog.sinks.day_erasure import Erasure, connect, rewrite, truncate_log
from fastlog.sinks.day_file import DayFile
from fastlog.sinks.day_matches import Matches, pieces
from fastlog.sinks.day_schema import UNFINISHED, VERSION


class Erased(NamedTuple):
    """What was deleted from a file."""

    records: int
    newest: dict[str, int]
    """For each journal, the greatest offset of a block that had one of them."""
    rest: str
    """Why bytes of them may still be in the file; "" if they are not."""


def is_unfinished(connection: sqlite3.Connection) -> bool:
    """Return whether a file may have bytes of what was erased: an erasure was broken off."""
    rows = connection.execute("SELECT 1 FROM meta WHERE key = ?", (UNFINISHED,))
    return rows.fetchone() is not None


def erase_matches(path: Path, query: Node, note: Callable[[int], object]) -> Erased:
    """Delete the records of a file that match, and every byte of them in it.

    It also removes the bytes that an erasure has left which was broken off. A sink may write to
    the file meanwhile; it waits while the file is written anew.

    Args:
        note: gets the number of deleted records after each transaction.

    Raises:
        sqlite3.Error, FastlogError: What was deleted until then stays deleted.
    """
    if not path.stat().st_size:
        raise FastlogError(f"{path} is empty, and a day file never is")
    if read_file_version(path) != VERSION:  # the oldest have no ids that stay
        DayFile(path).close()
    with closing(connect(path)) as connection:
        was_unfinished = is_unfinished(connection)
        matches, erasure = Matches(connection, query), Erasure(connection, secure=True)
        records = 0
        for piece in pieces(connection):
            if ids := matches.find(piece):
                records += (number := erasure.erase(ids, {UNFINISHED: 1}))
                note(number)
        if not records and not was_unfinished:
            return Erased(0, {}, "")
        erasure.remove_unused(all_rows=was_unfinished)
        return Erased(records, erasure.newest_offsets(), _finish(connection))


def _finish(connection: sqlite3.Connection) -> str:
    """Remove the bytes of what was deleted; return why some may be left."""
    try:
        rewrite(connection)
        if not truncate_log(connection):
            return "a reader needs its write-ahead log"
        connection.execute("DELETE FROM meta WHERE key = ?", (UNFINISHED,))
    except sqlite3.OperationalError as error:
        return f"it could not be written anew ({error})"
    return ""
