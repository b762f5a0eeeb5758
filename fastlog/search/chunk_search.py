"""The search of chunks: which entries of a day file may match, in order of time.

A chunk is decompressed when it is due. The entries that no chunk covers all may match.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from fastlog import zstd
from fastlog.errors import DamagedFileError
from fastlog.query.expressions import Expression
from fastlog.search.candidates import candidates
from fastlog.search.pieces import Batch, Key, Piece, in_order, read_covered, read_pieces
from fastlog.search.spans import Span

RETAINED: Final = 4 << 20
"""Bytes that are allocated and freed once. From then on, glibc keeps freed blocks up to this size.
Otherwise it returns them to the kernel, which has to provide their pages again for each chunk: that
took two thirds of the time of decompressing."""


def search_chunks(
    connection: sqlite3.Connection,
    expressions: list[Expression],
    spans: list[Span],
    last_id: int,
    *,
    newest_first: bool,
) -> Iterator[Batch]:
    """Yield the entries that may match, in batches, as `in_order` does.

    Nothing is yielded if the chunks of the file cover too little.

    Args:
        connection: In a transaction.
        expressions: Of `bulk_expressions`.
        spans: Chunks without any entry in one of these are not read.
        last_id: The last entry that is searched. Later ones may be yielded all the same.
    """
    covered = read_covered(connection, last_id)
    if covered is None:
        return
    bytes(RETAINED)
    pieces = (
        piece
        for piece in read_pieces(connection, covered, last_id)
        if any(span.reaches(piece.min_created, piece.max_created) for span in spans)
    )
    keys = partial(_keys, connection, expressions)
    yield from in_order(pieces, keys, newest_first=newest_first)


def _keys(
    connection: sqlite3.Connection, expressions: list[Expression], piece: Piece
) -> Iterable[Key]:
    """Return the keys of the entries of a piece that may match."""
    if not piece.is_chunk:
        return connection.execute(
            "SELECT created, id FROM entries WHERE id BETWEEN ? AND ?", piece[:2]
        )
    numbers = candidates(_text(connection, piece), expressions)
    if not numbers:
        return ()
    ids = [piece.first_id + number for number in numbers]
    return connection.execute(
        "SELECT created, entries.id FROM json_each(?) CROSS JOIN entries"
        " ON entries.id = json_each.value",
        (json.dumps(ids),),
    )


def _text(connection: sqlite3.Connection, chunk: Piece) -> bytes:
    [(text,)] = connection.execute("SELECT text FROM chunks WHERE last_id = ?", (chunk.last_id,))
    try:
        return zstd.decompress(text)
    except (zstd.ZstdError, TypeError) as error:
        raise DamagedFileError(f"is damaged: a chunk cannot be decompressed: {error}") from None
