"""Records in order of `created` over all day files, as a stream.

A file is opened when the stream reaches its first record, and closed behind its last. Files whose
spans overlap (a client's clock was wrong, a day continues in a second file) are merged.
"""

from __future__ import annotations

import heapq
import math
import operator
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from fastlog.errors import DamagedFileError
from fastlog.query import COLUMNS, Filters
from fastlog.record import Record
from fastlog.search.clauses import clauses
from fastlog.search.day_reader import Day, Unread, open_day, read_days, unless_gone

COLUMN_LIST = ", ".join(f"[{column}]" for column in COLUMNS)
"""`COLUMNS` for a SELECT."""
_TEXT: set[type] = {str, type(None)}
_NUMBER: set[type] = {int, type(None)}
_TYPES_BY_COLUMN: dict[str, set[type]] = {
    "created": {float},
    "received": {float},
    "offset": {int},
    "idx": {int},
    "extra": {str},
    "levelno": _NUMBER,
    "lineno": _NUMBER,
    "process": _NUMBER,
    "thread": _NUMBER,
}
_TYPES: list[set[type]] = [_TYPES_BY_COLUMN.get(column, _TEXT) for column in COLUMNS]
"""The types that the values of `COLUMNS` may have: other types show damage that SQLite does not
notice."""
_CREATED = operator.itemgetter(0)

Row = tuple[Any, ...]
"""The values of `COLUMNS`."""


class Found(NamedTuple):
    """A record, and the id of the journal that it came from."""

    record: Record
    node: str


def search(
    logs: Path, filters: Filters, *, newest_first: bool = False, unread: Unread | None = None
) -> Iterator[Found]:
    """Yield the records that match, by `created`; of equal ones, those of the earlier file first.

    Records that arrive after the call are not included.

    Args:
        newest_first: yield exactly the reverse.
        unread: gets the files that cannot be read; the records of the others are yielded.

    Raises:
        FastlogError: A file cannot be read, and there is no `unread`.
    """
    days = read_days(logs, filters.since, filters.until, unread)
    return map(found, merge_days(days, filters, newest_first=newest_first, unread=unread))


def merge_days(
    days: list[Day], filters: Filters, *, newest_first: bool, unread: Unread | None = None
) -> Iterator[Row]:
    """Yield the matching rows of files that are given in the order of their days."""
    groups = _groups(days)
    if newest_first:
        groups = [group[::-1] for group in reversed(groups)]
    return chain.from_iterable(
        # Equal rows come in the order of the files, which is that of arrival.
        heapq.merge(
            *(_rows(day, filters, newest_first, unread) for day in group),
            key=_CREATED,
            reverse=newest_first,
        )
        for group in groups
    )


def found(row: Row) -> Found:
    """Return a row as a record."""
    return Found(Record(*row[:-1]), row[-1])


def where(filters: Filters, day: Day) -> tuple[str, tuple[object, ...]]:
    """Return the WHERE of a search in one file, and its parameters.

    It always contains the bounds of the file: they exclude rows that arrived since the bounds were
    read, which would break the order of the stream, and they make SQLite walk the index instead of
    sorting.
    """
    since = day.first if filters.since is None else max(filters.since, day.first)
    sql = ["created >= ?", "created <= ?", "+rowid <= ?"]  # "+" keeps rowid out of the query plan
    parameters: list[object] = [since, day.last, day.rowid]
    if filters.until is not None:
        sql.append("created < ?")
        parameters.append(filters.until)
    for clause in clauses(filters):
        sql.append(clause.sql)
        parameters += clause.parameters
    return " AND ".join(sql), tuple(parameters)


def select(filters: Filters, day: Day, *, newest_first: bool) -> tuple[str, tuple[object, ...]]:
    """Return the statement that selects the rows of one file in order, and its parameters."""
    condition, parameters = where(filters, day)
    order = "created DESC, rowid DESC" if newest_first else "created, rowid"
    sql = f"SELECT {COLUMN_LIST} FROM records WHERE {condition} ORDER BY {order}"  # noqa: S608 our own text
    return sql, parameters


def checked(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows, and check that their types are those that a sink writes.

    Raises:
        DamagedFileError: A value has a type that its column never has.
    """
    valid: set[Row] = set()
    for row in rows:
        types = tuple(map(type, row))
        if types not in valid:
            for column, kind, allowed in zip(COLUMNS, types, _TYPES, strict=True):
                if kind not in allowed:
                    raise DamagedFileError(
                        f"is damaged: {column} of a record is of type {kind.__name__}"
                    )
            valid.add(types)
        yield row


def _rows(day: Day, filters: Filters, newest_first: bool, unread: Unread | None) -> Iterator[Row]:
    statement = select(filters, day, newest_first=newest_first)
    with unless_gone(day.path, unread), closing(open_day(day.path)) as connection:
        yield from checked(connection.execute(*statement))


def _groups(days: list[Day]) -> list[list[Day]]:
    """Return the files in groups, in order: those of one group overlap and must be merged."""
    groups: list[list[Day]] = []
    end = -math.inf
    arrival = {day.path: position for position, day in enumerate(days)}
    for day in sorted(days, key=lambda day: day.first):
        if groups and day.first <= end:
            groups[-1].append(day)
        else:
            groups.append([day])
        end = max(end, day.last)
    return [sorted(group, key=lambda day: arrival[day.path]) for group in groups]
