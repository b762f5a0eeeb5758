"""Search over a PostgreSQL store: a query → records in order, or their number.

Records come in pages, each by a statement of its own that begins behind the last record of the page
before. So no transaction stays open while a user reads, and nothing that the sinks or the retention
do has to wait for a search.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import islice
from operator import itemgetter
from typing import Any, Final
from urllib.parse import SplitResult
from uuid import UUID

import msgspec

from fastlog.errors import FastlogError, NewerSchemaError
from fastlog.query import COLUMNS, Node, compile_query
from fastlog.query.fields import TEXTS
from fastlog.query.tree import columns_of
from fastlog.search.day_reader import Unread
from fastlog.search.grouping import Group, Grouping
from fastlog.search.groups import common_step
from fastlog.search.narrowing import Clause, all_of
from fastlog.search.postgres_narrowing import PostgresNarrowing
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
from fastlog.sinks.postgres_schema import read_version

_EXTRA: Final = COLUMNS.index("extra")
_ORDER: Final = ("created_at", "created", "node", '"offset"', "idx")
"""The order of the stream: by `created`, then by arrival. `created_at`, which has the index, rises
with `created`."""
_PLACE: Final = ("created", "node", "offset", "idx")
"""The columns that say where a row is in the stream."""
_WHOLE: Final = 200
"""Rows that are read again at once."""
_LOOK: Final = 500
"""Rows between two looks at whether a search must stop."""
_PAGES: Final = (200, 2_000, 20_000)
"""Rows of the first pages, and of all later ones."""
INTERVAL: Final = 0.5
"""Seconds between two looks for new records where no notification comes, as behind pgbouncer."""
_BATCH: Final = 500
"""Records of one batch of `follow`."""
_WATCH: Final = 0.05
"""Seconds between two looks at whether a search must stop."""

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
        """Yield the records that match, in order of `created`; of equal ones by journal, and in a
        journal by arrival.

        Raises:
            FastlogError: The database cannot be read.
        """
        progress = progress or Progress()
        with self._connected() as connection:
            progress.total = self._estimate(connection)
            rows = self._rows(connection, query, progress, newest_first=newest_first)
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
            rows = self._rows(connection, query, progress, newest_first=True)
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

        A notification of a sink ends a wait at once.
        """
        narrowing = PostgresNarrowing(query)
        is_wanted = compile_query(narrowing.rest)
        with self._connected() as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            while True:
                for node, end in self._cursors(connection).items():
                    begin = position.get(node, 0)
                    if end > begin:
                        some = self._arrived(connection, narrowing.condition, node, begin, end)
                        rows = filter(is_wanted, some)
                        while batch := [found(row) for row in islice(rows, _BATCH)]:
                            yield batch
                    position[node] = end
                pause(0)
                for _ in connection.notifies(timeout=INTERVAL, stop_after=1):
                    pass

    # Rows

    def _rows(
        self, connection: Connection, query: Node, progress: Progress, *, newest_first: bool
    ) -> Iterator[Row]:
        """Yield the matching rows in order, page by page."""
        narrowing = PostgresNarrowing(query)
        # Where SQL leaves much to decide, only the columns that this needs are read at first.
        needed = columns_of(narrowing.rest) if narrowing.is_wide else {*COLUMNS}
        columns = [name for name in COLUMNS if name in needed | {*_PLACE}]
        is_wanted = compile_query(narrowing.rest, columns)
        direction = " DESC" if newest_first else ""
        order = ", ".join(f"{name}{direction}" for name in _ORDER)
        behind, page = Clause("true"), 0
        while not progress.must_stop():
            limit = _PAGES[min(page, len(_PAGES) - 1)]
            where = all_of([narrowing.condition, behind])
            rows = self._fetch(
                connection,
                progress,
                f"SELECT {_selected(columns)}, created_at FROM {self._target.schema}.records"  # noqa: S608 our own text
                f" WHERE {where.sql} ORDER BY {order} LIMIT {limit}",
                where.parameters,
            )
            wanted = self._wanted(rows, columns, is_wanted, progress)
            if len(columns) == len(COLUMNS):
                yield from (row for row, _ in wanted)
            else:
                while some := list(islice(wanted, _WHOLE)):
                    yield from self._whole(connection, progress, columns, some)
            if len(rows) < limit:
                return
            behind, page = _behind(columns, rows[-1], newest_first=newest_first), page + 1

    def _wanted(
        self,
        rows: Sequence[Sequence[Any]],
        columns: Sequence[str],
        is_wanted: Callable[[Sequence[Any]], bool],
        progress: Progress,
    ) -> Iterator[tuple[Row, datetime]]:
        """Yield the rows of a page that match, each with its `created_at`."""
        extra = columns.index("extra") if "extra" in columns else None
        for count, (*row, created_at) in enumerate(rows):
            if count % _LOOK == 0 and progress.must_stop():
                return
            progress.read += 1
            complete = row if extra is None else _with_compact(row, extra)
            if is_wanted(complete):
                yield tuple(complete), created_at

    def _whole(
        self,
        connection: Connection,
        progress: Progress,
        columns: Sequence[str],
        some: Sequence[tuple[Row, datetime]],
    ) -> Iterator[Row]:
        """Yield the whole rows of some of which a part was read, in the same order."""
        place = itemgetter(*(columns.index(name) for name in _PLACE))
        rows = self._fetch(
            connection,
            progress,
            f"SELECT {_selected(COLUMNS)} FROM {self._target.schema}.records"  # noqa: S608 our own text
            " WHERE created_at = ANY(%s)",
            ([created_at for _, created_at in some],),
        )
        place_of_whole = itemgetter(*(COLUMNS.index(name) for name in _PLACE))
        whole = {place_of_whole(row): row for row in rows}
        for row, _ in some:
            if (found := whole.get(place(row))) is not None:  # retention may have dropped it
                yield tuple(_with_compact(found, _EXTRA))

    def _arrived(
        self, connection: Connection, condition: Clause, node: str, begin: int, end: int
    ) -> Iterator[Row]:
        """Yield the rows of the blocks of a journal between two offsets, in order."""
        place = 'node = %s AND "offset" >= %s AND "offset" < %s'
        where = all_of([condition, Clause(place, (UUID(node), begin, end))])
        rows = connection.execute(
            f"SELECT {_selected(COLUMNS)} FROM {self._target.schema}.records"  # noqa: S608 our own text
            f' WHERE {where.sql} ORDER BY "offset", idx',
            where.parameters,
            binary=True,
        )
        return (tuple(_with_compact(row, _EXTRA)) for row in rows)

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
        names = sorted({name for grouping in groupings for name in grouping.columns})
        step = common_step(groupings)
        if not narrowing.is_exact or {*names} & {*TEXTS}:
            columns: Sequence[str] = COLUMNS
            rows: Iterator[Any] = (
                (row, None if step is None else int(row[0]) // step * step, 1)
                for row in self._rows(connection, query, progress, newest_first=True)
            )
        else:
            columns = names
            rows = iter(self._group(connection, narrowing.condition, names, step, progress))
        groupers = [grouping.grouper(columns) for grouping in groupings]
        for row, begin, records in rows:
            for number, group in enumerate(groupers):
                yield number, group(row, begin), records

    def _group(
        self,
        connection: Connection,
        condition: Clause,
        names: Sequence[str],
        step: int | None,
        progress: Progress,
    ) -> list[tuple[Row, int | None, int]]:
        """Return the values of these columns, the begin of a step, and the number of records."""
        begin = "NULL" if step is None else f"(floor(trunc(created) / {step}) * {step})::int8"
        keys = [*(_key(name) for name in names), begin]
        rows = self._fetch(
            connection,
            progress,
            f"SELECT {', '.join(keys)}, count(*) FROM {self._target.schema}.records"  # noqa: S608 our own text
            f" WHERE {condition.sql} GROUP BY {', '.join(map(str, range(1, len(keys) + 1)))}"
            " ORDER BY count(*) DESC",
            condition.parameters,
        )
        return [(row[:-2], row[-2], row[-1]) for row in rows]

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
                if read_version(connection, self._target) is None:
                    raise FastlogError(self._nothing())
                yield connection
            except NewerSchemaError:
                raise
            except psycopg.Error as error:
                text = self._nothing() if is_missing(error) else f"{label}: {one_line(error)}"
                raise FastlogError(text) from error

    def _nothing(self) -> str:
        return (
            f"{self._target.label}: no sink has stored records in its schema "
            f"{self._target.schema} yet"
        )

    def _fetch(
        self, connection: Connection, progress: Progress, sql: str, parameters: Sequence[object]
    ) -> list[Any]:
        """Return the rows of a statement; none if the search must stop before it has ended."""
        with _cancelled_by(progress, connection):
            try:
                return connection.execute(sql, parameters, binary=True).fetchall()
            except psycopg.errors.QueryCanceled:
                if progress.stopped is None:
                    raise
                return []

    def _estimate(self, connection: Connection) -> int:
        """Return about how many records there are, as PostgreSQL has counted last."""
        row = connection.execute(
            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::int8 FROM pg_inherits"
            " JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = to_regclass(%s)",
            (f"{self._target.schema}.records",),
        ).fetchone()
        return 0 if row is None else int(row[0])


def _key(name: str) -> str:
    return "replace(node::text, '-', '')" if name == "node" else f'"{name}"'


def _selected(columns: Sequence[str]) -> str:
    """Return the columns for a SELECT, as other stores have them."""
    return ", ".join("extra::text" if name == "extra" else _key(name) for name in columns)


def _with_compact(row: Sequence[Any], extra: int) -> Sequence[Any]:
    """Return a row whose `extra` is compact JSON, as other stores have it."""
    text = row[extra]
    if text == "{}":
        return row
    return (*row[:extra], msgspec.json.format(text, indent=-1), *row[extra + 1 :])


def _behind(columns: Sequence[str], row: Sequence[Any], *, newest_first: bool) -> Clause:
    """Return the condition of the rows that come behind one, in the order of the stream."""
    named = dict(zip((*columns, "created_at"), row, strict=True))
    sign = "<" if newest_first else ">"
    stamp = named["created_at"]
    place = (stamp, named["created"], UUID(named["node"]), named["offset"], named["idx"])
    return Clause(
        f"created_at {sign}= %s AND ({', '.join(_ORDER)}) {sign} (%s, %s, %s, %s, %s)",
        (stamp, *place),
    )


@contextmanager
def _cancelled_by(progress: Progress, connection: Connection) -> Iterator[None]:
    """Cancel the statement of the body when the search must stop."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_WATCH):
            if progress.must_stop():
                connection.cancel_safe()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
