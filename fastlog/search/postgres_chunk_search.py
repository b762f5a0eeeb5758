"""The search of chunks of a PostgreSQL store: the places of records that may match, in order.

Texts of chunks are fetched some at a time, and searched in threads. Records that no chunk covers
all may match.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

from fastlog import zstd
from fastlog.errors import DamagedFileError, SinkUnavailableError
from fastlog.query.expressions import Expression
from fastlog.search.chunk_search import RETAINED, candidates_of_chunk
from fastlog.search.postgres_coverage import Coverage, Fetch
from fastlog.search.progress import Progress
from fastlog.search.spans import Span
from fastlog.sinks.clauses import Clause, all_of
from fastlog.sinks.postgres_chunks import KEY

THREADS: Final = 2
"""The libraries that decompress and search let other threads run meanwhile."""
AT_ONCE: Final = (2, 4, 16, 48)
"""Chunks that are fetched by the first statements, and by all later ones."""
_NOTHING: Final = zstd.compress(b"")


class Place(NamedTuple):
    """Where a record is, in the order of the stream."""

    created: float
    offset: int
    idx: int
    node: str
    day: date
    """Of its partition."""


class _Chunk(NamedTuple):
    node: str
    begin: int
    part: int
    day: date
    records: int
    min_created: float
    max_created: float
    end: int


_Begun = tuple[_Chunk, Future[Sequence[int]]]


class ChunkSearch:
    """A search of the chunks of a store.

    Args:
        fetch: Executes statements.
        span: Outside which nothing is wanted.
    """

    def __init__(
        self, fetch: Fetch, schema: str, coverage: Coverage, span: Span, progress: Progress
    ) -> None:
        self._fetch, self._schema = fetch, schema
        self._coverage, self._span, self._progress = coverage, span, progress

    def places(
        self, expressions: list[Expression], condition: Clause, *, newest_first: bool
    ) -> Iterator[list[Place]]:
        """Yield the places of records that may match, in order, in batches; some may be empty.

        Args:
            expressions: Of `bulk_expressions`.
            condition: What rows without a chunk have to meet.
        """
        chunks = self._list(newest_first=newest_first)
        edges = [each.max_created if newest_first else each.min_created for each in chunks]
        edges.append(-math.inf if newest_first else math.inf)
        waiting = self._uncovered(condition)
        bytes(RETAINED)
        with ThreadPoolExecutor(THREADS) as pool:
            done = 0
            for some in self._searched(pool, chunks, expressions):
                waiting += self._places(some)
                done += len(some)
                self._progress.read += sum(each.records for each, _ in some)
                if self._progress.must_stop():
                    return
                due, waiting = _split(waiting, edges[done], newest_first=newest_first)
                yield due
        yield sorted(waiting, reverse=newest_first)

    def arrivals(
        self, expressions: list[Expression], node: str, begin: int
    ) -> Iterator[tuple[list[Place], int]]:
        """Yield the places of records of a journal from an offset on that may match, by arrival.

        They come in batches, each with the offset below which there are no more. What no chunk
        covers is not included.
        """
        found = (each for each in self._list(newest_first=False) if each.node == node)
        chunks = sorted((each for each in found if each.end > begin), key=attrgetter("begin"))
        edges = [*(each.begin for each in chunks), self._coverage.ends[node]]
        waiting: list[Place] = []
        bytes(RETAINED)
        with ThreadPoolExecutor(THREADS) as pool:
            done = 0
            for some in self._searched(pool, chunks, expressions):
                waiting += (each for each in self._places(some) if each.offset >= begin)
                done += len(some)
                if self._progress.must_stop():
                    return
                waiting.sort(key=attrgetter("offset", "idx"))
                due = bisect_left(waiting, edges[done], key=attrgetter("offset"))
                yield waiting[:due], edges[done]
                del waiting[:due]
        yield waiting, edges[-1]

    def _list(self, *, newest_first: bool) -> list[_Chunk]:
        rows = self._fetch(
            "SELECT replace(node::text, '-', ''), \"begin\", part, day, records, min_created,"  # noqa: S608 our own text
            f' max_created, "end" FROM {self._schema}.chunks'
            " WHERE day = ANY(%s) AND max_created >= %s AND min_created < %s",
            (self._coverage.days, *self._span),
        )
        chunks = [
            chunk
            for chunk in map(_Chunk._make, rows)
            # The others are made since then.
            if chunk.end <= self._coverage.ends.get(chunk.node, 0)
        ]
        if newest_first:
            return sorted(chunks, key=lambda each: each.max_created, reverse=True)
        return sorted(chunks, key=lambda each: each.min_created)

    def _uncovered(self, condition: Clause) -> list[Place]:
        where = all_of([self._coverage.uncovered, condition])
        rows = self._fetch(
            "SELECT created, \"offset\", idx, replace(node::text, '-', ''), received_at::date"  # noqa: S608 our own text
            f" FROM {self._schema}.records WHERE {where.sql}",
            where.parameters,
        )
        return [Place(*row) for row in rows]

    def _searched(
        self, pool: ThreadPoolExecutor, chunks: list[_Chunk], expressions: list[Expression]
    ) -> Iterator[list[_Begun]]:
        """Yield the chunks in parts, with what is found in them. A part is read ahead."""
        begun: deque[list[_Begun]] = deque()
        at = 0
        while at < len(chunks):
            part = chunks[at : at + AT_ONCE[min(len(AT_ONCE) - 1, at // 2)]]
            at += len(part)
            texts = self._read("text", part)
            begun.append(
                [
                    (
                        each,
                        pool.submit(
                            candidates_of_chunk, expressions, text, self._progress.must_stop
                        ),
                    )
                    for each, text in zip(part, texts, strict=True)
                ]
            )
            if len(begun) > 1:
                yield begun.popleft()
        yield from begun

    def _places(self, some: list[_Begun]) -> Iterator[Place]:
        """Yield the places of what was found in some chunks."""
        try:
            found = [(each, numbers) for each, job in some if (numbers := job.result())]
        except DamagedFileError as error:
            raise SinkUnavailableError(f"{self._schema}.chunks {error}") from None
        texts = self._read("keys", [each for each, _ in found]) if found else []
        for (each, numbers), text in zip(found, texts, strict=True):
            keys = _decompressed(text)
            for number in numbers if keys else ():
                created, offset, idx = KEY.unpack_from(keys, number * KEY.size)
                if self._span.since <= created < self._span.until:
                    yield Place(created, offset, idx, each.node, each.day)

    def _read(self, column: str, chunks: Sequence[_Chunk]) -> list[bytes]:
        """Return a column of some chunks; nothing for those that retention has dropped."""
        rows = self._fetch(
            f"SELECT n, k.{column} FROM unnest(%s::uuid[], %s::int8[], %s::int4[])"  # noqa: S608 our own text
            f" WITH ORDINALITY u(node, first, part, n) JOIN {self._schema}.chunks k"
            ' ON k.node = u.node AND k."begin" = u.first AND k.part = u.part',
            (
                [UUID(each.node) for each in chunks],
                [each.begin for each in chunks],
                [each.part for each in chunks],
            ),
        )
        texts = [_NOTHING] * len(chunks)
        for number, text in rows:
            texts[number - 1] = text
        return texts


def _decompressed(compressed: bytes) -> bytes:
    try:
        return zstd.decompress(compressed)
    except zstd.ZstdError as error:
        raise SinkUnavailableError(f"keys of a chunk cannot be decompressed: {error}") from None


def _split(
    waiting: list[Place], edge: float, *, newest_first: bool
) -> tuple[list[Place], list[Place]]:
    """Return the places that come before all of the chunks that are left, in order; and the rest.

    Args:
        edge: The first time of these chunks, in the direction of the search.
    """
    due: list[Place] = []
    rest: list[Place] = []
    for each in waiting:
        is_due = each.created > edge if newest_first else each.created < edge
        (due if is_due else rest).append(each)
    due.sort(reverse=newest_first)
    return due, rest
