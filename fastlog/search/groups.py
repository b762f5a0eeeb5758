"""Groups: how many records of a day file fall into each group of some groupings.

The counts of a file know the entries that chunks cover, minute by minute: by level and logger, and
by host, but not by both at once. What they cannot answer is counted from rows.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from itertools import chain
from typing import Any, Final, NamedTuple

from fastlog.query import Node, both, compile_query
from fastlog.query.fields import TEXTS
from fastlog.query.tree import columns_of, conjuncts
from fastlog.search.day_search import DaySearch
from fastlog.search.grouping import Group, Grouping
from fastlog.search.layout import RECURRING, Layout, Recurring, read_layout
from fastlog.search.minutes import read_minutes
from fastlog.search.narrowing import Narrowing, read_recurring
from fastlog.search.progress import Progress
from fastlog.search.spans import EVER, span_of, without_times
from fastlog.sinks.clauses import Clause, all_of
from fastlog.sinks.day_chunks import MINUTE, MinuteBounds
from fastlog.sinks.day_schema import BLOCK

_SITES, _PROCESSES = RECURRING
_ENTRIES: Final = 1 << 18
"""Entries that are counted by one statement, where all of a file are counted."""
_ROWS: Final = 10_000
"""Rows that are read at once."""


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
        # So few that their ids find them sooner than their times do.
        yield Clause("likelihood(entries.id > ?, 0.001)", (covered,))
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
        step = common_step(grouping for _, grouping in groupings)
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
        """Count the rows that match and meet a condition.

        Columns of ids are counted, which is faster than GROUP BY where groups are small.
        """
        where = all_of([condition, self._narrowing.condition])
        # CAST rounds towards zero, which is down for all times since 1970.
        step = _step_sql("CAST(created AS INTEGER)", common_step(self._groupings))
        keys = "".join(f"[{key}], " for key in self._keys)
        rows = self._connection.execute(
            f"SELECT {keys}{step} FROM {self._source} WHERE {where.sql}",  # noqa: S608 our own text
            where.parameters,
        )
        counts: list[Counter[Any]] = [Counter() for _ in self._groupings]
        while some := rows.fetchmany(_ROWS):
            columns = list(zip(*some, strict=True))
            for counter, places in zip(counts, self._key_sets, strict=True):
                counter.update(zip(*(columns[at] for at in places), columns[-1], strict=True))
            if max(map(len, counts)) > _ENTRIES:
                yield from self._resolve(counts)
        yield from self._resolve(counts)

    @cached_property
    def _keys(self) -> list[str]:
        """The columns that rows are counted by: ids of recurring rows, and others."""
        needed = {name for grouping in self._groupings for name in grouping.columns}
        recurring = {name for each in self._recurring for name in each.columns}
        return [*(each.key for each in self._recurring), *sorted(needed - recurring)]

    @cached_property
    def _key_sets(self) -> list[list[int]]:
        """For each grouping, the places in `_keys` of what it needs."""
        sets = []
        for grouping in self._groupings:
            names = {*grouping.columns}
            names |= {each.key for each in self._recurring if names & {*each.columns}}
            sets.append([at for at, key in enumerate(self._keys) if key in names])
        return sets

    @cached_property
    def _recurring(self) -> list[Recurring]:
        """The tables of recurring values that groupings are about."""
        needed = {name for grouping in self._groupings for name in grouping.columns}
        tables = RECURRING if self._layout.is_split else ()
        return [each for each in tables if needed & {*each.columns}]

    @cached_property
    def _source(self) -> str:
        """The table of the keys, without joins where none is needed."""
        about = {name for grouping in self._groupings for name in grouping.columns}
        needs_block = (about | columns_of(self._query)) & {*BLOCK}
        return self._layout.source if needs_block else self._layout.table

    @cached_property
    def _values(self) -> dict[str, tuple[dict[int, tuple[Any, ...]], tuple[str, ...]]]:
        """For each id among the keys, the rows by id, and their columns."""
        return {
            each.key: (read_recurring(self._connection, each), each.columns)
            for each in self._recurring
        }

    def _resolve(self, counts: list[Counter[Any]]) -> Iterator[Count]:
        """Yield the counts of keys as those of groups, the largest first, and forget them."""
        for number, counter in enumerate(counts):
            keys = [self._keys[at] for at in self._key_sets[number]]
            tables = [self._values.get(key) for key in keys]
            columns: list[str] = []
            for key, table in zip(keys, tables, strict=True):
                columns += (key,) if table is None else table[1]
            group = self._groupings[number].grouper(columns)
            for (*found, begin), records in counter.most_common():
                row: list[Any] = []
                for value, table in zip(found, tables, strict=True):
                    row += (value,) if table is None else _row_of(table, value)
                yield Count(number, group(row, begin), records)
            counter.clear()

    def _count_matches(self, last_id: int) -> Iterator[Count]:
        """Count each row that a search finds."""
        if not last_id:
            return
        needed = columns_of(self._narrowing.rest)
        needed |= {name for grouping in self._groupings for name in grouping.columns}
        columns = ("created", *sorted(needed - {"created"}))
        search = DaySearch(
            self._connection, self._query, last_id, self._progress, newest_first=True,
            columns=columns,
        )  # fmt: skip
        groupers = [grouping.grouper(columns) for grouping in self._groupings]
        step = common_step(self._groupings)
        with closing(search.matches()) as rows:
            for row in rows:
                begin = None if step is None else int(row[0]) // step * step
                for number, group in enumerate(groupers):
                    yield Count(number, group(row, begin), 1)


def _row_of(table: tuple[dict[int, tuple[Any, ...]], tuple[str, ...]], key: int) -> tuple[Any, ...]:
    """Return a recurring row; nothing but None if it is not there."""
    rows, columns = table
    return rows.get(key) or (None,) * len(columns)


def common_step(groupings: Iterable[Grouping]) -> int | None:
    """Return the seconds of which the bars of all groupings are sums; None if there are no bars."""
    steps = [step for grouping in groupings if (step := grouping.step) is not None]
    return math.gcd(*steps) if steps else None


def _step_sql(second: str, step: int | None) -> str:
    return "NULL" if step is None else f"{second} / {step} * {step}"
