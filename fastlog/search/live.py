"""The newest records, and then those that arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from fastlog.query import Node, compile_query
from fastlog.search.day_reader import Day, Unread, list_files, open_day, read_days, unless_gone
from fastlog.search.layout import read_layout
from fastlog.search.lookup import begins_after, entry_of
from fastlog.search.narrowing import Narrowing
from fastlog.search.progress import Progress
from fastlog.search.rows import COLUMN_LIST, Row, checked
from fastlog.search.stream import Found, found, merge_days

INTERVAL = 0.1
"""Seconds between two looks at the files."""
SETTLED = 2.0
"""Seconds after its last change from which on a file is not read again until it changes. Clocks of
file systems are coarse: the modification time of a file that has just changed does not show
whether it changed once more."""
BATCH = 500
"""Records of one batch, so that a burst is not held in memory."""


Change = tuple[tuple[int, int], ...]
"""Modification time and length of a file and its write-ahead log."""


class TailPosition:
    """How far each file was read.

    Any file may grow, not only the last by name: while a server's clock was wrong it may have
    begun a file of some future day, and the next server, with another journal, begins with the
    right day.
    """

    def __init__(self, days: list[Day]) -> None:
        self.last_ids = {day.path: day.last_id for day in days}
        """The last record that was read."""
        self._changes: dict[Path, Change | None] = {}
        self._inodes = {day.path: _inode(day.path) for day in days}
        self._replaced: set[Path] = set()
        self._last_places: dict[str, tuple[int, int]] = {}

    def changed(self, logs: Path) -> list[Path]:
        """Return the files that may have grown since the last call, in the order of their names."""
        files = list_files(logs)
        for deleted in self.last_ids.keys() - files:
            del self.last_ids[deleted]
        for path in files:
            inode = _inode(path)
            if self._inodes.get(path, inode) != inode:  # the sink set the old one aside
                self.last_ids.pop(path, None)
                self._replaced.add(path)
            self._inodes[path] = inode
        # Read before the file itself: a change in between is then seen twice instead of never.
        changes = {path: _last_change(path) for path in files}
        changed = [
            path
            for path in files
            if changes[path] is None or changes[path] != self._changes.get(path)
        ]
        self._changes = changes
        return changed

    def note(self, node: str, offset: int, idx: int) -> None:
        """Note that a record of a journal, and what the journal has before it, was read."""
        self._last_places[node] = max(self._last_places.get(node, (0, -1)), (offset, idx))

    def unseen(self, path: Path, some: list[Found]) -> list[Found]:
        """Return the records of a file that were not read before, and note them.

        The sink stores records again in the place of a file that it has set aside.
        """
        if path in self._replaced:
            some = [
                each
                for each in some
                if (each.record.offset, each.record.idx) > self._last_places.get(each.node, (0, -1))
            ]
        if some:
            last = some[-1]
            self.note(last.node, last.record.offset, last.record.idx)
        return some


def newest(
    logs: Path,
    query: Node,
    count: int,
    unread: Unread | None = None,
    progress: Progress | None = None,
) -> tuple[list[Found], TailPosition]:
    """Return the newest matching records, oldest first, and the position where `follow` continues.

    Args:
        unread, progress: as in `search`.
    """
    days = read_days(logs, unread=unread)
    progress = progress or Progress()
    progress.total = sum(day.last_id for day in days)
    merged = merge_days(days, query, progress, newest_first=True, unread=unread)
    rows: list[Row] = list(islice(merged, count))
    return [found(row) for row in reversed(rows)], TailPosition(days)


def follow(
    logs: Path,
    query: Node,
    position: TailPosition,
    pause: Callable[[float], object] = time.sleep,
    unread: Unread | None = None,
) -> Iterator[list[Found]]:
    """Yield what arrives after the position, in batches, in order of arrival, without end.

    Args:
        pause: called with `INTERVAL` whenever there is nothing new.
        unread: as in `search`.
    """
    if (last := last_arrival(logs, unread)) is not None:
        position.note(*last)
    while True:
        any_new = False
        for batch in read_new(logs, query, position, unread):
            any_new = True
            yield batch
        if not any_new:
            pause(INTERVAL)


def read_new(
    logs: Path,
    query: Node,
    position: TailPosition,
    unread: Unread | None = None,
    *,
    at_most: int | None = None,
    skipped: Callable[[int], object] = lambda _: None,
) -> Iterator[list[Found]]:
    """Yield what has arrived after the position, in batches, in order of arrival.

    The position is moved when the iterator is at its end.

    Args:
        unread: as in `search`.
        at_most: of more new records in a file, only the newest are looked at.
        skipped: gets the number of the others.
    """
    for path in position.changed(logs):
        yield from _read(path, query, position, unread, at_most, skipped)


def missed(
    logs: Path,
    query: Node,
    place: tuple[str, int, int],
    unread: Unread | None = None,
    *,
    at_most: int = 20_000,
    skipped: Callable[[int], object] = lambda _: None,
) -> Iterator[list[Found]]:
    """Yield what arrived after a record, in batches, in order of arrival, up to now.

    Args:
        place: node, offset and number of the record. If it is gone, nothing is yielded.
        unread: as in `search`.
        at_most, skipped: as in `read_new`.
    """
    days = read_days(logs, unread=unread)
    position = TailPosition(days)
    ends = dict(position.last_ids)
    behind = False
    for day in days:
        with unless_gone(day.path, unread), closing(open_day(day.path)) as connection:
            layout = read_layout(connection)
            key = entry_of(connection, layout, *place)
            if key is not None:
                position.last_ids[day.path], behind = key, True
            elif behind and begins_after(connection, layout, *place[:2]):
                position.last_ids[day.path] = 0
    for path in ends:
        if position.last_ids[path] < ends[path]:
            yield from _read(path, query, position, unread, at_most, skipped)


def last_arrival(logs: Path, unread: Unread | None = None) -> tuple[str, int, int] | None:
    """Return node, offset and number of the record that arrived last; None if there is none.

    Args:
        unread: as in `search`.
    """
    last: tuple[float, str, int, int] | None = None
    for path in list_files(logs):
        with unless_gone(path, unread), closing(open_day(path)) as connection:
            layout = read_layout(connection)
            row = connection.execute(
                f"SELECT received, node, offset, idx FROM {layout.source}"  # noqa: S608 our own text
                f" ORDER BY {layout.id} DESC LIMIT 1"
            ).fetchone()
            if row is not None and (last is None or row[0] >= last[0]):
                last = row
    return None if last is None else last[1:]


def _read(
    path: Path,
    query: Node,
    position: TailPosition,
    unread: Unread | None,
    at_most: int | None,
    skipped: Callable[[int], object],
) -> Iterator[list[Found]]:
    with unless_gone(path, unread), closing(open_day(path)) as connection:
        layout = read_layout(connection)
        connection.execute("BEGIN")
        sql = f"SELECT max({layout.id}) FROM {layout.table}"  # noqa: S608 our own text
        [(last,)] = connection.execute(sql)
        known = position.last_ids.get(path, 0)
        if last is None or last <= known:
            return
        if at_most is not None and last - known > at_most:
            skipped(last - known - at_most)
            known = position.last_ids[path] = last - at_most
        narrowing = Narrowing(connection, layout, query)
        wanted, is_wanted = narrowing.condition, compile_query(narrowing.rest)
        rows = connection.execute(
            f"SELECT {COLUMN_LIST} FROM {layout.source} WHERE {layout.id} > ? AND {layout.id} <= ?"  # noqa: S608
            f" AND {wanted.sql} ORDER BY {layout.id}",
            (known, last, *wanted.parameters),
        )
        while batch := rows.fetchmany(BATCH):
            some = [found(row) for row in filter(is_wanted, checked(batch))]
            if new := position.unseen(path, some):
                yield new
        position.last_ids[path] = last


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _last_change(path: Path) -> Change | None:
    """Return when the file and its write-ahead log changed, and their lengths.

    None means that one of them has changed within the last `SETTLED` seconds.
    """
    change: list[tuple[int, int]] = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        try:
            status = file.stat()
        except OSError:
            continue
        if not status.st_size:
            continue  # an empty log, which opening the file for reading may have created
        if time.time() - status.st_mtime < SETTLED:
            return None
        change.append((status.st_mtime_ns, status.st_size))
    return tuple(change)
