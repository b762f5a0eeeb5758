"""Layout: the tables that a day file has its records in, by the version of its schema."""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from fastlog.record import PROCESS, SITE
from fastlog.sinks.day_schema import COUNTED_PROCESS, COUNTED_SITE, JOIN, SPLIT, read_version


class Layout(NamedTuple):
    """How the statements of a search name things."""

    table: str
    """The table with a row for each record."""
    id: str
    """Its key, which rises in order of arrival."""
    source: str
    """What follows FROM, where all columns are needed."""
    is_split: bool
    """Whether recurring values have tables of their own, and chunks and counts may exist."""


_FLAT: Final = Layout("records", "rowid", "records", is_split=False)
_SPLIT: Final = Layout("entries", "entries.id", JOIN, is_split=True)


class Recurring(NamedTuple):
    """A table of recurring values."""

    table: str
    columns: tuple[str, ...]
    key: str
    """The column of `entries`, and of the counts, that holds its ids."""
    counts: str
    """The table of counts by minute."""
    counted: tuple[str, ...]
    """Those of its columns by which entries are counted."""


RECURRING: Final = (
    Recurring("sites", SITE, "site_id", "site_counts", COUNTED_SITE),
    Recurring("processes", PROCESS, "process_id", "process_counts", COUNTED_PROCESS),
)


def read_layout(connection: sqlite3.Connection) -> Layout:
    """Return the layout of an open day file."""
    return _SPLIT if (read_version(connection) or 0) >= SPLIT else _FLAT


def add_certificate(connection: sqlite3.Connection, version: int) -> None:
    """Let the statements of a search read a file that has no column `certificate`: it is NULL.

    The tables that would have it are covered by views, which exist in this connection only.
    """
    table = "processes" if version >= SPLIT else "records"
    key = "" if version >= SPLIT else "rowid AS rowid, "
    connection.execute(
        f"CREATE TEMP VIEW {table} AS SELECT {key}*, NULL AS certificate FROM main.{table}"  # noqa: S608 our own text
    )
