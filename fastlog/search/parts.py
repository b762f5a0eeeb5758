"""Records in order of arrival, in parts that can be read again from any position.

The order by `created` changes while records arrive: a late one belongs before others. This order
does not. So an export that was interrupted continues exactly where it ended.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from fastlog.query import COLUMNS, Node, compile_query
from fastlog.search.day_reader import Unread, open_day, read_days, unless_gone
from fastlog.search.layout import read_layout
from fastlog.search.narrowing import Narrowing
from fastlog.search.part_ranges import Range, read_ranges
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
    """Yield the matching records of a day file after a position.

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
        entries = _Entries(connection, query)
        ranges = entries.ranges(position, part.end, progress)
        with closing(ranges):
            for first, last, ids in ranges:
                progress.read += first - 1 - position
                position = first - 1
                while position < last:
                    some, reached = entries.read(position, last, ids)
                    if progress.must_stop():
                        break  # entries may be missing
                    progress.read += reached - position
                    position = reached
                    yield Batch(some, position)
        if position < part.end and not progress.must_stop():
            progress.read += part.end - position
            position = part.end
            yield Batch([], position)
    if position < part.end and unread is not None and not path.exists():
        unread.add(path, "was deleted while it was read")


class _Entries:
    """The entries of one day file that match a query."""

    def __init__(self, connection: sqlite3.Connection, query: Node) -> None:
        self._connection, self._query = connection, query
        self._layout = layout = read_layout(connection)
        self._narrowing = narrowing = Narrowing(connection, layout, query)
        where = narrowing.condition
        self._parameters = where.parameters
        self._is_wanted = None if narrowing.is_exact else compile_query(narrowing.rest, COLUMNS)
        columns = f"{column_list()}, {layout.id}"
        # The key is not an index in this sense. Along that of the times, SQLite would have to sort.
        source = layout.source.replace(layout.table, f"{layout.table} NOT INDEXED", 1)
        self._all = (
            f"SELECT {columns} FROM {source} WHERE {layout.id} > ?"  # noqa: S608 our own text
            f" AND {layout.id} <= ? AND {where.sql} ORDER BY {layout.id}"
        )
        self._some = (
            # CROSS JOIN makes SQLite follow the list.
            f"SELECT {columns} FROM json_each(?) CROSS JOIN {layout.source}"  # noqa: S608 our own text
            f" WHERE {layout.id} = json_each.value AND {layout.id} > ? AND {where.sql}"
        )

    def ranges(self, behind: int, last_id: int, progress: Progress) -> Generator[Range, None, None]:
        """Yield the ranges that may have matches, in order."""
        return read_ranges(
            *(self._connection, self._layout, self._narrowing, self._query),
            *(behind, last_id, progress.must_stop),
        )

    def read(self, behind: int, last_id: int, ids: list[int] | None) -> tuple[list[Found], int]:
        """Read entries from after one up to another, until they are enough for a batch.

        Args:
            ids: Those that may match; None: all.

        Returns:
            Those that match, and the position after what was read.
        """
        if ids is None:
            until = min(behind + WINDOW, last_id)
            statement = self._all, (behind, until, *self._parameters)
        else:
            until = last_id
            statement = self._some, (json.dumps(ids), behind, *self._parameters)
        some, size, position = list[Found](), 0, 0

        def without_position(rows: Iterable[Row]) -> Iterator[Row]:
            nonlocal position
            for row in rows:
                position = row[-1]
                yield row[:-1]

        with closing(self._connection.execute(*statement)) as rows:
            matching = checked(without_position(rows))
            for row in filter(self._is_wanted, matching) if self._is_wanted else matching:
                each = found(row)
                some.append(each)
                size += size_of(each)
                if size >= BATCH_BYTES:
                    return some, position
        return some, until


def size_of(each: Found) -> int:
    """Return about how much memory a record takes, in bytes."""
    record = each.record
    size = 500 + len(record.message) + len(record.extra)
    if record.exc_text is not None:
        size += len(record.exc_text)
    if record.stack_info is not None:
        size += len(record.stack_info)
    return size
