"""The day files: which there are, and how one is opened without disturbing its writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from fastlog.errors import FastlogError
from fastlog.query.filters import install_functions
from fastlog.sinks.days import read_name


class Day(NamedTuple):
    """A day file and the span of `created` that it holds now."""

    path: Path
    first: float
    last: float
    rowid: int
    """The greatest one: rows beyond it came later."""


def list_files(logs: Path) -> list[Path]:
    """The day files of a directory in the order in which they were begun."""
    try:
        parts = sorted(part for path in logs.iterdir() if (part := read_name(path.name)))
    except FileNotFoundError:  # nothing was stored yet
        return []
    return [logs / part.name for part in parts]


def read_days(logs: Path, since: float | None = None, until: float | None = None) -> list[Day]:
    """The day files that hold records of that time, in the order in which they were begun."""
    days = (read_day(path, since, until) for path in list_files(logs))
    return [day for day in days if day is not None]


def read_day(path: Path, since: float | None = None, until: float | None = None) -> Day | None:
    """What a file holds now; `None` when it holds nothing of that time, or is gone.

    Args:
        since, until: as in `Filters`.
    """
    with unless_gone(path), closing(open_file(path)) as connection:
        if not _may_hold(connection, since, until):
            return None
        first, last, rowid = connection.execute(
            "SELECT (SELECT min(created) FROM records), (SELECT max(created) FROM records),"
            " (SELECT max(rowid) FROM records)"
        ).fetchone()
        if rowid is not None:
            day = Day(path, first, last, rowid)
            return day if _overlap(first, last, since, until) else None
    return None


def _may_hold(connection: sqlite3.Connection, since: float | None, until: float | None) -> bool:
    """What the file's own note of its span says: one page, where the index takes a dozen.

    The sink writes it in the transaction of the records; a file that was made otherwise may lack
    it.
    """
    if since is None and until is None:
        return True
    span = dict(
        connection.execute(
            "SELECT key, value FROM meta WHERE key IN ('min_created', 'max_created')"
        )
    )
    first, last = span.get("min_created"), span.get("max_created")
    return first is None or last is None or _overlap(first, last, since, until)


def _overlap(first: float, last: float, since: float | None, until: float | None) -> bool:
    return (since is None or last >= since) and (until is None or first < until)


@contextmanager
def unless_gone(path: Path) -> Iterator[None]:
    """Leave the body quietly when retention took the file, or when it is only being made.

    Raises:
        FastlogError: the file is there and cannot be read.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        if path.exists() and "no such table: records" not in str(error):
            raise FastlogError(f"{path}: {error}") from error


def open_file(path: Path) -> sqlite3.Connection:
    """A connection that reads only.

    It works beside the writer, after it, and for a user who may not write: where the file was
    closed cleanly and its directory is not ours to write to, SQLite cannot make the shared memory
    that its log needs, and the file is read as one that nobody changes.

    Raises:
        sqlite3.OperationalError: it cannot be opened; perhaps it is gone.
    """
    try:
        return _connect(path, "mode=ro")
    except sqlite3.OperationalError:
        if not path.exists() or path.with_name(path.name + "-wal").exists():
            raise
        return _connect(path, "mode=ro&immutable=1")


def _connect(path: Path, options: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?{options}"
    connection = sqlite3.connect(uri, uri=True, timeout=10.0, isolation_level=None)
    try:
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()  # opens it for real
        install_functions(connection)
    except BaseException:
        connection.close()
        raise
    return connection
