"""Work of a PostgreSQL sink that it does not wait for: in a thread, by a connection of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Final

from fastlog.errors import ConfigError, SinkUnavailableError, describe
from fastlog.sinks.postgres_connection import Connection, Target, connect, one_line, psycopg

log = logging.getLogger(__name__)

_LATER: Final = (
    SinkUnavailableError,
    ConfigError,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.UndefinedTable,  # retention has dropped a partition meanwhile
)
"""What goes by itself, or is reported by the sink."""


class Background:
    """One kind of work of one sink: at most one thread at a time.

    Args:
        sink: The sink's name, for the log.
        what: What the work does, for the log: "make chunks".
    """

    def __init__(self, sink: str, target: Target, what: str) -> None:
        self._sink, self._target, self._what = sink, target, what
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._warned = ""

    @property
    def is_running(self) -> bool:
        """Whether the work that was begun last has not ended."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, work: Callable[[Connection], object]) -> None:
        """Begin work; not while other work is running.

        Errors end it. Those that do not go by themselves are logged once.

        Args:
            work: Gets a connection in autocommit mode, which is closed after it.
        """
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def pause(self, seconds: float) -> bool:
        """Wait, for the work that calls this; return whether it may continue."""
        return not self._stopping.wait(seconds)

    def stop(self) -> None:
        """Let the work end at its next pause. Does not wait."""
        self._stopping.set()

    def wait(self, seconds: float) -> None:
        """Wait until the work has ended, for so many seconds at most."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, work: Callable[[Connection], object]) -> None:
        connection: Connection | None = None
        try:
            with closing(connect(self._target)) as connection:
                work(connection)
            self._warned = ""
        except _LATER as error:
            log.debug("sink %s: cannot %s now: %s", self._sink, self._what, error)
        except psycopg.Error as error:
            text = one_line(error)
            if connection is not None and connection.broken:  # the sink reports a lost database
                log.debug("sink %s: cannot %s now: %s", self._sink, self._what, text)
            else:
                self._warn(text)
        except Exception as error:  # a bug; the thread would end with a traceback of Python's own
            self._warn(describe(error), error)

    def _warn(self, text: str, bug: Exception | None = None) -> None:
        if text != self._warned:
            log.warning("sink %s: cannot %s: %s", self._sink, self._what, text, exc_info=bug)
        self._warned = text
