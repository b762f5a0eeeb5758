"""Spans: the times at which a day file can have matching records, by its counts.

A file counts its entries by minute: those of each level and logger, and those of each host. Minutes
without any entry of the wanted ones need not be read.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from fastlog.query import Filters
from fastlog.search.clauses import Clause, all_of, clauses
from fastlog.search.layout import RECURRING, Layout, Recurring, condition
from fastlog.search.minutes import read_minutes
from fastlog.search.pieces import read_covered
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


def span_of(filters: Filters) -> Span:
    """Return the span that the filters ask for."""
    since = -math.inf if filters.since is None else filters.since
    return Span(since, math.inf if filters.until is None else filters.until)


def possible_spans(
    connection: sqlite3.Connection, layout: Layout, filters: Filters, last_id: int
) -> list[Span]:
    """Return spans outside which no record matches, in order of time. They do not overlap.

    Args:
        connection: In a transaction, so that all that is read is of one state of the file.
        last_id: The last record that is searched.
    """
    wanted = span_of(filters)
    parts = _by_table(filters) if layout.is_split else []
    covered = read_covered(connection, last_id) if parts else None
    if covered is None:
        return [wanted]
    bounds = read_minutes(connection)
    minutes = set.intersection(*(_counted(connection, *part) for part in parts))
    own = condition(layout, [clause for _, some in parts for clause in some])
    rows = connection.execute(
        f"SELECT created FROM entries WHERE id > ? AND id <= ? AND {own.sql}",  # noqa: S608 our own text
        (covered, last_id, *own.parameters),
    )
    minutes |= {bounds.minute(created) for (created,) in rows}
    overlaps = (span.overlap(wanted) for span in _spans(minutes, bounds))
    return [span for span in overlaps if span.since < span.until]


def _by_table(filters: Filters) -> list[tuple[Recurring, list[Clause]]]:
    """Return the tables of recurring values that some filters are about, with these."""
    found = (
        (each, [clause for clause in clauses(filters) if clause.column in each.columns])
        for each in RECURRING
    )
    return [(each, own) for each, own in found if own]


def _counted(connection: sqlite3.Connection, each: Recurring, own: list[Clause]) -> set[int]:
    """Return the minutes that have entries with the counted values of a wanted row."""
    wanted, names = all_of(own), ", ".join(each.counted)
    equal = " AND ".join(f"{each.table}.{name} IS wanted.{name}" for name in each.counted)
    rows = connection.execute(
        f"SELECT DISTINCT minute FROM {each.counts} WHERE {each.key} IN (SELECT {each.table}.id"  # noqa: S608 our own text
        f" FROM (SELECT DISTINCT {names} FROM {each.table} WHERE {wanted.sql}) AS wanted"
        f" JOIN {each.table} ON {equal})",
        wanted.parameters,
    )
    return {minute for (minute,) in rows}


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
