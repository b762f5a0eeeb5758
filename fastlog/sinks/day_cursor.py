"""What a day file states: its cursors, summary and version. It may belong to another worker."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fastlog.errors import DamagedFileError
from fastlog.sinks.day_errors import check_regular, translated
from fastlog.sinks.day_schema import Summary, check_columns, read_version

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another connection that has locked the file."""


class CursorRow(NamedTuple):
    """A node's cursor in one file."""

    offset: int
    sealed: str | None
    """The file where the node's blocks continue; None where the cursor is in this file."""
    step: int = 0
    """How many files the cursor had entered, this one included; 0 in files of version 1."""
    frames: int | None = None
    """The ordinal of the first frame after the cursor; None where it is not known."""


def read_cursor(path: Path, node: str) -> CursorRow | None:
    """Return the node's cursor in a file that may belong to another worker; None if it has none.

    Raises:
        DamagedFileError: The file is damaged, or no day file.
        SinkUnavailableError: The file cannot be read now, or is of a newer version.
    """
    with _opened(path) as (connection, version):
        return None if version is None else cursor_of(connection, node, version)


def read_cursors(path: Path) -> dict[str, CursorRow]:
    """Return the cursors of all nodes in a file.

    Raises:
        As `read_cursor`.
    """
    with _opened(path) as (connection, version):
        return {} if version is None else _cursors_of(connection, version)


def read_summary(path: Path) -> Summary:
    """Return what a file states about its records, without reading them.

    Raises:
        As `read_cursor`.
    """
    with _opened(path) as (connection, version):
        if version is None:
            return Summary()
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        sealed_at = None
        if version > 1:
            (sealed_at,) = connection.execute("SELECT max(sealed_at) FROM cursor").fetchone()
        times = (meta.get("min_created"), meta.get("max_created"), sealed_at)
        return Summary(*(time if isinstance(time, float) else None for time in times))


def read_file_version(path: Path) -> int | None:
    """Return the version of a file's schema; None where it has none.

    Raises:
        As `read_cursor`.
    """
    with _opened(path) as (_, version):
        return version


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[sqlite3.Connection, int | None]]:
    """Open an existing file; yield the connection, and the version of its schema if it has one."""
    with translated(path):
        check_regular(path)
        uri = f"{path.absolute().as_uri()}?mode=rw"  # never creates it
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT)
        try:
            version = read_version(connection)
            if version is not None:
                check_columns(connection, version)
            yield connection, version
        finally:
            connection.close()


def cursor_of(connection: sqlite3.Connection, node: str, version: int) -> CursorRow | None:
    """Return the node's cursor in an open file; None if it has none.

    Args:
        version: Of the file's schema.

    Raises:
        DamagedFileError: The row makes no sense.
    """
    return _cursors_of(connection, version, "WHERE node = ?", (node,)).get(node)


def _cursors_of(
    connection: sqlite3.Connection, version: int, where: str = "", values: tuple[str, ...] = ()
) -> dict[str, CursorRow]:
    rest = "step, frames" if version > 1 else "0, NULL"
    rows = connection.execute(
        f"SELECT node, offset, sealed, {rest} FROM cursor {where}",  # noqa: S608 our own text
        values,
    )
    found: dict[str, CursorRow] = {}
    for node, *row in rows:
        cursor = CursorRow(*row)
        counts = (cursor.offset, cursor.step, cursor.frames or 0)
        if not all(type(count) is int and count >= 0 for count in counts) or not (
            cursor.sealed is None or isinstance(cursor.sealed, str)
        ):
            raise DamagedFileError(f"is damaged (its cursor is {tuple(row)!r})")
        found[node] = cursor
    return found
