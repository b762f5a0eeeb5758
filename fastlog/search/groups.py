"""Groups: how many records of a day file fall into each group of some groupings.

The counts of a file know the entries that chunks cover, minute by minute: by level and logger, and
by host, but not by both at once. What they cannot answer is counted from rows.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from itertools import chain
from typing import Any, Final, NamedTuple

from fastlog.query import COLUMNS, Node, both, compile_query
from fastlog.query.fields import TEXTS
from fastlog.query.tree import columns_of, conjuncts
from fastlog.search.day_search import DaySearch
from fastlog.search.grouping import Group, Grouping
from fastlog.search.layout import RECURRING, Layout, Recurring, read_layout
from fastlog.search.minutes import read_minutes
from fastlog.search.narrowing import Clause, Narrowing, all_of, read_recurring
from fastlog.search.progress import Progress
from fastlog.search.spans import EVER, span_of, without_times
from fastlog.sinks.day_chunks import MINUTE, MinuteBounds

_SITES, _PROCESSES = RECURRING
_ENTRIES: Final = 1 << 18
"""Entries that are counted by one statement, where all of a file are counted."""


class Count(NamedTuple):
    """A number of records of one group."""

    grouping: int
    """Which of the groupings."""
    group: Group
    records: int


def count_groups(
    connection: sqlite3.Connection,
    query: Node,
    groupings: Sequence[Grouping],
    progress: Progress,
) -> Iterator[Count]:
    """Count the records of a day file that match. A group may be yielded several times.

    Args:
        connection: To a file of a known version, with no transaction open.
    """
    connection.execute("BEGIN")  # counts and rows are of one state of the file
    layout = read_layout(connection)
    rows = _Rows(connection, layout, query, groupings, progress)
    counts = _Counts(connection, query, groupings)
    if not layout.is_split or not counts.can_answer():
        return rows.count()
    return chain(counts.count(), *(rows.count_where(clause) for clause in counts.not_counted()))


class _Counts:
    """What the counts of a file answer."""

    def __init__(
        self, connection: sqlite3.Connection, query: Node, groupings: Sequence[Grouping]
    ) -> None:
        self._connection, self._groupings = connection, groupings
        self._span = span_of(query)
        self._parts = conjuncts(without_times(query))

    def can_answer(self) -> bool:
        """Return whether the counts tell all groups of the records that match.

        For a question about a level or logger, and about a host, there must be a single host.
        """
        if not all(self._table_of(columns_of(part)) for part in self._parts):
            return False
        return all(
            (grouping.interval or MINUTE) % MINUTE == 0
            and all(self._table_of({name}) for name in grouping.columns)
            and (self._host is not None or len(self._tables(grouping)) < 2)
            for grouping in self._groupings
        )

    def count(self) -> Iterator[Count]:
        """Yield the counts of the covered entries of the whole minutes of the span."""
        for each in RECURRING:
            own = [
                (number, grouping)
                for number, grouping in enumerate(self._groupings)
                if self._table_for(grouping) is each
            ]
            if own:
                yield from self._count_table(each, own)

    def not_counted(self) -> Iterator[Clause]:
        """Yield conditions on entries: those not covered, and those of other times."""
        [(covered,)] = self._connection.execute("SELECT ifnull(max(last_id), 0) FROM chunks")
        yield Clause("entries.id > ?", (covered,))
        for operator, minute in (("<", self._minutes.first), (">=", self._minutes.end)):
            # "+" keeps the id out of the query plan.
            yield Clause(f"created {operator} ? AND +entries.id <= ?", (minute * MINUTE, covered))

    @cached_property
    def _minutes(self) -> MinuteBounds:
        """The minutes that are wholly inside the span; there may be none."""
        (first, end), (since, until) = read_minutes(self._connection), self._span
        if since > first * MINUTE:
            first = math.ceil(min(since / MINUTE, end))
        if until < end * MINUTE:
            end = math.floor(max(until / MINUTE, first))
        return MinuteBounds(first, max(first, end))

    @cached_property
    def _host(self) -> str | None:
        """The host of all counted entries; None if there are several."""
        hosts = self._connection.execute(
            "SELECT DISTINCT host FROM processes"
            " WHERE id IN (SELECT DISTINCT process_id FROM process_counts)"
        ).fetchall()
        return hosts[0][0] if len(hosts) == 1 else None

    @staticmethod
    def _table_of(columns: set[str]) -> Recurring | None:
        """Return the table whose counts know these columns."""
        return next((each for each in RECURRING if columns and columns <= {*each.counted}), None)

    def _tables(self, grouping: Grouping) -> set[str]:
        """Return the tables that a question is about."""
        about = [columns_of(part) for part in self._parts]
        about += [{name} for name in grouping.columns]
        return {each.table for columns in about if (each := self._table_of(columns))}

    def _table_for(self, grouping: Grouping) -> Recurring:
        """Return the table whose counts answer a question."""
        return _PROCESSES if self._tables(grouping) == {_PROCESSES.table} else _SITES

    def _count_table(
        self, each: Recurring, groupings: list[tuple[int, Grouping]]
    ) -> Iterator[Count]:
        columns = (*each.columns, "host") if each is _SITES else each.columns
        step = _common_step(grouping for _, grouping in groupings)
        is_wanted = compile_query(both(*self._parts), columns)
        rows = read_recurring(self._connection, each)
        if each is _SITES:
            rows = {key: (*row, self._host) for key, row in rows.items()}
        wanted = {key: row for key, row in rows.items() if is_wanted(row)}
        groupers = [(number, grouping.grouper(columns)) for number, grouping in groupings]
        for key, begin, records in self._connection.execute(
            f"SELECT {each.key}, {_step_sql(f'minute * {MINUTE}', step)}, sum(records)"  # noqa: S608 our own text
            f" FROM {each.counts} WHERE minute >= ? AND minute < ? GROUP BY 1, 2 ORDER BY 3 DESC",
            self._minutes,
        ):
            if (row := wanted.get(key)) is not None:
                for number, group in groupers:
                    yield Count(number, group(row, begin), records)


class _Rows:
    """Counting of rows."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        layout: Layout,
        query: Node,
        groupings: Sequence[Grouping],
        progress: Progress,
    ) -> None:
        self._connection, self._layout, self._query = connection, layout, query
        self._groupings, self._progress = groupings, progress
        self._narrowing = Narrowing(connection, layout, query)

    def count(self) -> Iterator[Count]:
        """Count all rows that match."""
        [(last_id,)] = self._connection.execute(
            f"SELECT ifnull(max({self._layout.id}), 0) FROM {self._layout.table}"  # noqa: S608 our own text
        )
        needed = {name for grouping in self._groupings for name in grouping.columns}
        if not self._narrowing.is_exact or needed & {*TEXTS}:
            yield from self._count_matches(last_id)
        elif span_of(self._query) != EVER:
            yield from self.count_where(Clause("true"))
            self._progress.read += last_id
        else:
            for first in range(0, last_id, _ENTRIES):
                end = min(first + _ENTRIES, last_id)
                each = self._layout.id
                yield from self.count_where(Clause(f"{each} > ? AND {each} <= ?", (first, end)))
                self._progress.read += end - first

    def count_where(self, condition: Clause) -> Iterator[Count]:
        """Count the rows that match and meet a condition; the largest groups first.

        SQLite adds up the rows of each call site and process.
        """
        keys, columns = self._keys()
        step = _common_step(self._groupings)
        # CAST rounds towards zero, which is down for all times since 1970.
        keys = [*keys, _step_sql("CAST(created AS INTEGER)", step)]
        where = all_of([condition, self._narrowing.condition])
        rows = self._connection.execute(
            f"SELECT {', '.join(keys)}, count(*) AS records FROM {self._layout.source}"  # noqa: S608 our own text
            f" WHERE {where.sql} GROUP BY {', '.join(map(str, range(1, len(keys) + 1)))}"
            " ORDER BY records DESC",
            where.parameters,
        )
        groupers = [grouping.grouper(columns) for grouping in self._groupings]
        for *found, begin, records in rows:
            row = self._resolved(found)
            for number, group in enumerate(groupers):
                yield Count(number, group(row, begin), records)

    def _keys(self) -> tuple[list[str], list[str]]:
        """Return the expressions to group by, and the columns of a row that `_resolved` makes."""
        needed = {name for grouping in self._groupings for name in grouping.columns}
        keys: list[str] = []
        columns: list[str] = []
        for each in self._needed_tables:
            keys.append(each.key)
            columns += each.columns
            needed -= {*each.columns}
        direct = sorted(needed)
        return [*keys, *(f"[{name}]" for name in direct)], [*columns, *direct]

    @cached_property
    def _needed_tables(self) -> list[Recurring]:
        needed = {name for grouping in self._groupings for name in grouping.columns}
        tables = RECURRING if self._layout.is_split else ()
        return [each for each in tables if needed & {*each.columns}]

    @cached_property
    def _recurring(self) -> list[tuple[dict[int, tuple[Any, ...]], tuple[None, ...]]]:
        """The rows of each needed table, and what stands for a row that is not there."""
        return [
            (read_recurring(self._connection, each), (None,) * len(each.columns))
            for each in self._needed_tables
        ]

    def _resolved(self, found: list[Any]) -> list[Any]:
        """Return what was found with the values of recurring rows in place of their ids."""
        row: list[Any] = []
        for (rows, nothing), key in zip(self._recurring, found, strict=False):
            row += rows.get(key, nothing)
        return row + found[len(self._recurring) :]

    def _count_matches(self, last_id: int) -> Iterator[Count]:
        """Count each row that a search finds."""
        if not last_id:
            return
        search = DaySearch(
            self._connection, self._query, last_id, self._progress, newest_first=True
        )
        groupers = [grouping.grouper(COLUMNS) for grouping in self._groupings]
        step = _common_step(self._groupings)
        with closing(search.matches()) as rows:
            for row in rows:
                begin = None if step is None else int(row[0]) // step * step
                for number, group in enumerate(groupers):
                    yield Count(number, group(row, begin), 1)


def _common_step(groupings: Iterable[Grouping]) -> int | None:
    """Return the seconds of which the bars of all groupings are sums; None if there are no bars."""
    steps = [step for grouping in groupings if (step := grouping.step) is not None]
    return math.gcd(*steps) if steps else None


def _step_sql(second: str, step: int | None) -> str:
    return "NULL" if step is None else f"{second} / {step} * {step}"
