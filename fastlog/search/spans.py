"""Spans: the times at which a day file can have matching records, by its counts.

A file counts its entries by minute: those of each level and logger, and those of each host. Minutes
without any entry of the wanted ones need not be read.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from fastlog.query import Node, both
from fastlog.query.tree import Compares, conjuncts
from fastlog.search.layout import RECURRING, Recurring
from fastlog.search.minutes import read_minutes
from fastlog.search.narrowing import Narrowing, ids_clause
from fastlog.search.pieces import read_covered
from fastlog.sinks.clauses import all_of
from fastlog.sinks.day_chunks import MINUTE, OTHER_MINUTES, MinuteBounds


class Span(NamedTuple):
    """A span of `created`: `since` ≤ `created` < `until`."""

    since: float
    until: float

    @classmethod
    def up_to(cls, last: float) -> Span:
        """Return the span of all that is not later than `last`."""
        return cls(-math.inf, math.nextafter(last, math.inf))

    def overlap(self, other: Span) -> Span:
        """Return what both have; nothing if `since` of the result is not less than `until`."""
        return Span(max(self.since, other.since), min(self.until, other.until))

    def reaches(self, first: float, last: float) -> bool:
        """Return whether a time from `first` to `last`, both included, is in the span."""
        return self.since <= last and first < self.until


EVER: Final = Span(-math.inf, math.inf)
NEVER: Final = Span(math.inf, -math.inf)


def span_of(query: Node) -> Span:
    """Return the span of `created` outside which nothing matches, as far as the query states it."""
    span = EVER
    for part in conjuncts(query):
        if isinstance(part, Compares) and part.field.name == "created":
            span = span.overlap(_of_comparison(part))
    return span


def without_times(query: Node) -> Node:
    """Return what `span_of` does not say of a query."""
    parts = (
        part
        for part in conjuncts(query)
        if not (isinstance(part, Compares) and part.field.name == "created")
    )
    return both(*parts)


def _of_comparison(leaf: Compares) -> Span:
    time = float(leaf.value)
    if leaf.operator in (">", ">="):
        return Span(time if leaf.operator == ">=" else math.nextafter(time, math.inf), math.inf)
    return Span(-math.inf, time) if leaf.operator == "<" else Span.up_to(time)


def possible_spans(
    connection: sqlite3.Connection, narrowing: Narrowing, wanted: Span, last_id: int
) -> list[Span]:
    """Return spans outside which no record matches, in order of time. They do not overlap.

    Args:
        connection: In a transaction, so that all that is read is of one state of the file.
        wanted: The span that the query states.
        last_id: The last record that is searched.
    """
    tables = [(each, rows) for each in RECURRING if (rows := narrowing.wanted(each)) is not None]
    covered = read_covered(connection, last_id) if tables else None
    if covered is None:
        return [wanted]
    bounds = read_minutes(connection)
    minutes = set.intersection(*(_counted(connection, narrowing, *table) for table in tables))
    own = all_of(ids_clause(each, rows) for each, rows in tables)
    uncovered = connection.execute(
        f"SELECT created FROM entries WHERE id > ? AND id <= ? AND {own.sql}",  # noqa: S608 our own text
        (covered, last_id, *own.parameters),
    )
    minutes |= {bounds.minute(created) for (created,) in uncovered}
    overlaps = (span.overlap(wanted) for span in _spans(minutes, bounds))
    return [span for span in overlaps if span.since < span.until]


def _counted(
    connection: sqlite3.Connection,
    narrowing: Narrowing,
    each: Recurring,
    wanted: dict[int, tuple[Any, ...]],
) -> set[int]:
    """Return the minutes that have entries with the counted values of a wanted row."""
    values = itemgetter(*(each.columns.index(name) for name in each.counted))
    counted = {values(row) for row in wanted.values()}
    ids = ids_clause(
        each, (key for key, row in narrowing.rows(each).items() if values(row) in counted)
    )
    minutes = connection.execute(
        f"SELECT DISTINCT minute FROM {each.counts} WHERE {ids.sql}",  # noqa: S608 our own text
        ids.parameters,
    )
    return {minute for (minute,) in minutes}


def _spans(minutes: set[int], bounds: MinuteBounds) -> Iterator[Span]:
    """Yield the spans of these minutes in order of time. Adjacent minutes are one span."""
    if OTHER_MINUTES in minutes:
        yield Span(-math.inf, float(bounds.first * MINUTE))
    numbered = enumerate(sorted(minutes - {OTHER_MINUTES}))
    for _, run in groupby(numbered, lambda pair: pair[1] - pair[0]):
        adjacent = [minute for _, minute in run]
        yield Span(float(adjacent[0] * MINUTE), float((adjacent[-1] + 1) * MINUTE))
    if OTHER_MINUTES in minutes:
        yield Span(float(bounds.end * MINUTE), math.inf)
