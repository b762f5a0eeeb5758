"""The retention of partitions: `retention.py` decides, and what it names is dropped.

A partition is detached first, concurrently: neither readers nor writers of the others wait. That
cannot be in a transaction, so each step can be the last one, and every collector continues where
one was broken off. `partitions.retiring` is the intent, and for a minute the claim of a collector.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from fastlog.config import RetentionConfig, format_size
from fastlog.sinks.postgres_connection import (
    Connection,
    Target,
    one_line,
    psycopg,
)
from fastlog.sinks.postgres_partitions import Partition, list_partitions, state_of
from fastlog.sinks.postgres_schema import locked
from fastlog.sinks.retention import Deletion, StoredFile, plan

log = logging.getLogger(__name__)

CLAIM: Final = "1 minute"
"""The time after which another collector may continue a retirement."""
PATIENCE: Final = 3.0
"""Seconds that a DETACH may wait for transactions that read the partition. Then it is broken off,
and finished later."""


class PostgresRetention:
    """Applies the retention to the partitions of a store.

    Args:
        sink: The sink's name, for the log.
        target: The store.
        settings: The limits. `keep_free` has no meaning here: the disk is another machine's.
    """

    def __init__(self, sink: str, target: Target, settings: RetentionConfig) -> None:
        self._sink, self._target, self._settings = sink, target, settings
        self._has_warned = False

    def retire(self, connection: Connection, now: float | None, current: date | None) -> None:
        """Drop the partitions that the limits require, and finish what was broken off.

        Args:
            connection: In autocommit mode.
            now: The wall clock, in seconds since the epoch; None while it is not trusted.
            current: The day that the sink stores into.

        Raises:
            psycopg.Error: The database cannot be used.
        """
        partitions = list_partitions(connection, self._target.schema)
        reasons = {partition.name: "" for partition in partitions if partition.is_retiring}
        attached = [each for each in partitions if each.is_attached and not each.is_retiring]
        files = [self._as_file(each, current, is_last=each is attached[-1]) for each in attached]
        for deletion in plan(files, self._settings, now, sys.maxsize, "partitions"):
            reasons[deletion.file.path.name] = deletion.reason
        for partition in partitions:
            if partition.name in reasons and self._claim(connection, partition):
                self._retire(connection, partition, reasons[partition.name])

    def preview(self, connection: Connection, now: float) -> tuple[list[int], list[Deletion]]:
        """Return the sizes of all partitions, and what `retire` would drop. Changes nothing.

        Args:
            now: The wall clock, which is trusted.

        Raises:
            psycopg.Error: The database cannot be used.
        """
        partitions = list_partitions(connection, self._target.schema)
        attached = [each for each in partitions if each.is_attached and not each.is_retiring]
        today = datetime.fromtimestamp(now, UTC).date()
        files = [self._as_file(each, today, is_last=each is attached[-1]) for each in attached]
        deletions = plan(files, self._settings, now, sys.maxsize, "partitions")
        return [file.size for file in files], deletions

    def _as_file(self, partition: Partition, current: date | None, *, is_last: bool) -> StoredFile:
        is_kept = is_last or (current is not None and partition.day >= current)
        return StoredFile(Path(partition.name), partition.size, partition.age_from, is_kept)

    def _claim(self, connection: Connection, partition: Partition) -> bool:
        """Return whether this collector is the one that retires the partition now."""
        claimed = connection.execute(
            f"UPDATE {self._target.schema}.partitions SET retiring = now() WHERE name = %s"  # noqa: S608 our own text
            f" AND (retiring IS NULL OR retiring < now() - interval '{CLAIM}')",
            (partition.name,),
        )
        return claimed.rowcount == 1

    def _retire(self, connection: Connection, partition: Partition, reason: str) -> None:
        schema = self._target.schema
        table = f"{schema}.{partition.name}"
        try:
            with _broken_off(connection):
                if partition.is_attached:
                    how = "FINALIZE" if partition.is_pending else "CONCURRENTLY"
                    connection.execute(
                        f"ALTER TABLE {schema}.records DETACH PARTITION {table} {how}"
                    )
            with locked(connection, self._target):
                # Another collector may have made the partition anew, for a late block.
                if state_of(connection, schema, partition.name) not in ("retired", "missing"):
                    return
                connection.execute(f"DROP TABLE IF EXISTS {table}")
                for where in ("chunks", "counts", "host_counts", "expiry", "partitions"):
                    connection.execute(
                        f"DELETE FROM {schema}.{where} WHERE day = %s",  # noqa: S608 our own text
                        (partition.day,),
                    )
        except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
            level = logging.DEBUG if self._has_warned else logging.WARNING
            log.log(
                level,
                "sink %s: retention: %s is in use (%s); trying again each minute",
                *(self._sink, table, one_line(error)),
            )
            self._has_warned = True
            return
        self._has_warned = False
        log.info(
            "sink %s: retention: dropped %s: %s; %s",
            *(self._sink, table, reason or "its removal was broken off"),
            format_size(partition.size),
        )


@contextmanager
def _broken_off(connection: Connection) -> Iterator[None]:
    """Cancel the statement of the body when it takes longer than `PATIENCE`.

    A `statement_timeout` of the session would reach other clients behind pgbouncer.
    """

    def cancel() -> None:
        with suppress(psycopg.Error):  # the connection is lost, and the statement fails, too
            connection.cancel_safe()

    timer = threading.Timer(PATIENCE, cancel)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
