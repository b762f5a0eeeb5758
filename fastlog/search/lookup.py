"""One record by its id: journal, block, and number in the block."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from fastlog.search.day_reader import Unread, list_files, open_day, unless_gone
from fastlog.search.layout import Layout, read_layout
from fastlog.search.progress import Progress, stopped_by
from fastlog.search.rows import COLUMN_LIST, checked
from fastlog.search.stream import Found, found


def find_record(
    logs: Path,
    node: str,
    offset: int,
    idx: int,
    *,
    unread: Unread | None = None,
    progress: Progress | None = None,
) -> Found | None:
    """Return a record; None if there is none of this id.

    Args:
        unread: gets the files that cannot be read.
        progress: if the search must stop, nothing is found.

    Raises:
        FastlogError: A file cannot be read, and there is no `unread`.
    """
    progress = progress or Progress()
    for path in reversed(list_files(logs)):
        if progress.must_stop():
            break
        with (
            unless_gone(path, unread),
            closing(open_day(path)) as connection,
            stopped_by(progress, connection),
        ):
            connection.execute("BEGIN")
            layout = read_layout(connection)
            key = entry_of(connection, layout, node, offset, idx)
            if key is not None:
                rows = connection.execute(
                    f"SELECT {COLUMN_LIST} FROM {layout.source} WHERE {layout.id} = ?",  # noqa: S608 our own text
                    (key,),
                )
                for row in checked(rows):
                    return found(row)
    return None


def entry_of(
    connection: sqlite3.Connection, layout: Layout, node: str, offset: int, idx: int
) -> int | None:
    """Return the key of a record in an open day file; None if it is not there."""
    if not layout.is_split:
        row = connection.execute(
            "SELECT rowid FROM records WHERE offset = ? AND idx = ? AND node = ?",
            (offset, idx, node),
        ).fetchone()
        return None if row is None else int(row[0])
    block = connection.execute(
        "SELECT id FROM blocks WHERE offset = ? AND node = ?", (offset, node)
    ).fetchone()
    if block is None:
        return None
    first = _first_of_block(connection, block[0])
    row = connection.execute(
        "SELECT id FROM entries WHERE id >= ? AND block_id = ? AND idx = ? LIMIT 1",
        (first, block[0], idx),
    ).fetchone()
    return None if row is None else int(row[0])


def begins_after(connection: sqlite3.Connection, layout: Layout, node: str, offset: int) -> bool:
    """Return whether the first block of a journal in a day file comes after an offset."""
    table = "blocks" if layout.is_split else "records"
    row = connection.execute(
        f"SELECT offset FROM {table} WHERE node = ? ORDER BY rowid LIMIT 1",  # noqa: S608 our own text
        (node,),
    ).fetchone()
    return row is not None and row[0] > offset


def _first_of_block(connection: sqlite3.Connection, block: int) -> int:
    """Return the first entry of a block, or one before it: entries are in the order of blocks."""
    [(low, high)] = connection.execute("SELECT ifnull(min(id), 0), ifnull(max(id), 0) FROM entries")
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(
            "SELECT block_id FROM entries WHERE id >= ? ORDER BY id LIMIT 1", (middle,)
        ).fetchone()
        if row is None or row[0] >= block:
            high = middle
        else:
            low = middle + 1
    return int(low)
