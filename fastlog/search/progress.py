"""Progress: how far a search is, and whether it has to end before it is complete."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

STEPS: Final = 100
"""Instructions of SQLite between two questions whether to stop."""


class Progress:
    """How far a search is. One thread searches; others, and signal handlers, may read and stop it.

    Args:
        deadline: when the search must end, by `time.monotonic()`.
    """

    def __init__(self, deadline: float | None = None) -> None:
        self._deadline = deadline
        self.total = 0
        """Entries that the search may have to read."""
        self.read = 0
        """Entries that it has read."""
        self.stopped: Literal["deadline", "interrupt"] | None = None
        """Why the search ended before it was complete."""

    def must_stop(self) -> bool:
        """Return whether the search has to end now. Each search asks often."""
        if (
            self.stopped is None
            and self._deadline is not None
            and time.monotonic() >= self._deadline
        ):
            self.stopped = "deadline"
        return self.stopped is not None

    def interrupt(self) -> None:
        """End the search soon. A signal handler may call this."""
        if self.stopped is None:
            self.stopped = "interrupt"


@contextmanager
def stoppable(connection: sqlite3.Connection, progress: Progress | None) -> Iterator[None]:
    """Let a body end early, also while it waits for SQLite, when the progress says so."""
    if progress is None:
        yield
        return
    connection.set_progress_handler(progress.must_stop, STEPS)
    try:
        yield
    except sqlite3.OperationalError:
        if not progress.must_stop():
            raise
