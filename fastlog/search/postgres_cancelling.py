"""Statements that end when their search must stop, whatever the server does."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final

from fastlog.search.progress import Progress
from fastlog.sinks.postgres_connection import LOCK_SECONDS, Connection, name_process, psycopg

log = logging.getLogger(__name__)

_PATIENCE: Final = 2.0
"""Seconds in which a statement has to end that was cancelled."""
_WATCH: Final = 0.05
"""Seconds between two looks at whether a search must stop."""


@contextmanager
def cancelled_by(progress: Progress, connection: Connection) -> Iterator[None]:
    """Cancel the statement of the body when the search must stop; report a lock that it waits for.

    A server that does not react has its connection cut: a host that has gone silently would keep
    the search for half a minute.
    """
    ended = threading.Event()

    def watch() -> None:
        look_at = time.monotonic() + LOCK_SECONDS
        while not ended.wait(_WATCH):
            if time.monotonic() >= look_at and not progress.is_wait_reported:
                look_at = time.monotonic() + LOCK_SECONDS
                progress.is_wait_reported = True
                looker = threading.Thread(
                    target=_report_lock, args=(connection, progress), daemon=True
                )
                with suppress(RuntimeError):  # no thread can be started; the search matters more
                    looker.start()
            if progress.must_stop():
                with suppress(psycopg.Error):  # it is lost, and the statement fails, too
                    connection.cancel_safe(timeout=_PATIENCE)
                if not ended.wait(_PATIENCE):
                    _cut(connection)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _report_lock(connection: Connection, progress: Progress) -> None:
    """Log which process the statement of a connection waits for, if it waits for one.

    A search has one such line. Behind pgbouncer, the process is not known.
    """
    row = None
    with suppress(psycopg.Error):
        info = connection.info
        own = {"host": info.host, "port": str(info.port), "password": info.password}
        parameters: dict[str, Any] = {**info.get_parameters(), **own}
        with closing(psycopg.connect(**parameters, autocommit=True)) as other:
            row = other.execute(
                "SELECT pid, coalesce(usename, ''), coalesce(application_name, '')"
                " FROM unnest(pg_blocking_pids(%s)) pid LEFT JOIN pg_stat_activity USING (pid)"
                " LIMIT 1",
                (info.backend_pid,),
            ).fetchone()
    if row is not None:
        log.warning("waiting for a lock that process %s keeps", name_process(*row))
    else:
        progress.is_wait_reported = False  # a later statement may wait for one


def _cut(connection: Connection) -> None:
    """End a connection whose statement another thread waits for; the statement fails."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)
