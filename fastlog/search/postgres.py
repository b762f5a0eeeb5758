"""Search over a PostgreSQL store: a query → records in order, or their number.

`postgres_rows.py` reads the rows, `postgres_narrowing.py` says what SQL leaves out of them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import Final
from urllib.parse import SplitResult

from fastlog.errors import FastlogError, NewerSchemaError
from fastlog.query import COLUMNS, Node, compile_query
from fastlog.query.fields import TEXTS
from fastlog.search.day_reader import Unread
from fastlog.search.grouping import Group, Grouping
from fastlog.search.groups import common_step
from fastlog.search.narrowing import Clause
from fastlog.search.postgres_narrowing import PostgresNarrowing
from fastlog.search.postgres_rows import RowReader, key_of
from fastlog.search.progress import Progress
from fastlog.search.rows import Row
from fastlog.search.stream import Found, found
from fastlog.search.totals import add
from fastlog.sinks.postgres_connection import (
    CHANNEL,
    Connection,
    connect,
    is_missing,
    one_line,
    parse_url,
    psycopg,
)
from fastlog.sinks.postgres_schema import VERSION, read_version

INTERVAL: Final = 0.5
"""Seconds between two looks for new records where no notification comes, as behind pgbouncer."""
RETRY_INTERVAL: Final = 1.0
"""Seconds between two attempts to make a lost connection again."""
_BEGIN: Final = "begin"
"""The key of a bar of a histogram, beside the columns."""
_BATCH: Final = 500
"""Records of one batch of `follow`."""
log = logging.getLogger(__name__)

Position = dict[str, int]
"""For each journal, the offset up to which its records were seen."""


class PostgresStore:
    """The records in a database.

    Raises:
        ConfigError: The URL is wrong.
    """

    def __init__(self, url: SplitResult) -> None:
        self._target = parse_url(url)

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
        with self._connected() as connection:
            progress.total = self._estimate(connection)
            rows = self._reader(connection, progress).matches(query, newest_first=newest_first)
            yield from map(found, rows)

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
        with self._connected() as connection:
            progress.total = self._estimate(connection)
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
        with self._connected() as connection, connection.transaction():
            # Both are of one state of the database.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            position = self._cursors(connection)
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
                with self._connected() as connection:
                    is_lost = False
                    yield from self._follow(connection, query, position, pause)
            except FastlogError as error:
                if not is_lost:
                    log.warning("%s; trying again", error)
                is_lost = True
                pause(RETRY_INTERVAL)

    def _follow(
        self,
        connection: Connection,
        query: Node,
        position: Position,
        pause: Callable[[float], object],
    ) -> Iterator[list[Found]]:
        narrowing = PostgresNarrowing(query)
        is_wanted = compile_query(narrowing.rest)
        reader = self._reader(connection, Progress())
        connection.execute(f"LISTEN {CHANNEL}")
        while True:
            for node, end in self._cursors(connection).items():
                begin = position.get(node, 0)
                if end > begin:
                    some = reader.arrived(narrowing.condition, node, begin, end)
                    rows = filter(is_wanted, some)
                    while batch := [found(row) for row in islice(rows, _BATCH)]:
                        yield batch
                position[node] = end
            pause(0)
            for _ in connection.notifies(timeout=INTERVAL, stop_after=1):
                pass

    def _cursors(self, connection: Connection) -> Position:
        rows = connection.execute(
            f"SELECT replace(node::text, '-', ''), \"offset\" FROM {self._target.schema}.cursors"  # noqa: S608 our own text
        )
        return dict(rows.fetchall())

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

    # Connections

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """Connect for the body, and turn its errors into one line.

        Raises:
            FastlogError: The database cannot be reached, has no records of fastlog, or of a newer
                one.
        """
        label = self._target.label
        with closing(connect(self._target)) as connection:
            try:
                version = read_version(connection, self._target)
                if version is None:
                    raise FastlogError(self._nothing())
                if version < VERSION:
                    raise FastlogError(
                        f"{label}: its schema {self._target.schema} has version {version}, and "
                        f"this fastlog reads version {VERSION}; a server of this version with "
                        "that sink migrates it when it starts"
                    )
                yield connection
            except NewerSchemaError:
                raise
            except psycopg.Error as error:
                text = self._nothing() if is_missing(error) else f"{label}: {one_line(error)}"
                raise FastlogError(text) from error

    def _reader(self, connection: Connection, progress: Progress) -> RowReader:
        return RowReader(connection, self._target.schema, progress)

    def _nothing(self) -> str:
        return (
            f"{self._target.label}: no sink has stored records in its schema "
            f"{self._target.schema} yet"
        )

    def _estimate(self, connection: Connection) -> int:
        """Return about how many records there are, as PostgreSQL has counted last."""
        row = connection.execute(
            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::int8 FROM pg_inherits"
            " JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = to_regclass(%s)",
            (f"{self._target.schema}.records",),
        ).fetchone()
        return 0 if row is None else int(row[0])
