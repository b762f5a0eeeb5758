"""Statements that end when their search must stop, whatever the server does."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from fastlog.search.progress import Progress
from fastlog.sinks.postgres_connection import Connection, psycopg

_PATIENCE: Final = 2.0
"""Seconds in which a statement has to end that was cancelled."""
_WATCH: Final = 0.05
"""Seconds between two looks at whether a search must stop."""


@contextmanager
def cancelled_by(progress: Progress, connection: Connection) -> Iterator[None]:
    """Cancel the statement of the body when the search must stop.

    A server that does not react has its connection cut: a host that has gone silently would keep
    the search for half a minute.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_WATCH):
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


def _cut(connection: Connection) -> None:
    """End a connection whose statement another thread waits for; the statement fails."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)
