"""A sink's status: its position on disk, and its current error, logged once for each reason."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from fastlog.config import format_duration
from fastlog.errors import SinkConflictError, SinkError, describe
from fastlog.journal import CommitTimes, LeftOut, SinkPosition, read_position, write_position

log = logging.getLogger(__name__)

FIRST_DELAY, LAST_DELAY = 0.1, 5.0
"""Seconds between attempts while the sink fails: the first, and the longest."""

SETTLED = 5.0
"""Seconds without a failure after which the log says that the sink works again. A disk that is
almost full is full every few moments."""
STILL: Final = 30.0
"""Seconds after the beginning of a failure from which on another reason gets a line of the log. The
first is often a connection that was closed; the next one says why there is no other. After each
such line, this doubles: a reason may have a number that changes."""


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
        self.error: str | None = None
        """Why the sink fails now; None if it works."""
        self._delay = 0.0
        self._failing_since: float | None = None
        """When the failure began that the log has; None if the log says that the sink works."""
        self._logged = ""
        """The reason of the failure that the log has."""
        self._next_line = STILL
        """Seconds after the beginning of the failure from which on another one is logged."""
        self._works_since: float | None = None
        """When it ended; None while it lasts."""
        self._is_unwritable = False
        """Whether the log says that the position cannot be written."""
        known = read_position(data_dir, name)
        self.last: SinkPosition | None = known if known is not None and known.node == node else None
        """The position written last, also by an earlier process; None for a new sink."""

    def write(
        self,
        cursor: int,
        durable: int,
        index: int | None,
        received: float | None,
        failing: dict[str, int],
        commits: CommitTimes,
        left_out: LeftOut,
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
                error=self.error,
                when_full=self._when_full,
                stored_received=received,
                failing=failing,
                commits=commits,
                left_out=left_out,
            )
        )

    def failed(self, error: Exception) -> float:
        """Record an error, and log it if it is the first since the sink worked, or another one.

        Returns:
            Seconds to wait before the next attempt; longer each time.
        """
        expected = isinstance(error, SinkError)
        text = describe(error)
        now = self._clock()
        if self._failing_since is None:
            log.warning(
                "sink %s: %s; trying again, its records wait in the journal",
                *(self._name, text),
                exc_info=not expected,
            )
            self._failing_since = now
            self._logged, self._next_line = text, STILL
        elif isinstance(error, SinkConflictError):
            pass  # a step of the recovery
        elif text != self._logged and now >= self._failing_since + self._next_line:
            log.warning(
                "sink %s still fails, after %s: %s",
                *(self._name, format_duration(now - self._failing_since), text),
                exc_info=not expected,
            )
            self._logged, self._next_line = text, 2 * (now - self._failing_since)
        self._works_since = None
        self._delay = min(max(2 * self._delay, FIRST_DELAY), LAST_DELAY)
        self._set_error(text)
        return self._delay

    def recovered(self) -> None:
        """Record that the sink works; log it, once it has worked for a while after a failure."""
        if self._failing_since is None:
            return
        now = self._clock()
        if self._works_since is None:
            self._works_since, self._delay = now, 0.0
            self._set_error(None)
        if now >= self._works_since + SETTLED:
            self.settle()

    def settle(self) -> None:
        """Log that the sink works again, if the log has a failure that is over.

        The worker calls this when it ends, too: the next one does not know of that failure.
        """
        if self._failing_since is None or self._works_since is None:
            return
        seconds = max(0.0, self._works_since - self._failing_since)
        log.info("sink %s works again, after %s", self._name, format_duration(seconds))
        self._failing_since = self._works_since = None

    def _set_error(self, error: str | None) -> None:
        self.error = error
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
            if not self._is_unwritable:
                log.warning(
                    "sink %s: cannot write its position: %s; the journal keeps what the sink has "
                    "stored until it can",
                    *(self._name, error.strerror),
                )
            self._is_unwritable = True
        else:
            self.last, self._is_unwritable = position, False
