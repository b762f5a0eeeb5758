"""The schema of a day file: its tables, its view `records`, and its version.

`docs/store.md` describes each table and column. Values that recur are stored once: the call site,
the process and the block of an entry are rows of tables of their own. The view `records` joins all.

Column names in SQL are written `[name]`: SQLite takes a `"name"` that no column has as a text, so
that a missing column would read as its own name.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from fastlog.errors import DamagedFileError, NewerSchemaError
from fastlog.query.fields import COLUMNS
from fastlog.record import PROCESS, SITE

VERSION = 4
"""Version 1 had no `step`, `frames` and `sealed_at` in the table `cursor`. In versions 1 and 2,
`records` was a table with all columns. Up to version 3 there was no column `certificate`."""
SPLIT = 3
"""The first version in which `records` is a view."""
CERTIFIED = 4
"""The first version with the column `certificate`."""

COUNTED_SITE: Final = ("levelno", "levelname", "name")
"""The columns of a call site that `site_counts` counts by."""
COUNTED_PROCESS: Final = ("host",)
"""The columns of a process that `process_counts` counts by."""
BLOCK: Final = ("node", "offset", "received")
"""The columns of a block of the journal."""
ENTRY: Final = ("created", "idx", "message", "exc_text", "stack_info", "extra")
"""The columns that an entry has itself."""
TEXTS: Final = ("message", "exc_text", "stack_info", "extra")
"""The columns whose text a chunk holds, in this order."""

ERASURES: Final = "erasures"
"""The key of `meta` that counts the transactions which have erased entries, if any has."""
UNFINISHED: Final = "unfinished erasure"
"""The key of `meta` that is there while bytes of erased entries may be in the file."""
LAST_ID: Final = "last_id"
"""The key of `meta` with the greatest id of an entry that was in use at an erasure."""

_TYPES = {
    "created": "REAL NOT NULL",
    "received": "REAL NOT NULL",
    "levelno": "INTEGER",
    "lineno": "INTEGER",
    "process": "INTEGER",
    "thread": "INTEGER",
    "offset": "INTEGER NOT NULL",
    "idx": "INTEGER NOT NULL",
    "node": "TEXT NOT NULL",
}
"""The columns that are not text, or never null."""


def typed(columns: tuple[str, ...]) -> str:
    """Return columns of `records` with their types, for a CREATE TABLE."""
    return ", ".join(f"[{name}] {_TYPES.get(name, 'TEXT')}" for name in columns)


_OWNER = {
    **dict.fromkeys(SITE, "sites"),
    **dict.fromkeys(PROCESS, "processes"),
    **dict.fromkeys(BLOCK, "blocks"),
    **dict.fromkeys(ENTRY, "entries"),
}

JOIN: Final = (
    "entries LEFT JOIN sites ON sites.id = site_id LEFT JOIN processes ON processes.id ="
    " process_id LEFT JOIN blocks ON blocks.id = block_id"
)
"""The tables of the view `records`. LEFT JOIN, because an inner join would leave out an entry whose
site is missing without a word, and could make SQLite read `sites` first."""

VIEW: Final = (
    f"CREATE VIEW records AS SELECT {', '.join(f'{_OWNER[name]}.[{name}]' for name in COLUMNS)}"  # noqa: S608 our own text
    f" FROM {JOIN}"
)
TABLES: Final = (
    f"CREATE TABLE sites (id INTEGER PRIMARY KEY, {typed(SITE)})",
    f"CREATE TABLE processes (id INTEGER PRIMARY KEY, {typed(PROCESS)})",
    f"CREATE TABLE blocks (id INTEGER PRIMARY KEY, {typed(BLOCK)})",
    "CREATE TABLE entries (id INTEGER PRIMARY KEY, created REAL NOT NULL,"
    " site_id INTEGER NOT NULL, process_id INTEGER NOT NULL, block_id INTEGER NOT NULL,"
    " idx INTEGER NOT NULL, message TEXT NOT NULL, exc_text TEXT, stack_info TEXT,"
    " extra TEXT NOT NULL)",
    "CREATE INDEX entries_created ON entries (created)",
    "CREATE TABLE chunks (last_id INTEGER PRIMARY KEY, first_id INTEGER NOT NULL,"
    " min_created REAL NOT NULL, max_created REAL NOT NULL, text BLOB NOT NULL)",
    "CREATE TABLE site_counts (minute INTEGER NOT NULL, site_id INTEGER NOT NULL,"
    " records INTEGER NOT NULL, PRIMARY KEY (minute, site_id)) WITHOUT ROWID",
    "CREATE TABLE process_counts (minute INTEGER NOT NULL, process_id INTEGER NOT NULL,"
    " records INTEGER NOT NULL, PRIMARY KEY (minute, process_id)) WITHOUT ROWID",
    VIEW,
)
"""Of the records; `docs/store.md` has the meaning of each column."""

SCHEMA: Final = (
    *TABLES,
    "CREATE TABLE cursor (node TEXT PRIMARY KEY, offset INTEGER NOT NULL, sealed TEXT,"
    " step INTEGER NOT NULL DEFAULT 0, frames INTEGER, sealed_at REAL)",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value)",
    "INSERT INTO meta VALUES ('min_created', NULL), ('max_created', NULL), ('synced', 0)",
    f"INSERT INTO meta VALUES ('schema', {VERSION})",  # noqa: S608 our own text
)
"""`cursor.sealed` is the file where the node's blocks continue, NULL in the file where the cursor
is. `step` counts the files that the cursor has entered, this one included. `frames` is the ordinal
of the first frame after the cursor; NULL where it is not known. `sealed_at` is the server's wall
clock at the seal."""

_CURSOR_COLUMNS = {1: {"node", "offset", "sealed"}}
for _version in range(2, VERSION + 1):
    _CURSOR_COLUMNS[_version] = {*_CURSOR_COLUMNS[1], "step", "frames", "sealed_at"}


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
    expected = {"cursor": _CURSOR_COLUMNS[version], "meta": {"key", "value"}}
    if version >= SPLIT:
        expected |= {
            "sites": {"id", *SITE},
            "processes": {"id", *PROCESS},
            "blocks": {"id", *BLOCK},
            "entries": {"id", "site_id", "process_id", "block_id", *ENTRY},
        }
    expected["records"] = {*COLUMNS}  # last: SQLite cannot describe a view whose tables are missing
    if version < CERTIFIED:
        expected = {table: names - {"certificate"} for table, names in expected.items()}
    for table, names in expected.items():
        rows = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
        missing = names - {name for (name,) in rows}
        if missing:
            listed = ", ".join(sorted(missing))
            raise DamagedFileError(f"is not a whole day file: its table {table} lacks {listed}")
