"""The newest records, and then those that arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from fastlog.query.days import Day, Unread, list_files, open_day, read_days, unless_gone
from fastlog.query.filters import Filters, clauses
from fastlog.query.stream import LIST, Found, Row, checked, found, merge_days

INTERVAL = 0.2
"""Seconds between two looks at the files."""
SETTLED = 2.0
"""Seconds after which a file that has not changed is not read again until it does: clocks of file
systems are coarse, so of one that has just changed the time does not tell whether it did again."""
BATCH = 500
"""Records at once, so that a burst is not held in memory."""


Change = tuple[tuple[int, int], ...]


class Mark:
    """How far each file was read.

    Any may grow, not only the last by name: while a server's clock was wrong it may have begun a
    file of some future day, and the next server, with another journal, begins where it should.
    """

    def __init__(self, days: list[Day]) -> None:
        self.rowids = {day.path: day.rowid for day in days}
        """The last row that was read."""
        self._seen: dict[Path, Change | None] = {}
        self._inodes = {day.path: _inode(day.path) for day in days}

    def changed(self, logs: Path) -> list[Path]:
        """The files that may have grown since the last call, in the order of their names."""
        files = list_files(logs)
        for gone in self.rowids.keys() - files:
            del self.rowids[gone]
        for path in files:
            inode = _inode(path)
            if self._inodes.get(path, inode) != inode:  # the sink set the old one aside
                self.rowids.pop(path, None)
            self._inodes[path] = inode
        # Looked at before the file is read: what comes in between is then seen twice, not never.
        found = {path: _last_change(path) for path in files}
        fresh = [
            path for path in files if found[path] is None or found[path] != self._seen.get(path)
        ]
        self._seen = found
        return fresh


def newest(
    logs: Path, filters: Filters, count: int, unread: Unread | None = None
) -> tuple[list[Found], Mark]:
    """The newest matching records, oldest first, and the mark from which `follow` goes on.

    Args:
        unread: as in `search`.
    """
    days = read_days(logs, unread=unread)
    merged = merge_days(days, filters, newest_first=True, unread=unread)
    rows: list[Row] = list(islice(merged, count))
    return [found(row) for row in reversed(rows)], Mark(days)


def follow(
    logs: Path,
    filters: Filters,
    mark: Mark,
    pause: Callable[[float], object] = time.sleep,
    unread: Unread | None = None,
) -> Iterator[list[Found]]:
    """What arrives after the mark, batch by batch in order of arrival, for ever.

    Args:
        pause: called with `INTERVAL` whenever there is nothing new.
        unread: as in `search`.
    """
    while True:
        fresh = False
        for path in mark.changed(logs):
            for batch in _read(path, filters, mark, unread):
                fresh = True
                yield batch
        if not fresh:
            pause(INTERVAL)


def _read(path: Path, filters: Filters, mark: Mark, unread: Unread | None) -> Iterator[list[Found]]:
    parts = list(clauses(filters))
    condition = " AND ".join(["rowid > ? AND rowid <= ?", *(part.sql for part in parts)])
    parameters = [value for part in parts for value in part.parameters]
    sql = f"SELECT {LIST} FROM records WHERE {condition} ORDER BY rowid"  # noqa: S608 our own text
    with unless_gone(path, unread), closing(open_day(path)) as connection:
        (last,) = connection.execute("SELECT max(rowid) FROM records").fetchone()
        known = mark.rowids.get(path, 0)
        if last is None or last <= known:
            return
        cursor = connection.execute(sql, (known, last, *parameters))
        while rows := cursor.fetchmany(BATCH):
            yield [found(row) for row in checked(rows)]
        mark.rowids[path] = last


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _last_change(path: Path) -> Change | None:
    """When the file or its log changed, and how long they are; None while it changes."""
    change: list[tuple[int, int]] = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        try:
            status = file.stat()
        except OSError:
            continue
        if not status.st_size:
            continue  # a log without anything in it, perhaps made by our own look
        if time.time() - status.st_mtime < SETTLED:
            return None
        change.append((status.st_mtime_ns, status.st_size))
    return tuple(change)
