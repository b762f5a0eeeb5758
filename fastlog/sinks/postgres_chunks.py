"""Chunks and counts: the search structures of a PostgreSQL store, made soon after the rows.

A chunk covers records of one journal and day: `text` is their text as that of a chunk of a day file
(`day_chunks.py`), `keys` has `created`, offset and number of each, both compressed. The records of
chunks are in `counts` by minute, level and logger, and in `host_counts` by minute and host. What
has an offset below the largest "end" of the chunks of its journal is covered; readers look at the
other rows one by one.

A sink reads the rows back, in the background: only the database knows what a `jsonb` is printed as,
what a trigger has changed, and what was erased meanwhile. The chunks of a span of a journal, and
their counts, are of one transaction with the cursor that it was below of. While much is stored,
this takes at most a share of the time.
"""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import chain, groupby
from typing import Any, Final
from uuid import UUID

import msgspec

from fastlog import zstd
from fastlog.decode.copy_rows import received_day
from fastlog.record import Record
from fastlog.sinks.day_chunks import CHUNK_BYTES, CHUNK_ENTRIES, LEVEL, MINUTE
from fastlog.sinks.day_rows import text_of
from fastlog.sinks.postgres_background import Background
from fastlog.sinks.postgres_connection import Connection, Target, own_transaction
from fastlog.sinks.postgres_summaries import OffsetSummaries

INTERVAL: Final = 5.0
"""Seconds between two looks for records that no chunk covers, while there are few."""
OTHERS_INTERVAL: Final = 600.0
"""Seconds between two looks for journals that no server stores any more."""
SPAN: Final = 1 << 20
"""Bytes of a journal that are covered at once: with frames of 600 bytes, about a chunk."""
AT_ONCE: Final = 16
"""Spans that one transaction reads and covers, at most; and so many are too many to wait."""
BUSY: Final = 5000
"""Records of one look, about a second, from which on making chunks has `SHARE` of the time."""
SHARE: Final = 0.5
KEY: Final = struct.Struct(">dqi")
"""`created`, offset and number of a record."""
COUNTED: Final = {"counts": ("levelno", "levelname", "name"), "host_counts": ("host",)}
"""The tables of counts, and the columns by which each counts."""
FIRST_MINUTE, LAST_MINUTE = 0, 10**9
"""The minutes since the epoch that are counted each by itself. The others are one: NULL."""
_LOCK: Final = 0x666C6368
"""The advisory lock of making chunks; the second key is that of the journal."""

_Row = tuple[Any, ...]


class ChunkBuilder:
    """Makes the chunks of the journal of one sink.

    Args:
        sink: The sink's name, for the log.
        target: The store.
    """

    def __init__(self, sink: str, target: Target) -> None:
        self._target = target
        self.background = Background(sink, target, "make chunks for searches")
        self._summaries = OffsetSummaries(target)
        self._looked_at = float("-inf")
        self._covered: dict[UUID, int] = {}
        self._others_at = float("-inf")
        self._is_busy = False

    def tick(self, now: float, node: UUID, cursor: int, records: int) -> None:
        """Begin to make what is missing, unless that is being done. Does not wait.

        Args:
            now: Seconds of a clock that never goes back.
            cursor: How far the journal is stored.
            records: How many the sink has stored since the last call.
        """
        self._is_busy = records > BUSY
        missing = cursor - self._covered.get(node, 0)
        is_due = now >= self._looked_at + INTERVAL or missing >= AT_ONCE * SPAN
        if self.background.is_running or not is_due:
            return
        self._looked_at = now
        are_others_due = now >= self._others_at + OTHERS_INTERVAL
        if are_others_due:
            self._others_at = now
        if are_others_due or missing >= SPAN:
            self.background.begin(
                lambda connection: self._cover_all(connection, node, with_others=are_others_due)
            )

    def _cover_all(self, connection: Connection, node: UUID, *, with_others: bool) -> None:
        others = self._abandoned(connection) if with_others else []
        for each in dict.fromkeys([node, *others]):
            while self._cover_some(connection, each):
                pass
        self._covered[node] = read_covered(connection, self._target.schema, node)

    def _cover_some(self, connection: Connection, node: UUID) -> bool:
        """Make some chunks, and leave the rest of the time to the sink.

        Returns:
            Whether there may be more to do.
        """
        began = time.monotonic()
        self._summaries.complete(connection)
        has_more = cover(connection, self._target, node)
        took = time.monotonic() - began
        return self.background.pause(took / SHARE - took if self._is_busy else 0) and has_more

    def _abandoned(self, connection: Connection) -> list[UUID]:
        """Return the journals whose servers may never come back to make their chunks."""
        rows = connection.execute(
            f"SELECT node FROM {self._target.schema}.cursors"  # noqa: S608 our own text
            " WHERE updated < now() - interval '1 hour'"
        )
        return [node for (node,) in rows]


def read_covered(connection: Connection, schema: str, node: UUID) -> int:
    """Return up to which offset the records of a journal are covered."""
    row = connection.execute(
        f'SELECT coalesce(max("end"), 0) FROM {schema}.chunks WHERE node = %s',  # noqa: S608 our own text
        (node,),
    ).fetchone()
    return 0 if row is None else int(row[0])


def lock_chunks(connection: Connection, schema: str, node: UUID) -> None:
    """Wait until nobody makes chunks of a journal, and hinder that until the transaction ends."""
    connection.execute(
        "SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, f"{schema} {node}")
    )


def cover(connection: Connection, target: Target, node: UUID, span: int | None = None) -> bool:
    """Make the chunks of the next spans of a journal.

    Args:
        connection: In autocommit mode.
        span: Bytes of the journal; `SPAN` if it is not given.

    Returns:
        Whether there may be more to do.

    Raises:
        psycopg.Error: The database cannot be used.
    """
    schema, span = target.schema, span or SPAN
    with own_transaction(connection, 0, synchronous_commit="off"):
        locked = connection.execute(
            "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, f"{schema} {node}")
        ).fetchone()
        if locked != (True,):
            return False  # another worker of this journal is at it
        begin = read_covered(connection, schema, node)
        # Of this database, not the sink's: what a crash took back is not covered.
        row = connection.execute(
            f'SELECT greatest("offset", imported) FROM {schema}.cursors WHERE node = %s',  # noqa: S608 our own text
            (node,),
        ).fetchone()
        cursor, spans = 0 if row is None else row[0], AT_ONCE
        while cursor - begin >= span:
            end = begin + min((cursor - begin) // span, spans) * span
            if _Spans(connection, schema, node).write(begin, end, span):
                return True
            # Nothing is there: the partitions are gone, or there were only rejections.
            begin, spans = end, spans * 2
    return False


def cover_up_to(connection: Connection, schema: str, node: UUID, end: int) -> None:
    """Make all chunks of a journal that are missing up to an offset, in the caller's transaction.

    It has called `lock_chunks`.
    """
    begin = read_covered(connection, schema, node)
    whole = begin + max(0, end - begin) // SPAN * SPAN
    for first, last in ((begin, whole), (whole, end)):
        if first < last:
            _Spans(connection, schema, node).write(first, last, min(SPAN, last - first))


def cover_added(connection: Connection, schema: str, node: UUID, records: Sequence[Record]) -> None:
    """Make chunks of records that the caller's transaction adds where a journal is covered, or
    after all its others. It has called `lock_chunks`.
    """
    if not records:
        return
    offsets = [record.offset for record in records]
    begin = min(offsets)
    part = connection.execute(
        f"SELECT coalesce(max(part) + 1, 0) FROM {schema}.chunks"  # noqa: S608 our own text
        ' WHERE node = %s AND "begin" = %s',
        (node, begin),
    ).fetchone()
    assert part is not None
    rows = list(_rows_of(connection, records))
    _Spans(connection, schema, node).add(begin, max(offsets) + 1, rows, part[0])


def _rows_of(connection: Connection, records: Sequence[Record]) -> Iterator[_Row]:
    """Yield records as `_Spans` reads them: `extra` as PostgreSQL writes it."""
    extras = connection.execute(
        "SELECT extra::jsonb::text FROM unnest(%b::text[]) WITH ORDINALITY u(extra, n) ORDER BY n",
        ([record.extra for record in records],),
        binary=True,
    ).fetchall()
    for each, (extra,) in zip(records, extras, strict=True):
        yield (
            *(each.created, each.offset, each.idx, received_day(each)),
            *(each.levelno, each.levelname, each.name, each.host),
            *(each.message, each.exc_text, each.stack_info, extra),
        )


class _Spans:
    """Consecutive spans of a journal that are being covered."""

    def __init__(self, connection: Connection, schema: str, node: UUID) -> None:
        self._connection, self._schema, self._node = connection, schema, node
        self._counts: dict[str, Counter[tuple[Any, ...]]] = {table: Counter() for table in COUNTED}

    def write(self, begin: int, end: int, span: int) -> bool:
        """Write the chunks, and the counts of their records; return whether there are any."""
        place = begin
        for number, rows in groupby(self._rows(begin, end), lambda row: (row[1] - begin) // span):
            place = begin + number * span
            self._write_span(place, place + span, list(rows))
        for table, counts in self._counts.items():
            self._write_counts(table, counts)
        return any(self._counts.values())

    def add(self, begin: int, end: int, rows: list[_Row], part: int) -> None:
        """Write the chunks and counts of other rows.

        Args:
            part: The number of the first chunk of those that begin here.
        """
        self._write_span(begin, end, rows, part)
        for table, counts in self._counts.items():
            self._write_counts(table, counts)

    def _rows(self, begin: int, end: int) -> Iterator[_Row]:
        """Yield the rows of the spans in order; some are in memory."""
        counted = chain.from_iterable(COUNTED.values())
        columns = ", ".join((*counted, "message", "exc_text", "stack_info", "extra::text"))
        with self._connection.cursor("chunk", binary=True) as cursor:
            cursor.itersize = CHUNK_ENTRIES
            cursor.execute(
                f'SELECT created, "offset", idx, received_at::date, {columns}'  # noqa: S608 our own text
                f' FROM {self._schema}.records WHERE node = %s AND "offset" >= %s'
                ' AND "offset" < %s ORDER BY "offset", idx',
                (self._node, begin, end),
            )
            yield from cursor

    def _write_span(self, begin: int, end: int, rows: list[_Row], part: int = 0) -> None:
        of_days: dict[date, list[_Row]] = {}
        for row in rows:
            of_days.setdefault(row[3], []).append(row)
        for day, some in of_days.items():
            for chunk in _divided(some):
                self._write_chunk((self._node, begin, part, end, day), chunk)
                part += 1

    def _write_chunk(self, place: tuple[object, ...], rows: Sequence[_Row]) -> None:
        created, offsets, numbers, days, *columns = zip(*rows, strict=True)
        *levels, host, message, exc_text, stack_info, extra = columns
        minutes = [minute_of(each) for each in created]
        self._counts["counts"].update(zip(days, minutes, *levels, strict=True))
        self._counts["host_counts"].update(zip(days, minutes, host, strict=True))
        compact = [each if each == "{}" else msgspec.json.format(each, indent=-1) for each in extra]
        keys = b"".join(map(KEY.pack, created, offsets, numbers))
        text = text_of(message, exc_text, stack_info, compact)
        self._connection.execute(
            f'INSERT INTO {self._schema}.chunks (node, "begin", part, "end", day, records,'  # noqa: S608 our own text
            " min_created, max_created, keys, text)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                *(*place, len(rows), min(created), max(created)),
                *(zstd.compress(keys, LEVEL), zstd.compress(text, LEVEL)),
            ),
            binary=True,
        )

    def _write_counts(self, table: str, counts: Counter[tuple[Any, ...]]) -> None:
        names = ", ".join(("day", "minute", *COUNTED[table], "records"))
        statement = f"COPY {self._schema}.{table} ({names}) FROM STDIN"
        with self._connection.cursor().copy(statement) as copy:
            for key, records in counts.items():
                copy.write_row((*key, records))


def _divided(rows: list[_Row]) -> Iterator[list[_Row]]:
    """Yield rows in parts that are each a chunk."""
    some, size = list[_Row](), 0
    for row in rows:
        some.append(row)
        size += len(row[8]) + len(row[9] or "") + len(row[10] or "") + len(row[11])
        if len(some) >= CHUNK_ENTRIES or size >= CHUNK_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def minute_of(created: float) -> int | None:
    """Return the minute under which a time is counted."""
    minute = created // MINUTE
    return int(minute) if FIRST_MINUTE <= minute < LAST_MINUTE else None
