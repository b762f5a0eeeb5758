"""Groups: how many records a day file has of each level, logger, host and hour.

The counts of a file know the entries that chunks cover, minute by minute: by call site and by
process, but not by both at once. What they cannot answer is counted from rows; rows with a text are
found as `DaySearch` finds them.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

from fastlog.query import Filters
from fastlog.search.bulk import bulk_expressions
from fastlog.search.clauses import Clause, all_of, clauses
from fastlog.search.day_search import DaySearch
from fastlog.search.layout import Layout, condition, read_layout
from fastlog.search.minutes import read_minutes
from fastlog.search.stream import found
from fastlog.sinks.day_chunks import MINUTE, MinuteBounds
from fastlog.sinks.day_schema import COUNTED_PROCESS, COUNTED_SITE

_HOUR: Final = 3600
_LEVEL: Final = "coalesce(levelname, CAST(levelno AS TEXT), '?')"
_LOGGER: Final = "coalesce(name, '?')"
_HOST: Final = "coalesce(host, '?')"


class Group(NamedTuple):
    """Some records of a level, of a logger, of a host and of an hour.

    A value is None where the group leaves it open; other groups then tell it of the same records.
    """

    level: str | None
    logger: str | None
    host: str | None
    hour: int | None
    """The first second of the hour, since the epoch."""
    records: int


class _Parts(NamedTuple):
    """Filters that counts can answer, by the table that they are about."""

    site: Filters
    process: Filters


def read_groups(connection: sqlite3.Connection, filters: Filters) -> Iterator[Group]:
    """Return groups of all records of a day file that match.

    Args:
        connection: To a file of a known version, with no transaction open.
    """
    connection.execute("BEGIN")  # counts and rows are of one state of the file
    layout = read_layout(connection)
    if layout.is_split and bulk_expressions(filters):
        return _from_search(connection, layout, filters)
    if layout.is_split and (parts := _parts(filters)) and _are_answerable(connection, parts):
        minutes = _inside(read_minutes(connection), filters)
        return chain(
            _from_counts(connection, parts, minutes),
            _not_counted(connection, layout, filters, minutes),
        )
    return _from_rows(connection, layout, filters)


def _parts(filters: Filters) -> _Parts | None:
    """Return the filters by table; None if one of them is about what the counts do not know."""
    site, process = (
        tuple(condition for condition in filters.where if condition.field in columns)
        for columns in (COUNTED_SITE, COUNTED_PROCESS)
    )
    if filters.grep or filters.regex or len(site) + len(process) < len(filters.where):
        return None
    return _Parts(
        Filters(level=filters.level, logger=filters.logger, where=site),
        Filters(host=filters.host, where=process),
    )


def _are_answerable(connection: sqlite3.Connection, parts: _Parts) -> bool:
    """Return whether the counts tell level, logger, host and hour of all records that match.

    If only some match, the counts do not tell which hosts these are from, unless there is only one.
    """
    return parts == (Filters(), Filters()) or len(_hosts(connection, Filters())) == 1


def _hosts(connection: sqlite3.Connection, filters: Filters) -> list[str]:
    """Return the counted hosts that match."""
    wanted = all_of(clauses(filters))
    hosts = connection.execute(
        f"SELECT DISTINCT {_HOST} FROM processes"  # noqa: S608 our own text
        f" WHERE id IN (SELECT process_id FROM process_counts) AND {wanted.sql}",
        wanted.parameters,
    )
    return [host for (host,) in hosts]


def _inside(minutes: MinuteBounds, filters: Filters) -> MinuteBounds:
    """Return those of the minutes that are wholly inside the span; there may be none."""
    first, end = minutes
    if filters.since is not None and filters.since > first * MINUTE:
        first = math.ceil(min(filters.since / MINUTE, end))
    if filters.until is not None and filters.until < end * MINUTE:
        end = math.floor(max(filters.until / MINUTE, first))
    return MinuteBounds(first, max(first, end))


def _from_counts(
    connection: sqlite3.Connection, parts: _Parts, minutes: MinuteBounds
) -> Iterator[Group]:
    """Yield the groups of the covered entries of these minutes."""
    host = None
    if parts != (Filters(), Filters()):
        hosts = _hosts(connection, parts.process)
        if not hosts:
            return
        [host] = hosts
    wanted = all_of(clauses(parts.site))
    rows = connection.execute(
        f"SELECT {_LEVEL}, {_LOGGER}, ?, hour, number FROM"  # noqa: S608 our own text
        f" (SELECT site_id, minute * {MINUTE} / {_HOUR} * {_HOUR} AS hour, sum(records) AS number"
        " FROM site_counts WHERE minute >= ? AND minute < ? GROUP BY 1, 2)"
        f" LEFT JOIN sites ON sites.id = site_id WHERE {wanted.sql} ORDER BY number DESC",
        (host, *minutes, *wanted.parameters),
    )
    yield from map(Group._make, rows)
    if host is None:
        rows = connection.execute(
            f"SELECT NULL, NULL, {_HOST}, NULL, sum(records) AS number"  # noqa: S608 our own text
            " FROM process_counts LEFT JOIN processes ON processes.id = process_id"
            " WHERE minute >= ? AND minute < ? GROUP BY 3 ORDER BY number DESC",
            minutes,
        )
        yield from map(Group._make, rows)


def _not_counted(
    connection: sqlite3.Connection, layout: Layout, filters: Filters, minutes: MinuteBounds
) -> Iterator[Group]:
    """Yield the groups of the entries that chunks do not cover, and of those of other times."""
    [(covered,)] = connection.execute("SELECT ifnull(max(last_id), 0) FROM chunks")
    yield from _from_rows(connection, layout, filters, Clause("entries.id > ?", (covered,)))
    for operator, minute in (("<", minutes.first), (">=", minutes.end)):
        # "+" keeps the id out of the query plan.
        outside = Clause(f"created {operator} ? AND +entries.id <= ?", (minute * MINUTE, covered))
        yield from _from_rows(connection, layout, filters, outside)


def _from_search(
    connection: sqlite3.Connection, layout: Layout, filters: Filters
) -> Iterator[Group]:
    """Yield each record that a search of the chunks finds."""
    [(last_id,)] = connection.execute(f"SELECT max({layout.id}) FROM {layout.table}")  # noqa: S608 our own text
    for row in DaySearch(connection, layout, filters, last_id, newest_first=False).rows():
        record = found(row).record
        level = record.levelname
        if level is None:
            level = "?" if record.levelno is None else str(record.levelno)
        logger = "?" if record.name is None else record.name
        yield Group(level, logger, record.host, int(record.created) // _HOUR * _HOUR, 1)


def _from_rows(
    connection: sqlite3.Connection, layout: Layout, filters: Filters, *more: Clause
) -> Iterator[Group]:
    """Yield the groups of the rows that match, the largest first.

    Args:
        more: Further conditions.
    """
    span = (("created >= ?", filters.since), ("created < ?", filters.until))
    bounds = (Clause(sql, (time,)) for sql, time in span if time is not None)
    wanted = all_of([*bounds, condition(layout, clauses(filters)), *more])
    rows = connection.execute(
        # CAST rounds towards zero, which is down for all times since 1970.
        f"SELECT {_LEVEL}, {_LOGGER}, {_HOST}, CAST(created AS INTEGER) / {_HOUR} * {_HOUR},"  # noqa: S608 our own text
        f" count(*) FROM {layout.source} WHERE {wanted.sql} GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC",
        wanted.parameters,
    )
    yield from map(Group._make, rows)
