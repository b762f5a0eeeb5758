"""The records of one journal of a PostgreSQL store in order of arrival, from any position on.

Where a query has texts, the chunks of the journal are searched for them, as in order of time. What
they do not cover is looked at row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fastlog.query import Node
from fastlog.search.bulk import bulk_expressions
from fastlog.search.parts import BATCH_BYTES, Batch, Part, size_of
from fastlog.search.postgres_chunk_search import ChunkSearch
from fastlog.search.postgres_coverage import read_coverage
from fastlog.search.postgres_live import read_span
from fastlog.search.postgres_narrowing import PostgresNarrowing
from fastlog.search.postgres_rows import RowReader
from fastlog.search.progress import Progress
from fastlog.search.spans import span_of
from fastlog.search.stream import Found, found

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
    coverage = read_coverage(reader.fetch, schema) if expressions else None
    if coverage is not None and position < (end := coverage.ends.get(part.name, 0)):
        search = ChunkSearch(reader.fetch, schema, coverage, span_of(query), progress)
        narrowing = PostgresNarrowing(query)
        for places, edge in search.arrivals(expressions, part.name, position):
            places = [each for each in places if each.offset < part.end]
            yield from _in_batches(map(found, reader.rows_at([places], narrowing)))
            position = min(edge, end, part.end)
            yield Batch([], position)
    while position < part.end:
        until = min(position + WINDOW, part.end)
        spans = read_span(reader, query, part.name, (position, -1), until)
        position = until
        yield Batch([each for batch in spans for each in batch], position)


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
