"""Ranges: which entries of a day file may match, in order of arrival, by its chunks and counts.

What a search in order of time knows is used here, too: a chunk without any of the wanted values or
texts is skipped. No transaction stays open between two ranges, so a chunk may change meanwhile:
then its entries are looked at one by one.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from operator import attrgetter
from typing import NamedTuple

from fastlog.query import Node
from fastlog.query.expressions import Expression
from fastlog.search.bulk import bulk_expressions
from fastlog.search.chunk_search import AHEAD, RETAINED, THREADS, candidates_of_chunk
from fastlog.search.layout import Layout
from fastlog.search.narrowing import Narrowing
from fastlog.search.pieces import Piece, read_covered, read_pieces
from fastlog.search.spans import EVER, Span, possible_spans, span_of


class Range(NamedTuple):
    """Consecutive entries."""

    first_id: int
    last_id: int
    ids: list[int] | None = None
    """Those that may match; None: all."""


def read_ranges(
    connection: sqlite3.Connection,
    layout: Layout,
    narrowing: Narrowing,
    query: Node,
    behind: int,
    last_id: int,
    must_stop: Callable[[], bool],
) -> Generator[Range, None, None]:
    """Yield the ranges with entries that may match, from after an entry up to another one.

    Args:
        connection: Not in a transaction.
        must_stop: When it is true, the ranges end, and the last ones may lack entries.
    """
    plan = _plan(connection, layout, narrowing, query, last_id)
    if plan is None:
        yield Range(behind + 1, last_id)
        return
    pieces, expressions = plan
    begun: deque[tuple[Piece, Future[Sequence[int]] | None]] = deque()
    bytes(RETAINED)
    with ThreadPoolExecutor(THREADS) as pool:
        for piece in pieces:
            if must_stop():
                return
            if piece.last_id <= behind:
                continue
            text = _read_text(connection, piece) if expressions and piece.is_chunk else None
            search = None
            if text is not None:
                search = pool.submit(candidates_of_chunk, expressions, text, must_stop)
            begun.append((piece, search))
            if len(begun) > AHEAD:
                yield _range(*begun.popleft(), behind)
        for each in begun:
            yield _range(*each, behind)


def _range(piece: Piece, search: Future[Sequence[int]] | None, behind: int) -> Range:
    """Return what is to be read of a piece.

    Args:
        search: Finds the numbers of the entries that may match; None: all may.
    """
    first, last = max(piece.first_id, behind + 1), piece.last_id
    if search is None or len(numbers := search.result()) > last - piece.first_id:
        return Range(first, last)
    ids = [piece.first_id + number for number in numbers]
    return Range(first, last, [each for each in ids if each >= first])


def _plan(
    connection: sqlite3.Connection,
    layout: Layout,
    narrowing: Narrowing,
    query: Node,
    last_id: int,
) -> tuple[list[Piece], list[Expression]] | None:
    """Return the pieces that may have matches, in order of arrival, and what to look for in them.

    None: all entries have to be looked at.
    """
    if not layout.is_split:
        return None
    connection.execute("BEGIN")
    try:
        covered = read_covered(connection, last_id)
        spans = possible_spans(connection, narrowing, span_of(query), last_id)
        expressions = bulk_expressions(query)
        if covered is None or (spans == [EVER] and not expressions):
            return None
        pieces = read_pieces(connection, covered, last_id)
    finally:
        connection.execute("COMMIT")
    return [piece for piece in sorted(pieces) if _is_reached(piece, spans)], expressions


def _is_reached(piece: Piece, spans: list[Span]) -> bool:
    """Return whether a piece may have a time in one of the spans, which are in order."""
    at = bisect_right(spans, piece.min_created, key=attrgetter("until"))
    return at < len(spans) and spans[at].reaches(piece.min_created, piece.max_created)


def _read_text(connection: sqlite3.Connection, chunk: Piece) -> bytes | None:
    """Return the compressed text of a chunk; None if it is another one now."""
    row = connection.execute(
        "SELECT first_id, text FROM chunks WHERE last_id = ?", (chunk.last_id,)
    ).fetchone()
    is_same = row is not None and row[0] == chunk.first_id and isinstance(row[1], bytes)
    return row[1] if is_same else None
