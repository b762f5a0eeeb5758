"""The search of one day file: its matching rows in order of time, from either end.

Filters on recurring values (level, logger, host …) limit the times at which the file is read:
`spans`. Filters on text are searched in its chunks: `chunk_search`. What these leave is decided for
each row by SQLite.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Generator
from typing import Final, NamedTuple

from fastlog.query import Filters
from fastlog.search.bulk import bulk_expressions
from fastlog.search.chunk_search import search_chunks
from fastlog.search.clauses import Clause, all_of, clauses
from fastlog.search.layout import Layout, condition
from fastlog.search.rows import COLUMN_LIST, Row
from fastlog.search.spans import Span, possible_spans, span_of

_EVER: Final = Span(-math.inf, math.inf)

Statement = tuple[str, tuple[object, ...]]
"""SQL and its parameters."""


class DaySearch(NamedTuple):
    """A search of one file."""

    connection: sqlite3.Connection
    """In a transaction, so that all that is read is of one state of the file."""
    layout: Layout
    filters: Filters
    last_id: int
    """The last record that is searched. Later ones would break the order of the stream."""
    newest_first: bool

    def rows(self) -> Generator[Row, None, None]:
        """Yield the matching rows by `created`, and equal ones by arrival; or exactly reversed."""
        spans = possible_spans(self.connection, self.layout, self.filters, self.last_id)
        left = yield from self._rows_of_chunks(spans)
        for span in reversed(spans) if self.newest_first else spans:
            yield from self.connection.execute(*self.walk(span.overlap(left)))

    def _rows_of_chunks(self, spans: list[Span]) -> Generator[Row, None, Span]:
        """Yield the matching rows that chunks help to find, in order.

        Returns:
            The span in which rows may be left.
        """
        left = _EVER
        expressions = bulk_expressions(self.filters) if self.layout.is_split else []
        if expressions:
            for ids, time in search_chunks(
                self.connection, expressions, spans, self.last_id, newest_first=self.newest_first
            ):
                if ids:
                    yield from self.connection.execute(*self.pick(ids))
                left = Span.up_to(time) if self.newest_first else Span(time, math.inf)
        return left

    def walk(self, span: Span) -> Statement:
        """Return the statement that reads the rows of a span in order, along the index."""
        where, each = self._where(span), self.layout.id
        direction = " DESC" if self.newest_first else ""
        return (
            f"SELECT {COLUMN_LIST} FROM {self.layout.source} WHERE {where.sql}"  # noqa: S608 our own text
            f" ORDER BY created{direction}, {each}{direction}",
            where.parameters,
        )

    def pick(self, ids: list[int]) -> Statement:
        """Return the statement that reads some entries, those that match, in the given order."""
        where = self._where(span_of(self.filters))
        return (
            # CROSS JOIN makes SQLite follow the list.
            f"SELECT {COLUMN_LIST} FROM json_each(?) CROSS JOIN {self.layout.source}"  # noqa: S608 our own text
            f" WHERE entries.id = json_each.value AND {where.sql}",
            (json.dumps(ids), *where.parameters),
        )

    def _where(self, span: Span) -> Clause:
        # "+" keeps the id out of the query plan.
        bounds = Clause(
            f"created >= ? AND created < ? AND +{self.layout.id} <= ?", (*span, self.last_id)
        )
        return all_of([bounds, condition(self.layout, clauses(self.filters))])
