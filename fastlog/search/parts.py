"""Records in order of arrival, in parts that can be read again from any position.

The order by `created` changes while records arrive: a late one belongs before others. This order
does not. So an export that was interrupted continues exactly where it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from fastlog.query import COLUMNS, Node, compile_query
from fastlog.search.day_reader import Unread, open_day, read_days, unless_gone
from fastlog.search.layout import read_layout
from fastlog.search.narrowing import Narrowing
from fastlog.search.progress import Progress, stopped_by
from fastlog.search.rows import Row, checked, column_list
from fastlog.search.spans import span_of
from fastlog.search.stream import Found, found

WINDOW: Final = 10_000
"""Entries that one statement covers. Between two statements, SQLite can checkpoint the file."""
BATCH_BYTES: Final = 16 << 20
"""Memory of the records that are read at once, about."""


class Part(NamedTuple):
    """A part of a store, as it was at one moment. Positions in it rise in order of arrival."""

    name: str
    """A day file; or, in a database, the id of a journal."""
    end: int
    """The last position."""


class Batch(NamedTuple):
    """Some consecutive records of a part."""

    found: list[Found]
    """Those that match."""
    position: int
    """Where the next batch begins."""


def day_parts(logs: Path, query: Node, unread: Unread | None = None) -> list[Part]:
    """Return the day files that hold records of the query's time span, in the order of their days.

    Args:
        unread: as in `search`.
    """
    return [Part(day.path.name, day.last_id) for day in read_days(logs, span_of(query), unread)]


def read_day_part(
    logs: Path,
    part: Part,
    position: int,
    query: Node,
    progress: Progress,
    unread: Unread | None = None,
) -> Iterator[Batch]:
    """Yield the matching records of a day file behind a position.

    Args:
        part: One of `day_parts`.
        position: 0, or that of a batch.
        progress: Counts what was read. If the search must stop, the batches end.
        unread: Gets the file if it cannot be read to the end.

    Raises:
        FastlogError: The file cannot be read, and there is no `unread`.
    """
    path = logs / part.name
    with (
        unless_gone(path, unread),
        closing(open_day(path)) as connection,
        stopped_by(progress, connection),
    ):
        layout = read_layout(connection)
        narrowing = Narrowing(connection, layout, query)
        where = narrowing.condition
        is_wanted = None if narrowing.is_exact else compile_query(narrowing.rest, COLUMNS)
        # The key is not an index in this sense. Along that of the times, SQLite would have to sort.
        source = layout.source.replace(layout.table, f"{layout.table} NOT INDEXED", 1)
        sql = (
            f"SELECT {column_list()}, {layout.id} FROM {source} WHERE {layout.id} > ?"  # noqa: S608 our own text
            f" AND {layout.id} <= ? AND {where.sql} ORDER BY {layout.id}"
        )
        while position < part.end and not progress.must_stop():
            until = min(position + WINDOW, part.end)
            with closing(connection.execute(sql, (position, until, *where.parameters))) as rows:
                some, reached = _read(rows, until, is_wanted)
            progress.read += reached - position
            position = reached
            yield Batch(some, position)
    if position < part.end and unread is not None and not path.exists():
        unread.add(path, "was deleted while it was read")


def _read(
    rows: Iterable[Row], until: int, is_wanted: Callable[[Row], bool] | None
) -> tuple[list[Found], int]:
    """Read rows, until they are enough for a batch.

    Args:
        rows: Each with its position behind its columns.
        until: The position behind all of them.

    Returns:
        Those that match, and the position behind what was read.
    """
    some, size, position = list[Found](), 0, 0

    def without_position() -> Iterator[Row]:
        nonlocal position
        for row in rows:
            position = row[-1]
            yield row[:-1]

    matching = checked(without_position())
    for row in matching if is_wanted is None else filter(is_wanted, matching):
        each = found(row)
        some.append(each)
        size += size_of(each)
        if size >= BATCH_BYTES:
            return some, position
    return some, until


def size_of(each: Found) -> int:
    """Return about how much memory a record takes, in bytes."""
    record = each.record
    texts = (record.message, record.exc_text, record.stack_info, record.extra)
    return 500 + sum(len(text) for text in texts if text is not None)
