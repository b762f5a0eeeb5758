"""Scheme `postgresql`: blocks by binary COPY, records and cursor in one transaction.

The decoder makes COPY data of a block, mostly in C; nothing here looks at a record. Commits do not
wait for the disk. About once a second, `sync` waits for all of them; the journal keeps what came
since. A lost connection is made again, and the cursor read again: whether its last transaction was
committed is not known.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final
from uuid import UUID

from fastlog.clock import ClockWatch
from fastlog.decode import copy_rows
from fastlog.errors import (
    NewerSchemaError,
    SinkConflictError,
    SinkError,
    SinkUnavailableError,
)
from fastlog.sinks import Sink, SinkContext
from fastlog.sinks.postgres_chunks import ChunkBuilder
from fastlog.sinks.postgres_connection import (
    CHANNEL,
    STATEMENT_SECONDS,
    Connection,
    connect,
    describe_lock,
    is_missing,
    is_rejection,
    is_without_partition,
    one_line,
    own_transaction,
    parse_url,
    psycopg,
)
from fastlog.sinks.postgres_copy import copy_into, without_imported
from fastlog.sinks.postgres_expiry import PostgresExpiry
from fastlog.sinks.postgres_partitions import day_of, ensure
from fastlog.sinks.postgres_retention import PostgresRetention
from fastlog.sinks.postgres_schema import missing_tables, prepare, read_version
from fastlog.sinks.postgres_trigrams import TrigramIndexes

if TYPE_CHECKING:
    from datetime import date

    from fastlog.decode import Batch, Decoded

log = logging.getLogger(__name__)

IDLE: Final = 1.0
"""Seconds without a statement after which a connection is tried before it is used."""
CARE_INTERVAL: Final = 60.0
"""Seconds between two looks at the partitions: is the next day's there, and is one too old?"""


class PostgresSink(Sink):
    """`postgresql://user@host/database?schema=fastlog`. Exactly once."""

    form = "copy"
    streams = True

    def __init__(self, context: SinkContext) -> None:
        super().__init__(context)
        self._target = parse_url(context.url)
        self._node = UUID(int=0)
        self._connection: Connection | None = None
        self._had_tables = False
        """Whether this sink has seen or made its tables."""
        self._used_at = 0.0
        """When the connection was used last, by the steady clock."""
        self._cursor = self._durable = 0
        self._frames: int | None = 0
        self._stored = -1
        """The offset of a block that is stored, and at which the cursor was made again."""
        self._days: set[date] = set()
        """The days that have a partition, as far as this sink knows."""
        self._watch = ClockWatch(context.clock, context.steady)
        self._retention = PostgresRetention(context.name, self._target, context.retention)
        self._trigrams = TrigramIndexes(context.name, self._target)
        self._chunks = ChunkBuilder(context.name, self._target)
        self._expiry = PostgresExpiry(context.name, self._target, context.expire)
        self._records = 0
        """Frames that were stored since the last tick."""
        self._day: date | None = None
        """The day that was stored into last."""
        self._care_at = float("-inf")

    def open(self, node: str) -> int:
        self.close()
        self._node = UUID(node)
        with self._guarded():
            self._connect()
            self._cursor, self._frames, self._stored = self._read_cursor()
        self._durable = 0
        return self._cursor

    def index(self) -> int | None:
        return self._frames

    def missing(self) -> str:
        if not self._cursor:
            return ""  # another database than before, or a new one
        return "the database went back: it was restored, or a standby took over that lacked them"

    def check(self) -> None:
        """Check that the database can be reached, and that its tables are none or are known."""
        connection = connect(self._target)
        try:
            read_version(connection, self._target)
        except psycopg.Error as error:
            raise SinkUnavailableError(f"{self._target.label}: {one_line(error)}") from error
        finally:
            connection.close()

    def apply(self, blocks: Batch) -> None:
        first = blocks.raw[0].offset
        if first < self._cursor:
            raise SinkConflictError(f"{self._target.label}: block {first} is stored already")
        with self._guarded():
            try:
                self._store(blocks)
            except psycopg.errors.CheckViolation as error:
                if not is_without_partition(error):
                    raise
                self._days.clear()  # a partition has been removed
                self._store(blocks)

    def cursor(self) -> int:
        return self._cursor

    def sync(self) -> int:
        if self._durable != self._cursor:
            with self._guarded():
                self._sync()
        return self._durable

    def tick(self) -> None:
        reading, now = self._watch.read(), self.context.steady()
        if self._connection is not None:
            self._chunks.tick(now, self._node, self._cursor, self._records)
        self._records = 0
        if self._connection is None or now < self._care_at + CARE_INTERVAL:
            return
        self._care_at = now
        with self._guarded():
            if missing_tables(self._ready(), self._target):  # storing needs some only
                with suppress(NewerSchemaError):  # while servers are upgraded, the old ones store
                    self._prepare(self._ready())
                self._check_cursor()
            self._ensure(day_of(int((reading.now + 86_400) * 1e6)))
            trusted = reading.now if reading.trusted else None
            self._retention.retire(self._ready(), trusted, self._day)
            self._expiry.tick(self._ready(), trusted)
        if self._target.trigrams:
            self._trigrams.tick(now, reading.now)

    def offending(self, block: Decoded) -> dict[int, str]:
        reasons: dict[int, str] = {}
        with self._guarded():
            for idx, each in copy_rows.tuples(block.copy):
                if reason := self._try(each):
                    reasons[idx] = reason
        return reasons

    def close(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None
        for each in (self._chunks, self._trigrams, self._expiry):
            each.background.stop()
        self._days.clear()

    # Connections

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn errors of PostgreSQL into those that a worker knows.

        The connection is closed if something is wrong with it, or with the tables.
        """
        label = self._target.label
        try:
            yield
        except psycopg.Error as error:
            text = f"{label}: {one_line(error)}"
            if is_rejection(error) and not is_without_partition(error):
                raise SinkError(text) from error
            if isinstance(error, psycopg.errors.LockNotAvailable) and self._connection is not None:
                text += describe_lock(self._connection, self._target)
            self.close()
            if is_missing(error):
                raise SinkConflictError(text) from error
            raise SinkUnavailableError(text) from error
        except BaseException:
            self.close()
            raise

    def _connect(self) -> Connection:
        self._connection = connect(self._target)
        self._prepare(self._connection)
        self._used_at = self.context.steady()
        return self._connection

    def _prepare(self, connection: Connection) -> None:
        prepare(connection, self._target, had_tables=self._had_tables)
        self._had_tables = True

    def _ready(self) -> Connection:
        """Return the connection; make it again if it is lost."""
        now = self.context.steady()
        if self._connection is not None and now >= self._used_at + IDLE:
            try:
                self._connection.execute("SELECT 1")
            except psycopg.OperationalError:
                self.close()
        self._used_at = now
        if self._connection is None:
            self._connect()
            self._check_cursor()
        assert self._connection is not None
        return self._connection

    def _check_cursor(self) -> None:
        """Raise an error if the cursor is not where this sink has moved it."""
        if self._read_cursor()[0] != self._cursor:
            raise SinkConflictError(f"{self._target.label}: the cursor has moved")

    def _read_cursor(self) -> tuple[int, int | None, int]:
        assert self._connection is not None
        cursors = f"{self._target.schema}.cursors"
        self._connection.execute(
            f'INSERT INTO {cursors} (node, "offset", frames, stored) VALUES (%s, 0, 0, -1)'  # noqa: S608 our own text
            " ON CONFLICT DO NOTHING",
            (self._node,),
        )
        row = self._connection.execute(
            f'SELECT "offset", frames, stored FROM {cursors} WHERE node = %s',  # noqa: S608 our own text
            (self._node,),
        ).fetchone()
        assert row is not None
        return row

    # Transactions

    def _store(self, blocks: Batch) -> None:
        connection = self._ready()
        last = blocks.raw[-1]
        self._day = day_of(last.received_us)
        for day in sorted({day_of(block.received_us) for block in blocks.raw}):
            self._ensure(day)
        frames = last.index + last.frames
        notified = f"pg_notify('{CHANNEL}', '{self._target.schema}')"
        with own_transaction(
            connection, STATEMENT_SECONDS, also=notified, synchronous_commit="off"
        ):
            moved = connection.execute(
                f'UPDATE {self._target.schema}.cursors SET "offset" = %s, frames = %s,'  # noqa: S608 our own text
                ' updated = now() WHERE node = %s AND "offset" = %s RETURNING imported',
                (last.end, frames, self._node, self._cursor),
            ).fetchone()
            if moved is None:
                raise SinkConflictError(f"{self._target.label}: the cursor has moved")
            new = (each for each in blocks if each.block.offset > self._stored)
            data: Iterable[bytes] = (each.copy for each in new)
            if blocks.raw[0].offset < moved[0]:
                data = without_imported(connection, self._target, self._node, list(new))
            copy_into(connection, self._target, data)
        self._cursor, self._frames = last.end, frames
        self._records += sum(block.frames for block in blocks.raw)

    def _sync(self) -> None:
        """Commit a transaction that waits for the disk, and so for all before it."""
        wanted = "CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
        wanted += " ELSE current_setting('synchronous_commit') END"
        row = (
            self._ready()
            .execute(
                f"WITH synced AS (UPDATE {self._target.schema}.cursors SET updated = now()"  # noqa: S608 our own text
                ' WHERE node = %s RETURNING "offset")'
                f" SELECT \"offset\", set_config('synchronous_commit', {wanted}, true) FROM synced",
                (self._node,),
            )
            .fetchone()
        )
        if row is None or row[0] != self._cursor:
            raise SinkConflictError(f"{self._target.label}: the cursor has moved")
        self._durable = self._cursor

    def _try(self, row: bytes) -> str:
        """Return why a row cannot be stored, without storing it; "" if it can."""
        connection = self._ready()
        try:
            with own_transaction(connection, STATEMENT_SECONDS, is_trial=True):
                copy_into(connection, self._target, [row])
        except psycopg.Error as error:
            if not is_rejection(error) or is_without_partition(error):
                raise
            return one_line(error)
        return ""

    def _ensure(self, day: date) -> None:
        if day not in self._days:
            ensure(self._ready(), self._target, day)
            self._days.add(day)
