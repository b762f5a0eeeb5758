"""Groups: how many records a day file has of each level, logger, host and hour.

The counts of a file know the entries that chunks cover, minute by minute: by call site and by
process, but not by both at once. What they cannot answer is counted from rows.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from fastlog.query import Filters
from fastlog.search.clauses import Clause, clauses
from fastlog.sinks.day_chunks import MINUTE
from fastlog.sinks.day_schema import COUNTED_PROCESS, COUNTED_SITE, JOIN, SPLIT, read_version

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
    """Yield groups of all records of a day file that match.

    Args:
        connection: To a file of a known version, with no transaction open.
    """
    connection.execute("BEGIN")  # counts and rows are of one state of the file
    if (read_version(connection) or 0) < SPLIT:
        yield from _from_rows(connection, "records", filters)
        return
    parts = _parts(filters)
    if parts is None or not _are_answerable(connection, parts):
        yield from _from_rows(connection, JOIN, filters)
        return
    [(covered,)] = connection.execute("SELECT ifnull(max(last_id), 0) FROM chunks")
    first, end = _whole_minutes(connection, filters)
    yield from _from_counts(connection, parts, first, end)
    yield from _from_rows(connection, JOIN, filters, Clause("entries.id > ?", (covered,)))
    for time, operator in ((first * MINUTE, "<"), (end * MINUTE, ">=")):
        # "+" keeps the id out of the query plan.
        outside = Clause(f"created {operator} ? AND +entries.id <= ?", (time, covered))
        yield from _from_rows(connection, JOIN, filters, outside)


def _parts(filters: Filters) -> _Parts | None:
    """Return the filters by table; None if one of them is about what counts do not know."""
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
    condition, parameters = _all_of(clauses(filters))
    hosts = connection.execute(
        f"SELECT DISTINCT {_HOST} FROM processes"  # noqa: S608 our own text
        f" WHERE id IN (SELECT process_id FROM process_counts) AND {condition}",
        parameters,
    )
    return [host for (host,) in hosts]


def _whole_minutes(connection: sqlite3.Connection, filters: Filters) -> tuple[int, int]:
    """Return the first minute that is counted by itself and wholly inside the span, and their end.

    Both are the same where there is no such minute.
    """
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    first, end = meta["first_minute"], meta["end_minute"]
    if filters.since is not None and filters.since > first * MINUTE:
        first = math.ceil(min(filters.since / MINUTE, end))
    if filters.until is not None and filters.until < end * MINUTE:
        end = math.floor(max(filters.until / MINUTE, first))
    return first, max(first, end)


def _from_counts(
    connection: sqlite3.Connection, parts: _Parts, first: int, end: int
) -> Iterator[Group]:
    """Yield the groups of covered entries of the minutes from `first` to `end`."""
    host = None
    if parts != (Filters(), Filters()):
        hosts = _hosts(connection, parts.process)
        if not hosts:
            return
        [host] = hosts
    condition, parameters = _all_of(clauses(parts.site))
    rows = connection.execute(
        f"SELECT {_LEVEL}, {_LOGGER}, ?, hour, number FROM"  # noqa: S608 our own text
        f" (SELECT site_id, minute * {MINUTE} / {_HOUR} * {_HOUR} AS hour, sum(records) AS number"
        " FROM site_counts WHERE minute >= ? AND minute < ? GROUP BY 1, 2)"
        f" LEFT JOIN sites ON sites.id = site_id WHERE {condition} ORDER BY number DESC",
        (host, first, end, *parameters),
    )
    yield from map(Group._make, rows)
    if host is None:
        rows = connection.execute(
            f"SELECT NULL, NULL, {_HOST}, NULL, sum(records) AS number"  # noqa: S608 our own text
            " FROM process_counts LEFT JOIN processes ON processes.id = process_id"
            " WHERE minute >= ? AND minute < ? GROUP BY 3 ORDER BY number DESC",
            (first, end),
        )
        yield from map(Group._make, rows)


def _from_rows(
    connection: sqlite3.Connection, source: str, filters: Filters, *more: Clause
) -> Iterator[Group]:
    """Yield the groups of the rows that match, the largest first.

    Args:
        source: The tables.
        more: Further conditions.
    """
    span = (("created >= ?", filters.since), ("created < ?", filters.until))
    bounds = (Clause(sql, (time,)) for sql, time in span if time is not None)
    condition, parameters = _all_of([*bounds, *clauses(filters), *more])
    rows = connection.execute(
        # CAST rounds towards zero, which is down for all times since 1970.
        f"SELECT {_LEVEL}, {_LOGGER}, {_HOST}, CAST(created AS INTEGER) / {_HOUR} * {_HOUR},"  # noqa: S608 our own text
        f" count(*) FROM {source} WHERE {condition} GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC",
        parameters,
    )
    yield from map(Group._make, rows)


def _all_of(some: Iterable[Clause]) -> tuple[str, tuple[object, ...]]:
    """Return one condition of all clauses, and its parameters."""
    parts = list(some)
    parameters = tuple(value for part in parts for value in part.parameters)
    return " AND ".join(part.sql for part in parts) or "true", parameters
