"""The schema of a day file: its tables, its version, and the migration of an older file.

Column names in SQL are written `[name]`: SQLite takes a `"name"` that no column has as a text, so
that a missing column would read as its own name.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from fastlog.errors import DamagedFileError, NewerSchemaError
from fastlog.record import Record

VERSION = 2
"""Version 1 had no `step`, `frames` and `sealed_at` in the table `cursor`."""

_TYPES = {
    "created": "REAL NOT NULL",
    "received": "REAL NOT NULL",
    "levelno": "INTEGER",
    "lineno": "INTEGER",
    "process": "INTEGER",
    "thread": "INTEGER",
    "offset": "INTEGER NOT NULL",
    "idx": "INTEGER NOT NULL",
}
"""The columns that are not text."""

_COLUMNS = ", ".join(f"[{name}] {_TYPES.get(name, 'TEXT')}" for name in Record._fields)

SCHEMA = (
    f"CREATE TABLE records ({_COLUMNS}, node TEXT NOT NULL)",
    "CREATE INDEX records_created ON records (created)",
    "CREATE TABLE cursor (node TEXT PRIMARY KEY, offset INTEGER NOT NULL, sealed TEXT,"
    " step INTEGER NOT NULL DEFAULT 0, frames INTEGER, sealed_at REAL)",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value)",
    "INSERT INTO meta VALUES ('min_created', NULL), ('max_created', NULL), ('synced', 0)",
    f"INSERT INTO meta VALUES ('schema', {VERSION})",  # noqa: S608 our own text
)
"""`cursor.sealed` is the file where the node's blocks continue, NULL in the file where the cursor
is. `step` counts the files that the cursor has entered, this one included. `frames` is the ordinal
of the first frame behind the cursor; NULL where it is not known. `sealed_at` is the server's wall
clock at the seal."""

MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE cursor ADD COLUMN step INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE cursor ADD COLUMN frames INTEGER",
        "ALTER TABLE cursor ADD COLUMN sealed_at REAL",
    ),
}
"""The statements that turn a file of a version into one of the next version."""

_CURSOR_COLUMNS = {
    1: {"node", "offset", "sealed"},
    2: {"node", "offset", "sealed", "step", "frames", "sealed_at"},
}


class Summary(NamedTuple):
    """What a day file states about all its records; None where it states nothing."""

    first: float | None = None
    """The smallest `created`."""
    last: float | None = None
    """The greatest `created`."""
    sealed_at: float | None = None
    """When a cursor last moved on to another file, by the server's wall clock."""


def read_version(connection: sqlite3.Connection) -> int | None:
    """Return the version of the file's schema; None where the file has no table at all.

    Raises:
        NewerSchemaError: A newer fastlog made the file. The text gives the remedy, but no path.
        DamagedFileError: The file is not a day file. The text names no path either.
        sqlite3.Error: The file cannot be read.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return None
    if not {"meta", "records", "cursor"} <= tables:
        raise DamagedFileError("is a database, but not one of fastlog's day files")
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    version = row[0] if row else None
    if not isinstance(version, int) or version < 1:
        raise DamagedFileError(f"has the schema version {version!r}, which no fastlog wrote")
    if version > VERSION:
        raise NewerSchemaError(
            f"has schema version {version}, and this fastlog reads versions up to {VERSION}: "
            "upgrade fastlog-server, or move the file away"
        )
    return version


def check_columns(connection: sqlite3.Connection, version: int) -> None:
    """Check that the tables of a file of this version have the columns that are used here.

    Raises:
        DamagedFileError: A column is missing. The text names no path.
    """
    for table, expected in (
        ("records", {*Record._fields, "node"}),
        ("cursor", _CURSOR_COLUMNS[version]),
        ("meta", {"key", "value"}),
    ):
        rows = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
        missing = expected - {name for (name,) in rows}
        if missing:
            names = ", ".join(sorted(missing))
            raise DamagedFileError(f"is not a whole day file: its table {table} lacks {names}")


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Migrate a file from this version to the current one, with a transaction for each version.

    The caller sets `synchronous`, so that the commits are durable. Another process may do the same
    at the same time: each reads the version again once it has the lock.

    Raises:
        sqlite3.Error: The file keeps the version that it has reached.
    """
    for old in range(version, VERSION):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if read_version(connection) == old:
                for statement in MIGRATIONS[old]:
                    connection.execute(statement)
                connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (old + 1,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
