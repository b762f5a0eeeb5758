"""The newest records, and then those that arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from fastlog.query.days import Day, list_files, open_file, read_days, unless_gone
from fastlog.query.filters import Filters, clauses
from fastlog.query.stream import LIST, Found, Row, found, merge_days

INTERVAL = 0.2
"""Seconds between two looks at the newest file."""
BATCH = 500
"""Records at once, so that a burst is not held in memory."""


class Mark:
    """How far the files were read: rows up to `rowid` of `path`, and all files before it."""

    def __init__(self, days: list[Day]) -> None:
        self.path = days[-1].path if days else None
        self.rowid = days[-1].rowid if days else 0


def newest(logs: Path, filters: Filters, count: int) -> tuple[list[Found], Mark]:
    """The newest matching records, oldest first, and the mark from which `follow` goes on."""
    days = read_days(logs)
    rows: list[Row] = list(islice(merge_days(days, filters, newest_first=True), count))
    return [found(row) for row in reversed(rows)], Mark(days)


def follow(
    logs: Path,
    filters: Filters,
    mark: Mark,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[list[Found]]:
    """What arrives after the mark, batch by batch in order of arrival, for ever.

    Args:
        pause: called with `INTERVAL` whenever there is nothing new.
    """
    while True:
        # The list is taken before its files are read: a server begins a new file only when it has
        # left the one before, so all but the last of them are complete by then.
        # Retention deletes the oldest first: where the marked one is gone, all others are newer.
        files = list_files(logs)
        fresh = False
        for path in files[files.index(mark.path) if mark.path in files else 0 :]:
            if path != mark.path:
                mark.path, mark.rowid = path, 0
            for batch in _read(path, filters, mark):
                fresh = True
                yield batch
        if not fresh:
            pause(INTERVAL)


def _read(path: Path, filters: Filters, mark: Mark) -> Iterator[list[Found]]:
    parts = list(clauses(filters))
    condition = " AND ".join(["rowid > ? AND rowid <= ?", *(part.sql for part in parts)])
    parameters = [value for part in parts for value in part.parameters]
    sql = f"SELECT {LIST} FROM records WHERE {condition} ORDER BY rowid"  # noqa: S608 our own text
    with unless_gone(path), closing(open_file(path)) as connection:
        (last,) = connection.execute("SELECT max(rowid) FROM records").fetchone()
        if last is None or last <= mark.rowid:
            return
        cursor = connection.execute(sql, (mark.rowid, last, *parameters))
        while rows := cursor.fetchmany(BATCH):
            yield [found(row) for row in rows]
        mark.rowid = last
