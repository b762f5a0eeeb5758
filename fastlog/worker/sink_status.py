"""A sink's status: its position on disk, and its current error, logged once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from fastlog.errors import SinkError
from fastlog.journal import SinkPosition, read_positions, write_position

log = logging.getLogger(__name__)

FIRST_DELAY, LAST_DELAY = 0.1, 5.0
"""Seconds between attempts while the sink fails: the first, and the longest."""


class SinkStatus:
    """The status of one sink, written by its worker, and the delay between attempts."""

    def __init__(
        self, data_dir: Path, name: str, node: str, when_full: str, clock: Callable[[], float]
    ) -> None:
        self._data_dir = data_dir
        self._name = name
        self._node = node
        self._when_full = when_full
        self._clock = clock
        self._error: str | None = None
        self._delay = 0.0
        known = read_positions(data_dir).get(name)
        self.last: SinkPosition | None = known if known is not None and known.node == node else None
        """The position written last, also by an earlier process; None for a new sink."""

    def write(
        self,
        cursor: int,
        durable: int,
        index: int | None,
        received: float | None,
        failing: dict[str, int],
    ) -> None:
        """Write the position, if it has changed, for the receiver and for `fastlog stats`.

        Args:
            received: When the newest applied block was received.
            failing: See `Sink.failing`.
        """
        self._write(
            SinkPosition(
                node=self._node,
                cursor=cursor,
                durable=durable,
                index=index,
                at=self._clock(),
                error=self._error,
                when_full=self._when_full,
                stored_received=received,
                failing=failing,
            )
        )

    def failed(self, error: Exception) -> float:
        """Record an error, and log it if it is the first since the sink worked.

        Returns:
            Seconds to wait before the next attempt; longer each time.
        """
        expected = isinstance(error, SinkError)
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        if self._error is None:
            log.warning("sink %s: %s; trying again", self._name, text, exc_info=not expected)
        self._delay = min(max(2 * self._delay, FIRST_DELAY), LAST_DELAY)
        self._set_error(text)
        return self._delay

    def recovered(self) -> None:
        """Record that the sink works, and log it if it has failed before."""
        if self._error is not None:
            log.info("sink %s works again", self._name)
            self._delay = 0.0
            self._set_error(None)

    def _set_error(self, error: str | None) -> None:
        self._error = error
        if self.last is not None:
            self._write(msgspec.structs.replace(self.last, error=error, at=self._clock()))

    def _write(self, position: SinkPosition) -> None:
        if (
            self.last is not None
            and msgspec.structs.replace(position, at=self.last.at) == self.last
        ):
            return
        try:
            write_position(self._data_dir, self._name, position)
        except OSError as error:
            log.warning("sink %s: cannot write its position: %s", self._name, error.strerror)
        else:
            self.last = position
