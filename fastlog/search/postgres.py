"""Search over a PostgreSQL store: a query → records in order, or their number.

`postgres_rows.py` reads the rows, `postgres_narrowing.py` says what SQL leaves out of them.
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
from fastlog.query import COLUMNS, Node
from fastlog.query.fields import TEXTS
from fastlog.search.around import Identity
from fastlog.search.day_reader import Unread
from fastlog.search.grouping import Group, Grouping
from fastlog.search.groups import common_step
from fastlog.search.narrowing import Clause
from fastlog.search.postgres_live import Position, PostgresArrivals, missed, read_cursors
from fastlog.search.postgres_narrowing import PostgresNarrowing
from fastlog.search.postgres_pool import Pool
from fastlog.search.postgres_rows import RowReader, is_at, key_of
from fastlog.search.progress import Progress
from fastlog.search.rows import Row
from fastlog.search.spans import Span
from fastlog.search.stream import Found, found
from fastlog.search.totals import add
from fastlog.sinks.postgres_connection import Connection, parse_url

RETRY_INTERVAL: Final = 1.0
"""Seconds between two attempts to make a lost connection again."""
_BEGIN: Final = "begin"
"""The key of a bar of a histogram, beside the columns."""
log = logging.getLogger(__name__)


class PostgresStore:
    """The records in a database. Threads may share it.

    Args:
        keep: How many connections stay open between two questions.

    Raises:
        ConfigError: The URL is wrong.
    """

    def __init__(self, url: SplitResult, keep: int = 0) -> None:
        self._target = parse_url(url)
        self._pool = Pool(self._target, keep)

    def close(self) -> None:
        """Close the connections that are kept. The store may be asked again."""
        self._pool.close()

    def search(
        self,
        query: Node,
        *,
        newest_first: bool = False,
        unread: Unread | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Found]:
        """Yield the records that match, in order of `created`; equal ones of a journal by arrival.

        Raises:
            FastlogError: The database cannot be read.
        """
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
        """Count the records that match: for each grouping, the number of records of each group."""
        progress = progress or Progress()
        totals: list[Counter[Group]] = [Counter() for _ in groupings]
        with self._pool.connected(progress) as connection:
            progress.total = self._reader(connection, progress).estimate()
            counted = self._counted(connection, query, groupings, progress)
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
        """Return the newest matches, oldest first, and the position where `follow` continues."""
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
        """Yield what arrives after the position, in batches, each journal in order, without end.

        A notification of a sink ends a wait at once. A lost connection is made again, without
        limit; one line of the log says so.
        """
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
        """Begin to look for new records again and again."""
        with self._pool.connected(is_own=True) as connection:
            reader = self._reader(connection, Progress())
            yield PostgresArrivals(connection, self._target.schema, reader)

    def last_arrival(self, unread: Unread | None = None) -> Identity | None:
        """Return the place of a record that arrived last; None if there is none."""
        with self._pool.connected() as connection:
            reader = self._reader(connection, Progress())
            for node, end in read_cursors(connection, self._target.schema).items():
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
        """Yield what arrived after a record, in batches, up to now."""
        with self._pool.connected() as connection:
            reader, schema = self._reader(connection, Progress()), self._target.schema
            yield from missed(connection, schema, reader, query, place, at_most, skipped)

    # One record, and the span of all

    def find(
        self, place: Identity, unread: Unread | None = None, progress: Progress | None = None
    ) -> Found | None:
        """Return the record of a place; None if there is none, or if the search must stop."""
        progress = progress or Progress()
        with self._pool.connected(progress) as connection:
            row = next(self._reader(connection, progress).where(is_at(*place)), None)
        return None if row is None else found(row)

    def bounds(
        self, query: Node, unread: Unread | None = None, progress: Progress | None = None
    ) -> Span | None:
        """Return the span of `created` of all records; None if there are none."""
        progress = progress or Progress()
        with self._pool.connected(progress) as connection:
            ends = self._reader(connection, progress).ends()
        return ends and Span(ends[0], Span.up_to(ends[1]).until)

    # Counts

    def _counted(
        self,
        connection: Connection,
        query: Node,
        groupings: Sequence[Grouping],
        progress: Progress,
    ) -> Iterator[tuple[int, Group, int]]:
        """Yield the number of a grouping, a group, and its records. Groups may repeat."""
        narrowing = PostgresNarrowing(query)
        step = common_step(groupings)
        if narrowing.is_exact and not any({*each.columns} & {*TEXTS} for each in groupings):
            yield from self._grouped(connection, narrowing.condition, groupings, step, progress)
            return
        groupers = [grouping.grouper(COLUMNS) for grouping in groupings]
        for row in self._reader(connection, progress).matches(query, newest_first=True):
            begin = None if step is None else int(row[0]) // step * step
            for number, group in enumerate(groupers):
                yield number, group(row, begin), 1

    def _grouped(
        self,
        connection: Connection,
        condition: Clause,
        groupings: Sequence[Grouping],
        step: int | None,
        progress: Progress,
    ) -> Iterator[tuple[int, Group, int]]:
        """Let the database count: one scan for all groupings, each a grouping set."""
        keys = {name: key_of(name) for grouping in groupings for name in grouping.columns}
        if step is not None:
            keys[_BEGIN] = f"(floor(trunc(created) / {step}) * {step})::int8"
        own = [[*each.columns, *(() if each.interval is None else (_BEGIN,))] for each in groupings]
        sets = ", ".join(f"({', '.join(keys[name] for name in names)})" for names in own)
        # Which of the keys a row is not grouped by: so rows are told apart.
        mask = f"GROUPING({', '.join(keys.values())})" if keys else "0"
        selected = "".join(f"{key}, " for key in keys.values())
        rows = self._reader(connection, progress).fetch(
            f"SELECT {selected}{mask}, count(*) FROM {self._target.schema}.records"  # noqa: S608 our own text
            f" WHERE {condition.sql} GROUP BY GROUPING SETS ({sets}) ORDER BY count(*) DESC",
            condition.parameters,
        )
        masks = [[name not in names for name in keys] for names in own]
        groupers = [each.grouper(tuple(keys)) for each in groupings]
        is_known: set[tuple[int, Row]] = set()
        for *row, mask_of_row, records in rows:
            bits = [bool(mask_of_row >> shift & 1) for shift in reversed(range(len(keys)))]
            if not records or (key := (mask_of_row, tuple(row))) in is_known:
                continue  # of two equal sets
            is_known.add(key)
            begin = None if step is None else row[-1]
            for number, group in enumerate(groupers):
                if masks[number] == bits:
                    yield number, group(row, begin), records

    def _reader(self, connection: Connection, progress: Progress) -> RowReader:
        return RowReader(connection, self._target.schema, progress)
