"""A sink's cursor that is beyond the journal: for a moment while a receiver starts, or for good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastlog.errors import JournalError

AHEAD_SECONDS = 10.0
"""Seconds that the durable offset may be below the sink's cursor, while the receiver starts."""


class CursorAheadError(JournalError):
    """The sink has blocks of this journal that the journal does not have."""


class CursorAhead:
    """Waits for the journal of a data directory to reach the cursor of the sink `name`."""

    def __init__(self, name: str, data_dir: Path, monotonic: Callable[[], float]) -> None:
        self._name, self._data_dir, self._monotonic = name, data_dir, monotonic
        self._since: float | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the cursor was beyond the journal when it was last compared."""
        return self._since is not None

    def is_ahead(self, node: str, cursor: int, durable: int) -> bool:
        """Return whether the cursor is beyond the durable offset of the journal `node`.

        Raises:
            CursorAheadError: It has been so for too long.
        """
        if cursor <= durable:
            self._since = None
            return False
        now = self._monotonic()
        if self._since is None:
            self._since = now
        if now < self._since + AHEAD_SECONDS:
            return True
        raise CursorAheadError(
            f"sink {self._name} is at offset {cursor} of journal {node}, which ends at {durable}: "
            f"the journal in {self._data_dir} is older than the sink's data; restore a matching "
            "one, or move the journal away to begin a new one"
        )
