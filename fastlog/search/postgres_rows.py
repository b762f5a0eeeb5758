"""The rows of a PostgreSQL store: the matches of a query in order, page by page.

Each page is a statement of its own, which begins behind the last row of the page before. So no
transaction stays open while a user reads.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain, islice
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from fastlog.decode.copy_rows import microseconds
from fastlog.query import COLUMNS, Node, between, column, compile_query
from fastlog.query.expressions import Expression
from fastlog.query.fields import TEXTS
from fastlog.query.tree import columns_of
from fastlog.search.bulk import bulk_expressions
from fastlog.search.candidates import candidates
from fastlog.search.postgres_cancelling import cancelled_by
from fastlog.search.postgres_chunk_search import ChunkSearch, Place
from fastlog.search.postgres_counts import adjacent, can_answer, rare_minutes
from fastlog.search.postgres_coverage import Coverage, read_coverage
from fastlog.search.progress import Progress
from fastlog.search.rows import Row
from fastlog.search.spans import span_of
from fastlog.sinks.clauses import Clause, all_of, any_of_clauses
from fastlog.sinks.postgres_connection import Connection, psycopg
from fastlog.sinks.postgres_narrowing import PostgresNarrowing
from fastlog.sinks.postgres_rows import selected, with_compact

_EXTRA: Final = COLUMNS.index("extra")
_ORDER: Final = ("created_at", "created", '"offset"', "idx", "node")
"""The order of the stream: by `created`, then by arrival. `created_at`, which has the index, rises
with `created`."""
_PLACE: Final = ("created", "node", "offset", "idx")
"""The columns that say where a row is in the stream."""
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""PostgreSQL's."""
_WHOLE: Final = 200
"""Rows that are read again at once."""
_REACH: Final = 1 << 20
"""Bytes of a journal in which its last record is looked for at first."""
_LOOK: Final = 500
"""Rows between two looks at whether a search must stop."""
_PAGES: Final = (200, 2_000, 20_000)
"""Rows of the first pages, and of all later ones."""


class RowReader:
    """Reads the rows of one store.

    Args:
        connection: In autocommit mode, or in a transaction.
        schema: Of the table `records`.
        progress: Counts what was read. If the search must stop, the rows end.
    """

    def __init__(self, connection: Connection, schema: str, progress: Progress) -> None:
        self._connection, self._schema, self.progress = connection, schema, progress

    def matches(self, query: Node, *, newest_first: bool) -> Iterator[Row]:
        """Yield the matching rows in order."""
        narrowing, expressions = PostgresNarrowing(query), bulk_expressions(query)
        may_be_rare = not expressions and can_answer(query)
        coverage = None
        if expressions or may_be_rare:
            coverage = read_coverage(self.fetch, self._schema)
        if coverage is None:
            return self._pages(query, narrowing, newest_first=newest_first)
        if may_be_rare:
            minutes = rare_minutes(self.fetch, self._schema, coverage, query)
            if minutes is None:
                return self._pages(query, narrowing, newest_first=newest_first)
            return self._of_minutes(query, narrowing, coverage, minutes, newest_first=newest_first)
        search = ChunkSearch(self.fetch, self._schema, coverage, span_of(query), self.progress)
        batches = search.places(expressions, narrowing.condition, newest_first=newest_first)
        return self.rows_at(batches, narrowing)

    def rows_at(
        self, batches: Iterable[list[Place]], narrowing: PostgresNarrowing
    ) -> Iterator[Row]:
        """Yield the matching rows of some places, in their order."""
        is_wanted = compile_query(narrowing.rest)
        for batch in batches:
            for at in range(0, len(batch), _WHOLE):
                if self.progress.must_stop():
                    return
                some = batch[at : at + _WHOLE]
                rows = {
                    _place_of(row): row
                    for day, places in _by_day(some).items()
                    for row in self.where(all_of([_is_one_of(day, places), narrowing.condition]))
                }
                for each in some:
                    row = rows.get((each.created, each.node, each.offset, each.idx))
                    if row is not None and is_wanted(row):
                        yield row

    def _of_minutes(
        self,
        query: Node,
        narrowing: PostgresNarrowing,
        coverage: Coverage,
        minutes: list[int],
        *,
        newest_first: bool,
    ) -> Iterator[Row]:
        """Yield the matching rows of some minutes, and those that are not covered, in order."""

        def pages(where: Clause) -> Iterator[Row]:
            return self._pages(query, narrowing, where, newest_first=newest_first)

        covered = Clause(f"NOT {coverage.uncovered.sql}", coverage.uncovered.parameters)
        spans = list(adjacent(minutes))
        found = chain.from_iterable(
            pages(all_of([covered, PostgresNarrowing(between(column("created"), *span)).condition]))
            for span in (reversed(spans) if newest_first else spans)
        )
        both = (found, pages(coverage.uncovered))
        return heapq.merge(*both, key=_order_of, reverse=newest_first)

    def _pages(
        self,
        query: Node,
        narrowing: PostgresNarrowing,
        own: Clause = Clause("true"),  # noqa: B008 it is not changed
        *,
        newest_first: bool,
    ) -> Iterator[Row]:
        """Yield the matching rows in order, page by page."""
        # Where SQL leaves much to decide, only the columns that this needs are read at first.
        needed = columns_of(narrowing.rest) if narrowing.is_wide else {*COLUMNS}
        columns = [name for name in COLUMNS if name in needed | {*_PLACE}]
        is_wanted = compile_query(narrowing.rest, columns)
        expressions = bulk_expressions(query) if narrowing.is_wide else []
        direction = " DESC" if newest_first else ""
        order = ", ".join(f"{name}{direction}" for name in _ORDER)
        behind, page = Clause("true"), 0
        while not self.progress.must_stop():
            limit = _PAGES[min(page, len(_PAGES) - 1)]
            where = all_of([narrowing.condition, own, behind])
            rows = self.fetch(
                f"SELECT {_selected(columns)}, created_at FROM {self._schema}.records"  # noqa: S608 our own text
                f" WHERE {where.sql} ORDER BY {order} LIMIT {limit}",
                where.parameters,
            )
            wanted = self._wanted(rows, columns, is_wanted, expressions)
            if len(columns) == len(COLUMNS):
                yield from (row for row, _ in wanted)
            else:
                while some := list(islice(wanted, _WHOLE)):
                    yield from self._whole(columns, some)
            if len(rows) < limit:
                return
            behind, page = _behind(columns, rows[-1], newest_first=newest_first), page + 1

    def _wanted(
        self,
        rows: Sequence[Sequence[Any]],
        columns: Sequence[str],
        is_wanted: Callable[[Sequence[Any]], bool],
        expressions: list[Expression],
    ) -> Iterator[tuple[Row, datetime]]:
        """Yield the rows of a page that match, each with its `created_at`."""
        if "extra" in columns:
            extra = columns.index("extra")
            rows = [with_compact(row, extra) for row in rows]
        for number in self._candidates(rows, columns, expressions):
            if number % _LOOK == 0 and self.progress.must_stop():
                return
            *row, created_at = rows[number]
            if is_wanted(row):
                yield tuple(row), created_at
        self.progress.read += len(rows)

    def _candidates(
        self, rows: Sequence[Sequence[Any]], columns: Sequence[str], expressions: list[Expression]
    ) -> Sequence[int]:
        """Return the numbers of the rows that may match: texts are searched in all at once."""
        if not expressions:
            return range(len(rows))
        places = [columns.index(name) for name in TEXTS if name in columns]
        texts = ("".join([f"{row[at] or ''}\n" for at in places]) for row in rows)
        text = "".join([f"\0\n{each}" for each in texts])
        return candidates(text.encode(), expressions, self.progress.must_stop)

    def _whole(
        self,
        columns: Sequence[str],
        some: Sequence[tuple[Row, datetime]],
    ) -> Iterator[Row]:
        """Yield the whole rows of some of which a part was read, in the same order."""
        place = itemgetter(*(columns.index(name) for name in _PLACE))
        rows = self.fetch(
            f"SELECT {_selected(COLUMNS)} FROM {self._schema}.records"  # noqa: S608 our own text
            " WHERE created_at = ANY(%s)",
            ([created_at for _, created_at in some],),
        )
        whole = {_place_of(row): row for row in rows}
        for row, _ in some:
            if (found := whole.get(place(row))) is not None:  # retention may have dropped it
                yield tuple(with_compact(found, _EXTRA))

    def arrived(
        self, condition: Clause, node: str, behind: tuple[int, int], end: int
    ) -> Iterator[Row]:
        """Yield the rows of a journal from after a record up to an offset, in order."""
        yield from self.where(all_of([condition, _arrived(node, behind, end)]))

    def last_arrived(
        self, node: str, behind: tuple[int, int], end: int, at_most: int | None
    ) -> tuple[tuple[int, int], int]:
        """Return the record after which the last records of a span are, and how many before it.

        Args:
            at_most: How many these are; None for all of the span.
        """
        if at_most is None:
            return behind, 0
        place = _arrived(node, behind, end)
        [(records,)] = self.fetch(
            f"SELECT count(*) FROM {self._schema}.records WHERE {place.sql}",  # noqa: S608 our own text
            place.parameters,
        ) or [(0,)]
        if records <= at_most:
            return behind, 0
        rows = self.fetch(
            f'SELECT "offset", idx FROM {self._schema}.records WHERE {place.sql}'  # noqa: S608 our own text
            f' ORDER BY "offset" DESC, idx DESC OFFSET {at_most} LIMIT 1',
            place.parameters,
        )
        return (rows[0] if rows else behind), records - at_most

    def before_receipt(self, node: str, received: float) -> tuple[int, int] | None:
        """Return a place of a journal below all that it received at a time or later.

        None if it has received nothing since then.
        """
        since = PostgresNarrowing(between(column("received"), received, None)).condition
        where = all_of([Clause("node = %s", (UUID(node),)), since])
        [(first,)] = self.fetch(
            f'SELECT min("offset") FROM {self._schema}.records WHERE {where.sql}',  # noqa: S608 our own text
            where.parameters,
        ) or [(None,)]
        return None if first is None else (first, -1)

    def last_place(self, node: str, end: int) -> tuple[int, int] | None:
        """Return offset and number of the last record of a journal; None if it has none.

        Args:
            end: The cursor of the journal. Blocks without records may be below it.
        """
        reach = _REACH
        while True:
            place = _arrived(node, (max(0, end - reach), -1), end)
            rows = self.fetch(
                f'SELECT "offset", idx FROM {self._schema}.records WHERE {place.sql}'  # noqa: S608 our own text
                ' ORDER BY "offset" DESC, idx DESC LIMIT 1',
                place.parameters,
            )
            if rows or reach >= end or self.progress.must_stop():
                return rows[0] if rows else None
            reach *= 64

    def ends(self) -> tuple[float, float] | None:
        """Return the smallest and the largest `created`; None if there are no records."""
        first, last = (
            f"(SELECT created FROM {self._schema}.records"  # noqa: S608 our own text
            f" ORDER BY created_at{direction}, created{direction} LIMIT 1)"
            for direction in ("", " DESC")
        )
        rows = self.fetch(f"SELECT {first}, {last}", ())
        return rows[0] if rows and rows[0][0] is not None else None

    def where(self, condition: Clause) -> Iterator[Row]:
        """Yield the rows that meet a condition, each journal in order of arrival."""
        rows = self.fetch(
            f"SELECT {_selected(COLUMNS)} FROM {self._schema}.records"  # noqa: S608 our own text
            f' WHERE {condition.sql} ORDER BY node, "offset", idx',
            condition.parameters,
        )
        return (tuple(with_compact(row, _EXTRA)) for row in rows)

    def estimate(self) -> int:
        """Return about how many records there are, as PostgreSQL has counted last."""
        rows = self.fetch(
            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::int8 FROM pg_inherits"
            " JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = to_regclass(%s)",
            (f"{self._schema}.records",),
        )
        return int(rows[0][0]) if rows else 0

    def fetch(self, sql: str, parameters: Sequence[object]) -> list[Any]:
        """Return the rows of a statement; none if the search must stop before it has ended."""
        if self.progress.must_stop():
            return []
        with cancelled_by(self.progress, self._connection):
            try:
                return self._connection.execute(sql, parameters, binary=True).fetchall()
            except psycopg.errors.QueryCanceled:
                if self.progress.stopped is None:
                    raise
            except psycopg.OperationalError:
                if self.progress.stopped is None or not self._connection.broken:
                    raise
            return []


def is_at(node: str, offset: int, idx: int) -> Clause:
    """Return the condition of the row of a record."""
    try:
        return Clause('node = %s AND "offset" = %s AND idx = %s', (UUID(node), offset, idx))
    except ValueError:  # no journal of a database
        return Clause("false")


def _arrived(node: str, behind: tuple[int, int], end: int) -> Clause:
    return Clause(
        'node = %s AND "offset" >= %s AND ("offset", idx) > (%s, %s) AND "offset" < %s',
        (UUID(node), behind[0], *behind, end),
    )


_order_of = itemgetter(*(COLUMNS.index(name) for name in ("created", "offset", "idx", "node")))
_place_of = itemgetter(*(COLUMNS.index(name) for name in _PLACE))


def _by_day(places: Iterable[Place]) -> dict[date, list[Place]]:
    days: dict[date, list[Place]] = {}
    for each in places:
        days.setdefault(each.day, []).append(each)
    return days


def _is_one_of(day: date, places: list[Place]) -> Clause:
    """Return a condition that holds for the rows at these places of a day, and perhaps others."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    stamps: list[datetime] = []
    others: list[Clause] = []
    for each in places:
        try:
            stamps.append(_EPOCH + timedelta(microseconds=microseconds(each.created)))
        except OverflowError:  # PostgreSQL has years that Python has not
            others.append(is_at(each.node, each.offset, each.idx))
    is_of_day = Clause("received_at >= %s AND received_at < %s", (begin, begin + timedelta(days=1)))
    return all_of([is_of_day, any_of_clauses([Clause("created_at = ANY(%s)", (stamps,)), *others])])


def _selected(columns: Sequence[str]) -> str:
    return ", ".join(map(selected, columns))


def _behind(columns: Sequence[str], row: Sequence[Any], *, newest_first: bool) -> Clause:
    """Return the condition of the rows that come after one, in the order of the stream."""
    named = dict(zip((*columns, "created_at"), row, strict=True))
    sign = "<" if newest_first else ">"
    stamp = named["created_at"]
    place = (stamp, named["created"], named["offset"], named["idx"], UUID(named["node"]))
    return Clause(
        f"created_at {sign}= %s AND ({', '.join(_ORDER)}) {sign} (%s, %s, %s, %s, %s)",
        (stamp, *place),
    )
