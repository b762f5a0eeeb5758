"""The schema of the ledger: its tables, its version, and the migration of an older file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fastlog.errors import ConfigError, FastlogError
from fastlog.ledger.limits import MAX_COUNT

SCHEMA = 2
"""The version of the schema, in the file's `user_version`. Files of version 1 have 0 there."""

_TABLES = """
CREATE TABLE rejected (
    node TEXT NOT NULL, offset INTEGER NOT NULL, idx INTEGER NOT NULL, sink TEXT NOT NULL,
    received REAL NOT NULL, peer TEXT NOT NULL, reason TEXT NOT NULL,
    length INTEGER NOT NULL, count INTEGER NOT NULL, raw BLOB NOT NULL,
    PRIMARY KEY (node, offset, idx, sink)
);
CREATE TABLE losses (
    node TEXT NOT NULL, offset INTEGER NOT NULL, idx INTEGER NOT NULL, sink TEXT NOT NULL,
    peer TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
    first REAL NOT NULL, last REAL NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (node, offset, idx, sink)
);
CREATE TABLE entered (
    node TEXT NOT NULL, sink TEXT NOT NULL, offset INTEGER NOT NULL, summed INTEGER NOT NULL,
    PRIMARY KEY (node, sink)
);
CREATE TABLE seconds (
    node TEXT NOT NULL, tab TEXT NOT NULL, second INTEGER NOT NULL, kind TEXT NOT NULL,
    name TEXT NOT NULL, rows INTEGER NOT NULL, shared INTEGER,
    PRIMARY KEY (node, tab, second, kind, name)
);
"""
"""Rows with a rowid below 0 are sums of rows that are no longer kept one by one; their node is "".

`entered`, for the sink "": everything up to `offset` is entered. For another sink: `offset` is
that of its latest row, and its rows before `summed` are in the sums. The row with the greatest
rowid was used last.

`seconds` counts the rows of the current second: of a host, of all hosts, and of each reason that
exceeded the limit. `shared` is the rowid of the row that further entries share.
"""

_COLUMNS: Final = {
    "rejected": "node offset idx sink received peer reason length count raw",
    "losses": "node offset idx sink peer reason count first last detail",
    "entered": "node sink offset summed",
    "seconds": "node tab second kind name rows shared",
}

_MIGRATIONS: Final[dict[int, tuple[str, ...]]] = {
    # Version 1 kept a minute of seconds, which were those that senders claimed.
    1: (
        "DELETE FROM seconds",
        f"UPDATE rejected SET count = {MAX_COUNT} WHERE count > {MAX_COUNT}",  # noqa: S608 our own text
        f"UPDATE losses SET count = {MAX_COUNT} WHERE count > {MAX_COUNT}",  # noqa: S608 our own text
    ),
}
"""The statements that turn a file of a version into one of the next version."""


class LedgerError(FastlogError):
    """The ledger cannot be read: it is damaged, or of a newer version."""


class NewerLedgerError(ConfigError, LedgerError):
    """A newer fastlog has written the ledger."""


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the body does, or roll it back if the body raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables, or migrate those of an older version.

    Raises:
        NewerLedgerError: A newer fastlog has written the file.
        sqlite3.DatabaseError: The file is damaged, or no ledger.
    """
    version = check_layout(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if version == SCHEMA:
        return
    with transaction(connection):
        version = check_layout(connection, path)  # another worker may have been faster
        if not version:
            for statement in _TABLES.split(";"):
                connection.execute(statement)
        for step in range(version or SCHEMA, SCHEMA):
            for statement in _MIGRATIONS[step]:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")


def check_layout(connection: sqlite3.Connection, path: Path) -> int:
    """Check that the file is a ledger that this version can read.

    Returns:
        The version of its schema; 0 for an empty file.

    Raises:
        NewerLedgerError: A newer fastlog has written the file.
        sqlite3.DatabaseError: The file is damaged, or no ledger.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA:
        raise NewerLedgerError(
            f"ledger {path} has layout {version}, and this fastlog knows {SCHEMA} at most: install "
            "the newer fastlog again, or move the file away to begin a new ledger"
        )
    tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")
    if not version and not tables.fetchone()[0]:
        return 0
    for table, columns in _COLUMNS.items():
        found = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        if found != columns.split():
            error = sqlite3.DatabaseError(f"the table {table} is not that of a ledger")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
    return int(version) or 1
