"""Reading of day files: list them, open one without disturbing its writer, report damaged ones."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from fastlog.database import is_damage
from fastlog.errors import DamagedFileError, FastlogError, NewerSchemaError
from fastlog.search.layout import add_certificate, read_layout
from fastlog.search.spans import EVER, Span
from fastlog.sinks.day_directory import list_day_files
from fastlog.sinks.day_schema import CERTIFIED, check_columns, read_version

FRESH = 60.0
"""Seconds for which a file may have no tables, because the sink is just creating it."""


class Unread:
    """The day files that could not be read, or not to their end.

    Args:
        report: called once for each file, with a line that names it.
    """

    def __init__(self, report: Callable[[str], object]) -> None:
        self._report = report
        self.files: dict[Path, str] = {}
        """What is wrong, by file."""

    def add(self, path: Path, trouble: str) -> None:
        """Note that a file is left out, and report it unless it is noted already."""
        if path not in self.files:
            self.files[path] = trouble
            self._report(f"{path} {trouble}; some or all of its records are left out")


class _EmptyError(FastlogError):
    """A file without any table."""


class Day(NamedTuple):
    """A day file, and the span of `created` that it holds now."""

    path: Path
    first: float
    last: float
    last_id: int
    """The record that arrived last. Those with a greater id came later."""


def list_files(logs: Path) -> list[Path]:
    """Return the day files of a directory in the order of their days."""
    return [logs / str(name) for name in list_day_files(logs)]


def read_days(logs: Path, span: Span = EVER, unread: Unread | None = None) -> list[Day]:
    """Return the day files that hold records of a time span, in the order of their days.

    Args:
        span, unread: as in `read_day`.
    """
    days = (read_day(path, span, unread) for path in list_files(logs))
    return [day for day in days if day is not None]


def read_day(path: Path, span: Span = EVER, unread: Unread | None = None) -> Day | None:
    """Return what a file holds now; None when it holds nothing of the time span, or is gone.

    Args:
        span: of `created`.
        unread: gets the file when it cannot be read; without it, that is an error.

    Raises:
        FastlogError: The file cannot be read, and there is no `unread`.
    """
    with unless_gone(path, unread), closing(open_day(path)) as connection:
        if not _may_hold(connection, span):
            return None
        table, each, *_ = read_layout(connection)
        first, last, last_id = connection.execute(
            f"SELECT (SELECT min(created) FROM {table}), (SELECT max(created) FROM {table}),"  # noqa: S608 our own text
            f" (SELECT max({each}) FROM {table})"
        ).fetchone()
        if last_id is not None:
            if not (type(first) is type(last) is float):
                raise DamagedFileError("is damaged: a time of a record is no number")
            day = Day(path, first, last, last_id)
            return day if span.reaches(first, last) else None
    return None


def _may_hold(connection: sqlite3.Connection, span: Span) -> bool:
    """Return False when the span in the table `meta` excludes the wanted one.

    That reads one page, where the index takes a dozen. The sink writes the span in the transaction
    of the records; a file that was made otherwise may lack it.
    """
    if span == EVER:
        return True
    stated = dict(
        connection.execute(
            "SELECT key, value FROM meta WHERE key IN ('min_created', 'max_created')"
        )
    )
    first, last = stated.get("min_created"), stated.get("max_created")
    if not (type(first) is type(last) is float):
        return True
    return span.reaches(first, last)


@contextmanager
def unless_gone(path: Path, unread: Unread | None = None) -> Iterator[None]:
    """Suppress the errors of a body whose file was deleted by retention, or is being created.

    Args:
        unread: gets the file when it exists and cannot be read; the error is suppressed then too.

    Raises:
        FastlogError: The file exists and cannot be read, and there is no `unread`.
    """
    try:
        yield
    except (sqlite3.DatabaseError, DamagedFileError, NewerSchemaError, _EmptyError) as error:
        try:
            status = path.lstat()
        except FileNotFoundError:
            return
        if isinstance(error, _EmptyError) and abs(time.time() - status.st_mtime) < FRESH:
            return
        trouble = describe(error)
        if unread is None:
            raise FastlogError(f"{path} {trouble}") from error
        unread.add(path, trouble)


def describe(error: Exception) -> str:
    """Return what is wrong with a day file, to be printed after its name."""
    if isinstance(error, sqlite3.Error):
        return f"{'is damaged' if is_damage(error) else 'cannot be read'} ({error})"
    return str(error)


def open_day(path: Path) -> sqlite3.Connection:
    """Open a day file for reading, as `open_file` does, and check its schema.

    Raises:
        DamagedFileError, NewerSchemaError: The schema is not one that this version knows. The text
            does not name the file.
        FastlogError: The file has no tables.
        sqlite3.Error: The file cannot be read.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        mode = stat.S_IFREG  # SQLite's error then gives the reason
    if not stat.S_ISREG(mode):  # a FIFO would block
        raise DamagedFileError("is not a file")
    connection = open_file(path)
    try:
        version = read_version(connection)
        if version is None:
            raise _EmptyError("is empty, and a day file never is")
        check_columns(connection, version)
        if version < CERTIFIED:
            add_certificate(connection, version)
    except BaseException:
        connection.close()
        raise
    return connection


def open_file(path: Path) -> sqlite3.Connection:
    """Open a database for reading.

    It works beside the writer, after it, and for a user without write permission: where the file
    was closed cleanly and its directory is not writable, SQLite cannot create the shared memory of
    the write-ahead log, and the file is opened as immutable.

    Raises:
        sqlite3.OperationalError: The file cannot be opened; it may be gone.
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
    except BaseException:
        connection.close()
        raise
    return connection
