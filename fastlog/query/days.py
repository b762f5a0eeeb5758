"""The day files: which there are, how one is opened without disturbing its writer, and what
becomes of those that cannot be read."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from fastlog.errors import DamagedFileError, FastlogError, NewerSchemaError
from fastlog.query.filters import install_functions
from fastlog.sinks.dayfile import is_damage
from fastlog.sinks.days import list_parts
from fastlog.sinks.dayschema import check_columns, read_version

FRESH = 60.0
"""Seconds for which a file may have no tables, because the sink is only making it."""


class Unread:
    """The day files that could not be read, or not to their end.

    Args:
        tell: is called once for each, with a line that names it.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self.files: dict[Path, str] = {}
        """What is wrong, by file."""

    def add(self, path: Path, what: str) -> None:
        """This file is left out from here on."""
        if path not in self.files:
            self.files[path] = what
            self._tell(f"{path} {what}; some or all of its records are left out")


class _EmptyError(FastlogError):
    """A file without any table."""


class Day(NamedTuple):
    """A day file and the span of `created` that it holds now."""

    path: Path
    first: float
    last: float
    rowid: int
    """The greatest one: rows beyond it came later."""


def list_files(logs: Path) -> list[Path]:
    """The day files of a directory in the order of their days."""
    return [logs / part.name for part in list_parts(logs)]


def read_days(
    logs: Path,
    since: float | None = None,
    until: float | None = None,
    unread: Unread | None = None,
) -> list[Day]:
    """The day files that hold records of that time, in the order of their days."""
    days = (read_day(path, since, until, unread) for path in list_files(logs))
    return [day for day in days if day is not None]


def read_day(
    path: Path,
    since: float | None = None,
    until: float | None = None,
    unread: Unread | None = None,
) -> Day | None:
    """What a file holds now; `None` when it holds nothing of that time, or is gone.

    Args:
        since, until: as in `Filters`.
        unread: is told when it cannot be read; else that is an error.
    """
    with unless_gone(path, unread), closing(open_day(path)) as connection:
        if not _may_hold(connection, since, until):
            return None
        first, last, rowid = connection.execute(
            "SELECT (SELECT min(created) FROM records), (SELECT max(created) FROM records),"
            " (SELECT max(rowid) FROM records)"
        ).fetchone()
        if rowid is not None:
            if not (type(first) is type(last) is float):
                raise DamagedFileError("is damaged: a time of a record is no number")
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
    if not (type(first) is type(last) is float):
        return True
    return _overlap(first, last, since, until)


def _overlap(first: float, last: float, since: float | None, until: float | None) -> bool:
    return (since is None or last >= since) and (until is None or first < until)


@contextmanager
def unless_gone(path: Path, unread: Unread | None = None) -> Iterator[None]:
    """Leave the body quietly when retention took the file, or when it is only being made.

    Args:
        unread: is told when the file is there and cannot be read; the body is left then too.

    Raises:
        FastlogError: the file is there and cannot be read, and there is no `unread`.
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
        what = describe(error)
        if unread is None:
            raise FastlogError(f"{path} {what}") from error
        unread.add(path, what)


def describe(error: Exception) -> str:
    """What is wrong with a day file, to be read after its name."""
    if isinstance(error, sqlite3.Error):
        return f"{'is damaged' if is_damage(error) else 'cannot be read'} ({error})"
    return str(error)


def open_day(path: Path) -> sqlite3.Connection:
    """`open_file` for a day file, whose schema is one that we know.

    Raises:
        DamagedFileError, NewerSchemaError: it is not. The text does not name the file.
        FastlogError: it has no tables.
        sqlite3.Error: it cannot be read.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        mode = stat.S_IFREG  # SQLite says what is wrong
    if not stat.S_ISREG(mode):  # a FIFO would block
        raise DamagedFileError("is not a file")
    connection = open_file(path)
    try:
        version = read_version(connection)
        if version is None:
            raise _EmptyError("is empty, and a day file never is")
        check_columns(connection, version)
    except BaseException:
        connection.close()
        raise
    return connection


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
