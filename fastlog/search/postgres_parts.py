"""The records of one journal of a PostgreSQL store in order of arrival, from any position on.

Where a query has texts, the chunks of the journal are searched for them, as in order of time. Where
it is about rare levels, loggers or hosts, the counts say in which minutes they are. What chunks and
counts do not cover is looked at row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from fastlog.query import Node, between, column
from fastlog.search.bulk import bulk_expressions
from fastlog.search.parts import BATCH_BYTES, Batch, Part, size_of
from fastlog.search.postgres_chunk_search import ChunkSearch
from fastlog.search.postgres_counts import adjacent, can_answer, rare_minutes
from fastlog.search.postgres_coverage import Coverage, read_coverage
from fastlog.search.postgres_live import read_span
from fastlog.search.postgres_rows import RowReader
from fastlog.search.progress import Progress
from fastlog.search.spans import span_of
from fastlog.search.stream import Found, found
from fastlog.sinks.clauses import Clause, all_of, any_of_clauses
from fastlog.sinks.postgres_narrowing import PostgresNarrowing

WINDOW: Final = 8 << 20
"""Bytes of a journal that one statement covers, where rows are looked at one by one."""


def read_journal(
    reader: RowReader, schema: str, part: Part, position: int, query: Node, progress: Progress
) -> Iterator[Batch]:
    """Yield the matches of a journal from an offset on, in order of arrival.

    Args:
        schema: Of the table `records`.
        progress: Counts the bytes of the journal. If the search must stop, the batches end.
    """
    for batch in _batches(reader, schema, part, position, query, progress):
        if progress.must_stop():
            return  # a statement may have ended early
        progress.read += batch.position - position
        position = batch.position
        yield batch


def _batches(
    reader: RowReader, schema: str, part: Part, position: int, query: Node, progress: Progress
) -> Iterator[Batch]:
    expressions = bulk_expressions(query)
    may_be_rare = not expressions and can_answer(query)
    coverage = read_coverage(reader.fetch, schema) if expressions or may_be_rare else None
    end = 0 if coverage is None else coverage.ends.get(part.name, 0)
    windows: set[int] | None = None
    """Those that have matches, of the covered ones; None: all may have some."""
    if coverage is not None and may_be_rare:
        windows = _windows(reader, schema, coverage, part.name, query)
    if coverage is not None and expressions and position < end:
        search = ChunkSearch(reader.fetch, schema, coverage, span_of(query), progress)
        narrowing = PostgresNarrowing(query)
        for places, edge in search.arrivals(expressions, part.name, position):
            places = [each for each in places if each.offset < part.end]
            yield from _in_batches(map(found, reader.rows_at([places], narrowing)))
            position = min(edge, end, part.end)
            yield Batch([], position)
    while position < part.end:
        number = position // WINDOW
        until = min((number + 1) * WINDOW, part.end)
        some: list[Found] = []
        if windows is None or number in windows or until > end:
            spans = read_span(reader, query, part.name, (position, -1), until)
            some = [each for batch in spans for each in batch]
        position = until
        yield Batch(some, position)


def _windows(
    reader: RowReader, schema: str, coverage: Coverage, node: str, query: Node
) -> set[int] | None:
    """Return the numbers of the windows of a journal with covered matches; None if they are many.

    Args:
        query: One that the counts can answer.
    """
    minutes = rare_minutes(reader.fetch, schema, coverage, query)
    if minutes is None:
        return None
    spans = (PostgresNarrowing(between(column("created"), *span)) for span in adjacent(minutes))
    where = all_of(
        [
            Clause("node = %s", (UUID(node),)),
            any_of_clauses(span.condition for span in spans),
            PostgresNarrowing(query).condition,
        ]
    )
    rows = reader.fetch(
        f'SELECT DISTINCT "offset" / {WINDOW} FROM {schema}.records WHERE {where.sql}',  # noqa: S608 our own text
        where.parameters,
    )
    return {number for (number,) in rows}


def _in_batches(records: Iterator[Found]) -> Iterator[Batch]:
    """Yield the batches of records of a journal that are full; a block is in one of them."""
    some, size = list[Found](), 0
    for each in records:
        if size >= BATCH_BYTES and each.record.offset > some[-1].record.offset:
            yield Batch(some, each.record.offset)
            some, size = [], 0
        some.append(each)
        size += size_of(each)
    if some:
        yield Batch(some, some[-1].record.offset + 1)
