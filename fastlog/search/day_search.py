"""The search of one day file: its matching rows in order of time, from either end.

What a query says about recurring values (level, logger, host …) limits the times at which the file
is read: `spans`. Texts are searched in its chunks: `chunk_search`. SQLite leaves out the rows that
it can decide: `narrowing`. The evaluator decides the others.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing

from fastlog.query import COLUMNS, Node, compile_query
from fastlog.search.bulk import bulk_expressions
from fastlog.search.chunk_search import search_chunks
from fastlog.search.layout import read_layout
from fastlog.search.narrowing import Narrowing
from fastlog.search.progress import Progress
from fastlog.search.rows import Row, checked, column_list
from fastlog.search.spans import EVER, NEVER, Span, possible_spans, span_of
from fastlog.sinks.clauses import Clause, all_of

Statement = tuple[str, tuple[object, ...]]
"""SQL and its parameters."""


class DaySearch:
    """A search of one file.

    Args:
        connection: In a transaction, so that all that is read is of one state of the file.
        last_id: The last record that is searched. Later ones would break the order of the stream.
        columns: What the rows have: all that is not decided by `Narrowing`, and what is wanted.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        query: Node,
        last_id: int,
        progress: Progress,
        *,
        newest_first: bool,
        columns: Sequence[str] = COLUMNS,
    ) -> None:
        self._connection, self._query, self._last_id = connection, query, last_id
        self._layout = read_layout(connection)
        self._narrowing = Narrowing(connection, self._layout, query)
        self._progress, self._newest_first = progress, newest_first
        self._columns, self._list = columns, column_list(columns)

    def matches(self) -> Generator[Row, None, None]:
        """Yield the matching rows by `created`, and equal ones by arrival; or exactly reversed."""
        with closing(self._rows()) as rows:
            if self._narrowing.is_exact:
                yield from checked(rows, self._columns)
            else:
                is_wanted = compile_query(self._narrowing.rest, self._columns)
                yield from filter(is_wanted, checked(rows, self._columns))

    def _rows(self) -> Generator[Row, None, None]:
        """Yield the rows that may match, in order."""
        spans = possible_spans(
            self._connection, self._narrowing, span_of(self._query), self._last_id
        )
        left = yield from self._rows_of_chunks(spans)
        for span in reversed(spans) if self._newest_first else spans:
            for row in self._connection.execute(*self._walk(span.overlap(left))):
                self._progress.read += 1
                yield row
                if self._progress.must_stop():
                    return

    def _rows_of_chunks(self, spans: list[Span]) -> Generator[Row, None, Span]:
        """Yield the rows that chunks help to find, in order.

        Returns:
            The span in which rows may be left.
        """
        left = EVER
        expressions = bulk_expressions(self._query) if self._layout.is_split else []
        if expressions:
            for ids, time, read in search_chunks(
                self._connection,
                expressions,
                spans,
                self._last_id,
                newest_first=self._newest_first,
                must_stop=self._progress.must_stop,
            ):
                if ids:
                    yield from self._connection.execute(*self._pick(ids))
                left = Span.up_to(time) if self._newest_first else Span(time, math.inf)
                self._progress.read += read
                if self._progress.must_stop():
                    return NEVER
        return left

    def _walk(self, span: Span) -> Statement:
        """Return the statement that reads the rows of a span in order, along the index."""
        where, each = self._where(span), self._layout.id
        direction = " DESC" if self._newest_first else ""
        return (
            f"SELECT {self._list} FROM {self._layout.source} WHERE {where.sql}"  # noqa: S608 our own text
            f" ORDER BY created{direction}, {each}{direction}",
            where.parameters,
        )

    def _pick(self, ids: list[int]) -> Statement:
        """Return the statement that reads some entries, in the given order."""
        where = self._where(EVER)
        return (
            # CROSS JOIN makes SQLite follow the list.
            f"SELECT {self._list} FROM json_each(?) CROSS JOIN {self._layout.source}"  # noqa: S608 our own text
            f" WHERE entries.id = json_each.value AND {where.sql}",
            (json.dumps(ids), *where.parameters),
        )

    def _where(self, span: Span) -> Clause:
        # "+" keeps the id out of the query plan.
        bounds = Clause(
            f"created >= ? AND created < ? AND +{self._layout.id} <= ?", (*span, self._last_id)
        )
        return all_of([bounds, self._narrowing.condition])
