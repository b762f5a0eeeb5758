"""The store of the `postgresql:` sink: questions, and the connections that they use.

`postgres_rows.py` reads the rows, `sinks/postgres_narrowing.py` says what SQL leaves out of them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final
from urllib.parse import SplitResult

from fastlog.errors import FastlogError
from fastlog.query import Node
from fastlog.search.around import Identity
from fastlog.search.day_reader import Unread
from fastlog.search.grouping import Group, Grouping
from fastlog.search.parts import Batch, Part
from fastlog.search.postgres_counting import count_groups
from fastlog.search.postgres_live import (
    Position,
    PostgresArrivals,
    missed,
    read_cursors,
    read_ends,
)
from fastlog.search.postgres_parts import read_journal
from fastlog.search.postgres_pool import Pool
from fastlog.search.postgres_rows import RowReader, is_at
from fastlog.search.progress import Progress
from fastlog.search.record_store import RecordStore
from fastlog.search.spans import Span
from fastlog.search.stream import Found, found
from fastlog.search.totals import add
from fastlog.sinks.postgres_connection import Connection, parse_url

RETRY_INTERVAL: Final = 1.0
"""Seconds between two attempts to make a lost connection again."""
log = logging.getLogger(__name__)


class PostgresStore(RecordStore):
    """The records in a database. Threads may share it.

    Of equal `created`, the records of one journal come in order of arrival. A position has an
    offset for each journal. A part is a journal, as it is stored now.

    Args:
        keep: How many connections stay open between two questions.

    Raises:
        ConfigError: The URL is wrong.
    """

    def __init__(self, url: SplitResult, keep: int = 0) -> None:
        self._target = parse_url(url)
        self._pool = Pool(self._target, keep)

    def close(self) -> None:
        self._pool.close()

    def search(
        self,
        query: Node,
        *,
        newest_first: bool = False,
        unread: Unread | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Found]:
        progress = progress or Progress()
        with self._pool.connected(progress) as connection:
            reader = self._reader(connection, progress)
            progress.total = reader.estimate()
            yield from map(found, reader.matches(query, newest_first=newest_first))

    def count(
        self,
        query: Node,
        groupings: Sequence[Grouping],
        unread: Unread | None = None,
        progress: Progress | None = None,
    ) -> list[Counter[Group]]:
        progress = progress or Progress()
        totals: list[Counter[Group]] = [Counter() for _ in groupings]
        with self._pool.connected(progress) as connection:
            reader = self._reader(connection, progress)
            progress.total = reader.estimate()
            counted = count_groups(connection, self._target.schema, reader, query, groupings)
            for number, group, records in counted:
                add(totals[number], groupings[number], group, records)
            if not progress.must_stop():
                progress.read = progress.total
        return totals

    def newest(
        self,
        query: Node,
        count: int,
        unread: Unread | None = None,
        progress: Progress | None = None,
    ) -> tuple[list[Found], Position]:
        progress = progress or Progress()
        with self._pool.connected(progress) as connection, connection.transaction():
            # Both are of one state of the database.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            position = read_cursors(connection, self._target.schema)
            rows = self._reader(connection, progress).matches(query, newest_first=True)
            some = list(islice(rows, count))
        return [found(row) for row in reversed(some)], position

    def follow(
        self,
        query: Node,
        position: Position,
        pause: Callable[[float], object],
        unread: Unread | None = None,
    ) -> Iterator[list[Found]]:
        # A lost connection is made again, without limit.
        is_lost = False
        while True:
            try:
                with self.arrivals() as arrivals:
                    is_lost = False
                    while True:
                        yield from arrivals.read(query, position, unread)
                        pause(0)
                        arrivals.wait(pause)
            except FastlogError as error:
                if not is_lost:
                    log.warning("%s; trying again", error)
                is_lost = True
                pause(RETRY_INTERVAL)

    @contextmanager
    def arrivals(self) -> Iterator[PostgresArrivals]:
        with self._pool.connected(is_own=True) as connection:
            reader = self._reader(connection, Progress())
            yield PostgresArrivals(connection, self._target.schema, reader)

    def last_arrival(self, unread: Unread | None = None) -> Identity | None:
        with self._pool.connected() as connection:
            reader = self._reader(connection, Progress())
            for node, end in read_ends(connection, self._target.schema).items():
                if (place := reader.last_place(node, end)) is not None:
                    return (node, *place)
        return None

    def missed(
        self,
        query: Node,
        place: Identity,
        unread: Unread | None = None,
        *,
        at_most: int,
        skipped: Callable[[int], object],
    ) -> Iterator[list[Found]]:
        with self._pool.connected() as connection:
            reader, schema = self._reader(connection, Progress()), self._target.schema
            yield from missed(connection, schema, reader, query, place, at_most, skipped)

    # One record, and the span of all

    def find(
        self, place: Identity, unread: Unread | None = None, progress: Progress | None = None
    ) -> Found | None:
        progress = progress or Progress()
        with self._pool.connected(progress) as connection:
            row = next(self._reader(connection, progress).where(is_at(*place)), None)
        return None if row is None else found(row)

    def bounds(
        self, query: Node, unread: Unread | None = None, progress: Progress | None = None
    ) -> Span | None:
        progress = progress or Progress()
        with self._pool.connected(progress) as connection:
            ends = self._reader(connection, progress).ends()
        return ends and Span(ends[0], Span.up_to(ends[1]).until)

    # Parts, for an export

    def parts(self, query: Node, unread: Unread | None = None) -> list[Part]:
        with self._pool.connected() as connection:
            ends = read_ends(connection, self._target.schema)
        return [Part(*end) for end in sorted(ends.items())]

    def read_part(
        self,
        part: Part,
        position: int,
        query: Node,
        progress: Progress,
        unread: Unread | None = None,
    ) -> Iterator[Batch]:
        with self._pool.connected(progress) as connection:
            reader = self._reader(connection, progress)
            yield from read_journal(reader, self._target.schema, part, position, query, progress)

    def _reader(self, connection: Connection, progress: Progress) -> RowReader:
        return RowReader(connection, self._target.schema, progress)
