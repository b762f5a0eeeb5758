"""Layout: the tables that a day file has its records in, by the version of its schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final, NamedTuple

from fastlog.record import PROCESS, SITE
from fastlog.search.clauses import Clause, all_of
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


def condition(layout: Layout, clauses: Iterable[Clause]) -> Clause:
    """Return the conditions on a row as one.

    Few rows of the small tables meet those on recurring values. Their ids are found first.
    """
    rest, parts = list(clauses), []
    for each in RECURRING if layout.is_split else ():
        if own := [clause for clause in rest if clause.column in each.columns]:
            rest = [clause for clause in rest if clause not in own]
            wanted = all_of(own)
            ids = f"SELECT id FROM {each.table} WHERE {wanted.sql}"  # noqa: S608 our own text
            parts.append(Clause(f"{each.key} IN ({ids})", wanted.parameters))
    return all_of([*parts, *rest])
