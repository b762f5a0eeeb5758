"""The search of chunks: which entries of a day file may match, in order of time.

Chunks are decompressed and searched in threads, a few before they are due. Entries that no chunk
covers all may match.
"""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from fastlog import zstd
from fastlog.errors import DamagedFileError
from fastlog.query.expressions import Expression
from fastlog.search.candidates import candidates
from fastlog.search.chunk_memory import ChunkMemory
from fastlog.search.pieces import Batch, Key, Piece, by_edge, in_order, read_covered, read_pieces
from fastlog.search.spans import Span

_memory: ChunkMemory | None = None
"""Of all searches of the process, if `remember_searches` was called."""

Numbers = Future[Sequence[int]]
"""What a thread finds: the numbers of the entries of a chunk that may match."""

THREADS: Final = 2
"""The libraries that decompress and search let other threads run meanwhile."""
AHEAD: Final = 3
"""Chunks that are searched before they are due."""
RETAINED: Final = 4 << 20
"""Bytes that are allocated and freed once. From then on, glibc keeps freed blocks up to this size.
Otherwise it returns them to the kernel, which has to provide their pages again for each chunk: that
took two thirds of the time of decompressing."""


def remember_searches() -> None:
    """Remember from now on what is found in chunks.

    That pays in a process which is asked several questions about the same records. In another,
    hashing the chunks only costs time.
    """
    global _memory
    _memory = _memory or ChunkMemory()


def search_chunks(
    connection: sqlite3.Connection,
    expressions: list[Expression],
    spans: list[Span],
    last_id: int,
    *,
    newest_first: bool,
    must_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Batch]:
    """Yield the entries that may match, in batches, as `in_order` does.

    Nothing is yielded if the chunks of the file cover too little.

    Args:
        connection: In a transaction.
        expressions: Of `bulk_expressions`.
        spans: Chunks without any entry in one of these are not read.
        last_id: The last entry that is searched. Later ones may be yielded all the same.
        must_stop: Asked by the threads. When it is true, the rest of the batches is incomplete.
    """
    covered = read_covered(connection, last_id)
    if covered is None:
        return
    possible = (
        piece
        for piece in read_pieces(connection, covered, last_id)
        if any(span.reaches(piece.min_created, piece.max_created) for span in spans)
    )
    pieces = by_edge(possible, newest_first=newest_first)
    bytes(RETAINED)
    with ThreadPoolExecutor(THREADS) as pool:

        def search(compressed: bytes) -> Numbers:
            return pool.submit(candidates_of_chunk, expressions, compressed, must_stop)

        keys = (_read_keys(connection, *each) for each in _searched(connection, pieces, search))
        yield from in_order(pieces, keys, newest_first=newest_first)


def _searched(
    connection: sqlite3.Connection,
    pieces: list[Piece],
    search: Callable[[bytes], Numbers],
) -> Iterator[tuple[Piece, Numbers | None]]:
    """Yield the pieces, and what is found in their texts. Some are read ahead."""
    begun: deque[tuple[Piece, Numbers | None]] = deque()
    for piece in pieces:
        begun.append((piece, search(_read_text(connection, piece)) if piece.is_chunk else None))
        if len(begun) > AHEAD:
            yield begun.popleft()
    yield from begun


def _read_text(connection: sqlite3.Connection, chunk: Piece) -> bytes:
    """Return the compressed text of a chunk."""
    [(text,)] = connection.execute("SELECT text FROM chunks WHERE last_id = ?", (chunk.last_id,))
    if not isinstance(text, bytes):
        raise DamagedFileError("is damaged: a chunk cannot be decompressed: it is no BLOB")
    return text


def candidates_of_chunk(
    expressions: list[Expression], compressed: bytes, must_stop: Callable[[], bool]
) -> Sequence[int]:
    """Return the numbers of the entries of a chunk that may match; none if the search must stop.

    Args:
        compressed: Its text.

    Raises:
        DamagedFileError: It is none.
    """
    if must_stop():
        return ()
    if _memory is None:
        return candidates(_decompressed(compressed), expressions, must_stop)
    key = ChunkMemory.key(compressed, expressions)
    found = _memory.get(key)
    if found is None:
        found = candidates(_decompressed(compressed), expressions, must_stop)
        if not must_stop():  # else some may be missing
            _memory.put(key, found)
    return found


def _decompressed(compressed: bytes) -> bytes:
    """Return the text of a chunk.

    Raises:
        DamagedFileError: It is none.
    """
    try:
        return zstd.decompress(compressed)
    except zstd.ZstdError as error:
        raise DamagedFileError(f"is damaged: a chunk cannot be decompressed: {error}") from None


def _read_keys(
    connection: sqlite3.Connection, piece: Piece, found: Numbers | None
) -> Iterable[Key]:
    """Return the keys of the entries of a piece that may match."""
    if found is None:
        return connection.execute(
            "SELECT created, id FROM entries WHERE id BETWEEN ? AND ?", piece[:2]
        )
    numbers = found.result()
    if not numbers:
        return ()
    ids = [piece.first_id + number for number in numbers]
    return connection.execute(
        "SELECT created, entries.id FROM json_each(?) CROSS JOIN entries"
        " ON entries.id = json_each.value",
        (json.dumps(ids),),
    )
