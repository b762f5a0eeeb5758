"""Progress: how far a search is, and whether it must end."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

_STEPS: Final = 100_000
"""Steps of SQLite's machine after which it asks whether to go on: some milliseconds."""


class Progress:
    """The progress of one search. A search that must stop ends early, without an error.

    Args:
        deadline: A time of `time.monotonic()` at which the search must stop.
    """

    def __init__(self, deadline: float | None = None) -> None:
        self._deadline = math.inf if deadline is None else deadline
        self.total = 0
        """Entries that the files of the search have."""
        self.read = 0
        """Entries that need not be read any more."""
        self.is_wait_reported = False
        """Whether the log has the lock that the search waits for, or a thread looks for one."""
        self.stopped: Literal["deadline", "interrupt"] | None = None
        """Why the search ends early; None while it does not."""

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; infinite if there is none, 0 if it is over."""
        return max(0.0, self._deadline - time.monotonic())

    def interrupt(self) -> None:
        """Stop the search. A signal handler may call this."""
        self.stopped = "interrupt"

    def must_stop(self) -> bool:
        """Return whether the search must end now."""
        if self.stopped is None and time.monotonic() >= self._deadline:
            self.stopped = "deadline"
        return self.stopped is not None


@contextmanager
def stopped_by(progress: Progress, connection: sqlite3.Connection) -> Iterator[None]:
    """End the statements of a connection, and the body, when the search must stop."""
    connection.set_progress_handler(progress.must_stop, _STEPS)
    try:
        yield
    except sqlite3.OperationalError:
        if progress.stopped is None:
            raise
