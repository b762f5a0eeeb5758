"""Connections of a reader of a PostgreSQL store, and what its errors say."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from fastlog.errors import FastlogError, NewerSchemaError, SinkUnavailableError
from fastlog.search.postgres_cancelling import cancelled_by
from fastlog.search.progress import Progress
from fastlog.sinks.postgres_connection import (
    Connection,
    Target,
    connect,
    is_missing,
    one_line,
    psycopg,
)
from fastlog.sinks.postgres_schema import VERSION, read_version

IDLE: Final = 1.0
"""Seconds without a statement after which a connection is tried before it is used."""
_IDLE_STATUS: Final = psycopg.pq.TransactionStatus.IDLE


class Pool:
    """Connects to a database. Threads may share it.

    Args:
        keep: How many connections stay open between two uses.
    """

    def __init__(self, target: Target, keep: int) -> None:
        self._target, self._keep = target, keep
        self._lock = threading.Lock()
        self._free: list[tuple[float, Connection]] = []
        """When each was used last, by the steady clock; the one that was used last is the last."""

    @contextmanager
    def connected(
        self, progress: Progress | None = None, *, is_own: bool = False
    ) -> Iterator[Connection]:
        """Lend a connection to the body, and turn errors into one line.

        Args:
            progress: If the search must stop, nothing is waited for.
            is_own: It is made for the body and closed after it, so its session may be changed.

        Raises:
            SinkUnavailableError: The database cannot be reached or used.
            FastlogError: It has no records of fastlog, or those of a newer one.
        """
        connection = None
        label = self._target.label
        try:
            connection = (None if is_own else self._take(progress or Progress())) or self._connect()
            yield connection
        except NewerSchemaError:
            raise
        except psycopg.Error as error:
            if is_missing(error):
                raise FastlogError(
                    f"{label}: {one_line(error)}; a server that stores there makes what is missing "
                    "within a minute"
                ) from error
            raise SinkUnavailableError(f"{label}: {one_line(error)}") from error
        finally:
            if connection is not None:
                self._give_back(connection, self._keep * (not is_own))

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            free, self._free = self._free, []
        for _, connection in free:
            connection.close()

    def _take(self, progress: Progress) -> Connection | None:
        """Return a connection that works and that nobody uses; None if there is none."""
        while True:
            with self._lock:
                if not self._free:
                    return None
                used_at, connection = self._free.pop()
            if time.monotonic() < used_at + IDLE:
                return connection
            try:
                with cancelled_by(progress, connection):
                    connection.execute("SELECT 1")
            except psycopg.OperationalError:
                connection.close()
            else:
                return connection

    def _connect(self) -> Connection:
        connection = connect(self._target)
        try:
            version = read_version(connection, self._target)
            if version is None:
                raise FastlogError(self._nothing())
            if version < VERSION:
                raise FastlogError(
                    f"{self._target.label}: its schema {self._target.schema} has version {version},"
                    f" and this fastlog reads version {VERSION}; a server of this version with "
                    "that sink migrates it when it starts"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_back(self, connection: Connection, keep: int) -> None:
        if not connection.closed and connection.info.transaction_status == _IDLE_STATUS:
            with self._lock:
                if len(self._free) < keep:
                    self._free.append((time.monotonic(), connection))
                    return
        with suppress(psycopg.Error):
            connection.close()

    def _nothing(self) -> str:
        return (
            f"{self._target.label}: no sink has stored records in its schema "
            f"{self._target.schema} yet"
        )
