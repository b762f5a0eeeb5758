"""Erase from day files: what a query finds in one file, counted or deleted for good."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from fastlog.errors import FastlogError
from fastlog.query import Node
from fastlog.sinks.day_erasure import Erasure, connect, rewrite, truncate_log
from fastlog.sinks.day_file import DayFile, is_current_version
from fastlog.sinks.day_matches import Matches, pieces


class Erased(NamedTuple):
    """What was deleted from a file."""

    records: int
    newest: dict[str, int]
    """For each journal, the greatest offset of a block that had one of them."""
    rest: str
    """Why bytes of them may still be in the file; "" if they are not."""


def count_matches(path: Path, query: Node) -> int:
    """Return how many records of a file match.

    Raises:
        FastlogError: The file cannot be read.
    """
    _require_current(path)
    with closing(connect(path)) as connection:
        matches = Matches(connection, query)
        return sum(len(matches.find(piece)) for piece in pieces(connection))


def erase_matches(path: Path, query: Node, note: Callable[[int], object]) -> Erased:
    """Delete the records of a file that match, and every byte of them in it.

    A sink may write to the file meanwhile; it waits while the file is written anew.

    Args:
        note: gets the number of deleted records after each transaction.

    Raises:
        sqlite3.Error, FastlogError: What was deleted until then stays deleted.
    """
    _require_current(path)
    with closing(connect(path)) as connection:
        matches, erasure = Matches(connection, query), Erasure(connection, secure=True)
        records = 0
        for piece in pieces(connection):
            if ids := matches.find(piece):
                records += (number := erasure.erase(ids))
                note(number)
        if not records:
            return Erased(0, {}, "")
        newest = erasure.newest_offsets()
        erasure.remove_unused()
        try:
            rewrite(connection)
            is_empty = truncate_log(connection)
        except sqlite3.OperationalError as error:
            return Erased(records, newest, f"it could not be written anew ({error})")
        rest = "" if is_empty else "a reader needs its write-ahead log"
        return Erased(records, newest, rest)


def _require_current(path: Path) -> None:
    """Migrate a file of an older version, which has no numbers that stay."""
    if not path.stat().st_size:
        raise FastlogError(f"{path} is empty, and a day file never is")
    if not is_current_version(path):
        DayFile(path, node="").close()
