"""Chunks and counts: the search structures of a PostgreSQL store, made when the sink has time.

A chunk covers records of one journal and day: `text` is their text as that of a chunk of a day file
(`day_chunks.py`), `keys` has `created`, offset and number of each, both compressed. The records of
chunks are in `counts` by minute, level and logger, and in `host_counts` by minute and host. What
has an offset below the largest "end" of the chunks of its journal is covered; readers look at the
other rows one by one.

A sink reads the rows back, by a connection of its own, in a thread. The chunks of a span of a
journal, and their counts, are of one transaction with the cursor that it was below of.
"""

from __future__ import annotations

import logging
import struct
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import date
from itertools import chain
from typing import Any, Final
from uuid import UUID

import msgspec

from fastlog import zstd
from fastlog.decode.copy_rows import received_day
from fastlog.errors import ConfigError, SinkUnavailableError
from fastlog.record import Record
from fastlog.sinks.day_chunks import CHUNK_BYTES, CHUNK_ENTRIES, LEVEL, MINUTE
from fastlog.sinks.day_rows import text_of
from fastlog.sinks.postgres_connection import (
    LOCK_SECONDS,
    Connection,
    Target,
    connect,
    local_settings,
    one_line,
    psycopg,
)

log = logging.getLogger(__name__)

INTERVAL: Final = 5.0
"""Seconds between two looks for records that no chunk covers."""
OTHERS_INTERVAL: Final = 600.0
"""Seconds between two looks for journals that no server stores any more."""
SPAN: Final = 1 << 20
"""Bytes of a journal that are covered at once: with frames of 600 bytes, about a chunk."""
BUSY: Final = 5000
"""Records of one look, about a second, from which on the sink has no time."""
KEY: Final = struct.Struct(">dqi")
"""`created`, offset and number of a record."""
COUNTED: Final = {"counts": ("levelno", "levelname", "name"), "host_counts": ("host",)}
"""The tables of counts, and the columns by which each counts."""
FIRST_MINUTE, LAST_MINUTE = 0, 10**9
"""The minutes since the epoch that are counted each by itself. The others are one: NULL."""
_FETCHED: Final = 500
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
        self._sink, self._target = sink, target
        self._thread: threading.Thread | None = None
        self._looked_at = float("-inf")
        self._covered: dict[UUID, int] = {}
        self._others_at = float("-inf")
        self._is_busy = False
        self._warned = ""

    def tick(self, now: float, node: UUID, cursor: int, records: int) -> None:
        """Begin to make what is missing, unless there is no time. Does not wait.

        Args:
            now: Seconds of a clock that never goes back.
            cursor: How far the journal is stored.
            records: How many the sink has stored since the last call.
        """
        self._is_busy = records > BUSY
        is_running = self._thread is not None and self._thread.is_alive()
        if is_running or self._is_busy or now < self._looked_at + INTERVAL:
            return
        self._looked_at = now
        are_others_due = now >= self._others_at + OTHERS_INTERVAL
        if are_others_due:
            self._others_at = now
        if are_others_due or cursor - self._covered.get(node, 0) >= SPAN:
            self._thread = threading.Thread(
                target=self._run, args=(node, are_others_due), daemon=True
            )
            self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until the thread has ended, for so many seconds at most."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, node: UUID, with_others: bool) -> None:
        try:
            with closing(connect(self._target)) as connection:
                others = self._abandoned(connection) if with_others else []
                for each in dict.fromkeys([node, *others]):
                    while not self._is_busy and cover(connection, self._target, each):
                        pass
                self._covered[node] = read_covered(connection, self._target, node)
            self._warned = ""
        except (SinkUnavailableError, ConfigError) as error:
            log.debug("sink %s: no chunks now: %s", self._sink, error)
        except psycopg.Error as error:
            text = one_line(error)
            if text != self._warned:
                log.warning("sink %s: cannot make chunks for searches: %s", self._sink, text)
            self._warned = text

    def _abandoned(self, connection: Connection) -> list[UUID]:
        """Return the journals whose servers may never come back to make their chunks."""
        rows = connection.execute(
            f"SELECT node FROM {self._target.schema}.cursors"  # noqa: S608 our own text
            " WHERE updated < now() - interval '1 hour'"
        )
        return [node for (node,) in rows]


def read_covered(connection: Connection, target: Target, node: UUID) -> int:
    """Return up to which offset the records of a journal are covered."""
    row = connection.execute(
        f'SELECT coalesce(max("end"), 0) FROM {target.schema}.chunks WHERE node = %s',  # noqa: S608 our own text
        (node,),
    ).fetchone()
    return 0 if row is None else int(row[0])


def lock_chunks(connection: Connection, schema: str, node: UUID) -> None:
    """Wait until nobody makes chunks of a journal, and hinder that until the transaction ends."""
    connection.execute(
        "SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, f"{schema} {node}")
    )


def cover(connection: Connection, target: Target, node: UUID, span: int | None = None) -> bool:
    """Make the chunks of the next span of a journal.

    Args:
        connection: In autocommit mode.
        span: Bytes of the journal; `SPAN` if it is not given.

    Returns:
        Whether there may be more to do.

    Raises:
        psycopg.Error: The database cannot be used.
    """
    schema, span = target.schema, span or SPAN
    with connection.transaction():
        settings = local_settings(
            synchronous_commit="off",
            lock_timeout=f"{LOCK_SECONDS}s",
            statement_timeout="0",
            idle_in_transaction_session_timeout="0",
        )
        connection.execute(f"SELECT {settings}")
        locked = connection.execute(
            "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, f"{schema} {node}")
        ).fetchone()
        if locked != (True,):
            return False  # another worker of this journal is at it
        covered = read_covered(connection, target, node)
        # Of this database, not the sink's: what a crash took back is not covered.
        row = connection.execute(
            f'SELECT greatest("offset", imported) FROM {schema}.cursors WHERE node = %s',  # noqa: S608 our own text
            (node,),
        ).fetchone()
        cursor = 0 if row is None else row[0]
        begin = covered
        while cursor - begin >= span:
            if _Span(connection, schema, node, begin, begin + span).write():
                return True
            # Nothing is there: the partitions are gone, or there were only rejections.
            begin, span = begin + span, span * 2
    return False


def cover_up_to(connection: Connection, target: Target, node: UUID, end: int) -> int:
    """Make all chunks of a journal that are missing up to an offset, in the caller's transaction.

    It has called `lock_chunks`.

    Returns:
        Up to which offset the records are covered now.
    """
    covered = read_covered(connection, target, node)
    if covered < end and _Span(connection, target.schema, node, covered, end).write():
        return end
    return covered


def cover_added(
    connection: Connection, target: Target, node: UUID, records: Sequence[Record]
) -> None:
    """Make chunks of records that the caller's transaction adds where a journal is covered, or
    behind all its others. It has called `lock_chunks`.
    """
    if not records:
        return
    offsets = [record.offset for record in records]
    begin = min(offsets)
    part = connection.execute(
        f"SELECT coalesce(max(part) + 1, 0) FROM {target.schema}.chunks"  # noqa: S608 our own text
        ' WHERE node = %s AND "begin" = %s',
        (node, begin),
    ).fetchone()
    assert part is not None
    rows = _rows_of(connection, records)
    _Span(connection, target.schema, node, begin, max(offsets) + 1, part[0]).write(rows)


def _rows_of(connection: Connection, records: Sequence[Record]) -> Iterator[_Row]:
    """Yield records as `_Span` reads them: `extra` as PostgreSQL writes it."""
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


class _Span:
    """Records of a journal that are being covered.

    Args:
        part: The number of their first chunk.
    """

    def __init__(
        self,
        connection: Connection,
        schema: str,
        node: UUID,
        begin: int,
        end: int,
        part: int = 0,
    ) -> None:
        self._connection, self._schema, self._node = connection, schema, node
        self._begin, self._end = begin, end
        self._first_part = self._next_part = part
        self._counts: dict[str, Counter[tuple[Any, ...]]] = {table: Counter() for table in COUNTED}

    def write(self, source: Iterable[_Row] | None = None) -> bool:
        """Write the chunks, and the counts of their records; return whether there are any.

        Args:
            source: The records; all of the span if it is not given.
        """
        pending: dict[date, tuple[list[_Row], list[bytes]]] = {}
        size: Counter[date] = Counter()
        for row in self._rows() if source is None else source:
            day, *counted, host = row[3:8]
            minute = minute_of(row[0])
            self._counts["counts"][(day, minute, *counted)] += 1
            self._counts["host_counts"][(day, minute, host)] += 1
            rows, texts = pending.setdefault(day, ([], []))
            size[day] += sum(len(text) for text in row[8:] if text)
            message, exc_text, stack_info, extra = row[8:]
            if extra != "{}":
                extra = msgspec.json.format(extra, indent=-1)
            rows.append(row)
            texts.append(text_of([message], [exc_text], [stack_info], [extra]))
            if len(rows) >= CHUNK_ENTRIES or size[day] >= CHUNK_BYTES:
                self._write_chunk(day, *pending.pop(day))
                del size[day]
        for day, (rows, texts) in pending.items():
            self._write_chunk(day, rows, texts)
        for table, counts in self._counts.items():
            self._write_counts(table, counts)
        return self._next_part > self._first_part

    def _rows(self) -> Iterator[_Row]:
        """Yield the rows of the span in order; a few are in memory."""
        counted = chain.from_iterable(COUNTED.values())
        columns = ", ".join((*counted, "message", "exc_text", "stack_info", "extra::text"))
        with self._connection.cursor("chunk", binary=True) as cursor:
            cursor.itersize = _FETCHED
            cursor.execute(
                f'SELECT created, "offset", idx, received_at::date, {columns}'  # noqa: S608 our own text
                f' FROM {self._schema}.records WHERE node = %s AND "offset" >= %s'
                ' AND "offset" < %s ORDER BY "offset", idx',
                (self._node, self._begin, self._end),
            )
            yield from cursor

    def _write_chunk(self, day: date, rows: list[_Row], texts: list[bytes]) -> None:
        created = [row[0] for row in rows]
        self._connection.execute(
            f'INSERT INTO {self._schema}.chunks (node, "begin", part, "end", day, records,'  # noqa: S608 our own text
            " min_created, max_created, keys, text)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                *(self._node, self._begin, self._next_part, self._end, day, len(rows)),
                *(min(created), max(created)),
                zstd.compress(b"".join(KEY.pack(*row[:3]) for row in rows), LEVEL),
                zstd.compress(b"".join(texts), LEVEL),
            ),
            binary=True,
        )
        self._next_part += 1

    def _write_counts(self, table: str, counts: Counter[tuple[Any, ...]]) -> None:
        names = ", ".join(("day", "minute", *COUNTED[table], "records"))
        statement = f"COPY {self._schema}.{table} ({names}) FROM STDIN"
        with self._connection.cursor().copy(statement) as copy:
            for key, records in counts.items():
                copy.write_row((*key, records))


def minute_of(created: float) -> int | None:
    """Return the minute under which a time is counted."""
    minute = created // MINUTE
    return int(minute) if FIRST_MINUTE <= minute < LAST_MINUTE else None
