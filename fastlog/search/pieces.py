"""Pieces: the entries of a day file in parts, each with a span of `created`.

The pieces are in order of arrival, and overlap in time: a sender may be late, or have a wrong
clock. `in_order` brings entries of some pieces into the order of time.
"""

from __future__ import annotations

import math
import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple

from fastlog.errors import DamagedFileError

UNCOVERED: Final = 20_000
"""Entries behind the last chunk that are looked at one by one. A sink leaves a few thousand; in a
file that has more, chunks and counts would not help."""
WAITING: Final = 20_000
"""Entries of overlapping pieces that are held in memory, as time and id."""

Key = tuple[float, int]
"""`created` and id of an entry: what entries are ordered by."""


class Piece(NamedTuple):
    """A chunk, or the entries behind the last one."""

    first_id: int
    last_id: int
    min_created: float
    max_created: float
    is_chunk: bool = True


class Batch(NamedTuple):
    """Entries in order of time."""

    ids: list[int]
    edge: float
    """All entries whose `created` comes before this were yielded with this batch, and those before
    it; none of the others."""
    read: int
    """Entries of the piece that was read for it."""


def read_covered(connection: sqlite3.Connection, last_id: int) -> int | None:
    """Return the id of the last entry that a chunk covers.

    Args:
        last_id: The last entry that is searched.

    Returns:
        None if there is no chunk, or if it leaves too many entries uncovered.
    """
    [(covered,)] = connection.execute("SELECT max(last_id) FROM chunks")
    return covered if covered is not None and last_id - covered <= UNCOVERED else None


def read_pieces(connection: sqlite3.Connection, covered: int, last_id: int) -> list[Piece]:
    """Return the chunks, and the entries behind them as a piece of unknown span.

    Raises:
        DamagedFileError: A chunk states no numbers.
    """
    rows = connection.execute("SELECT first_id, last_id, min_created, max_created FROM chunks")
    chunks = [Piece(*row) for row in rows]
    for chunk in chunks:
        if tuple(map(type, chunk[:4])) != (int, int, float, float):
            raise DamagedFileError(f"is damaged: a chunk has the span {chunk[:4]!r}")
    return [*chunks, Piece(covered + 1, last_id, -math.inf, math.inf, is_chunk=False)]


def by_edge(pieces: Iterable[Piece], *, newest_first: bool) -> list[Piece]:
    """Return the pieces in the order in which they have to be read."""
    return sorted(pieces, key=partial(_edge, newest_first=newest_first))


def in_order(
    pieces: list[Piece], keys: Iterable[Iterable[Key]], *, newest_first: bool
) -> Iterator[Batch]:
    """Yield entries of the pieces in order of time, in batches.

    It ends early when so many pieces overlap that more than `WAITING` entries have to wait for the
    next piece. All that the last batch says was yielded then, and no other.

    Args:
        pieces: As `by_edge` orders them.
        keys: The keys of the wanted entries of each piece. They are taken when they are due.
    """
    sign = -1 if newest_first else 1
    edges = [_edge(piece, newest_first=newest_first) for piece in pieces]
    waiting: list[Key] = []  # sorted
    for piece, edge, some in zip(pieces, [*edges[1:], math.inf], keys, strict=False):
        waiting += [(sign * created, sign * entry) for created, entry in some]
        waiting.sort()
        due = bisect_left(waiting, (edge,))
        ids = [sign * entry for _, entry in waiting[:due]]
        yield Batch(ids, sign * edge, piece.last_id - piece.first_id + 1)
        del waiting[:due]
        if len(waiting) > WAITING:
            break


def _edge(piece: Piece, *, newest_first: bool) -> float:
    return -piece.max_created if newest_first else piece.min_created
