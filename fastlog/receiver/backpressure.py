"""Backpressure: what happens to received records when the journal is slow or full.

Fastlog clients get a window of 0 and keep their records. The block that the journal does not accept
stays pending and the loop reads nothing; or, as configured, the records of stock clients in it are
dropped and counted.
"""

from __future__ import annotations

import time

from fastlog.config import Config
from fastlog.core import Loop
from fastlog.eventlog import EventLog
from fastlog.journal import Full, Journal
from fastlog.protocol.handshake import SessionParameters
from fastlog.receiver.client_handshakes import ClientHandshakes
from fastlog.receiver.loss_notices import LossNotices
from fastlog.receiver.segment_release import SegmentRelease

PATIENCE = 5.0
"""Seconds without progress after which a slow disk counts as failed. Before that, the loop pauses,
which clients do not notice; after it, records are dropped, if so configured."""
RETRY_INTERVAL = 0.05
"""Seconds between two attempts to append the pending block."""
OK, SLOW, FULL = 0, 1, 2
"""The states of the journal that clients get."""
RESERVED_PART = 8
"""Clients get a window of 0 when less than one part in this many of the journal is free."""


class SendWindow:
    """Sets how much fastlog clients may send beyond what is committed."""

    def __init__(self, config: Config, loop: Loop, journal: Journal) -> None:
        self._config, self._loop, self._journal = config, loop, journal

    def update(self) -> int:
        """Set the loop's window by the state of the journal.

        Returns:
            The window, in bytes.
        """
        window, state = self._compute()
        self._loop.window(window, state)
        return window

    def session_parameters(self) -> SessionParameters:
        """Return what a WELCOME announces now."""
        # The loop must have the announced window, or it would not announce the next change.
        window = self.update()
        return SessionParameters(
            self._config.limits.max_frame, window, self._config.clients.keepalive
        )

    def _compute(self) -> tuple[int, int]:
        journal, config = self._journal, self._config
        high = config.journal.size - config.journal.size // RESERVED_PART
        if journal.failure is not None or journal.size > high:
            return 0, FULL
        if journal.memory > config.journal.memory // 2:
            return 0, SLOW
        return config.clients.window, OK


class Backpressure:
    """Appends the loop's blocks to the journal; pauses the loop or drops records if it is full."""

    def __init__(
        self,
        config: Config,
        loop: Loop,
        journal: Journal,
        handshakes: ClientHandshakes,
        segments: SegmentRelease,
        notices: LossNotices,
        events: EventLog,
    ) -> None:
        self._pauses_when_full = config.journal.when_full == "pause"
        self._loop, self._journal = loop, journal
        self._handshakes, self._segments = handshakes, segments
        self._notices, self._events = notices, events
        self.pending: tuple[bytes, int] | None = None
        """The runs and the number of frames of the block that the journal did not accept yet."""
        self._progress = (0, time.monotonic())
        """The durable offset, and when it last rose or everything was durable."""

    def append(self, runs: bytes, frames: int) -> None:
        """Append a block; keep it pending, or drop it, if the journal does not accept it.

        The loop is paused while a block is pending, so this is called at most once per poll.
        """
        assert self.pending is None
        self._append(runs, frames)

    def retry(self) -> None:
        """Append the pending block, if there is one."""
        if self.pending is not None:
            self._append(*self.pending)

    def _append(self, runs: bytes, frames: int) -> None:
        urgent = self._loop.dirty() > 0
        full = self._journal.append(runs, frames, urgent=urgent)
        if full is Full.SIZE:
            self._segments.release()
            full = self._journal.append(runs, frames, urgent=urgent)
        was_pending = self.pending is not None
        self.pending = None
        if full is None:
            self._handshakes.block_journaled()
        elif self._must_drop(full):
            self._loop.discarded()
            reason = self._journal.failure or full.value
            if dropped := self._notices.add_lost_block(runs, reason):
                self._events.add("dropped", self._describe_loss(full, reason), dropped)
        else:
            self.pending = runs, frames
        if was_pending != (self.pending is not None):
            self._loop.pause(not was_pending)

    def _describe_loss(self, full: Full, reason: str) -> str:
        what = f"dropped records of stock clients, which are in the ledger: {reason}"
        if full is Full.SIZE:
            return f"{what}; it waits for sink {self._segments.slowest}"
        return what

    def _must_drop(self, full: Full) -> bool:
        if self._pauses_when_full:
            return False
        if full is Full.SIZE or self._journal.failure is not None:
            return True
        durable, since = self._progress
        if self._journal.durable != durable:
            self._progress = self._journal.durable, time.monotonic()
            return False
        return time.monotonic() - since > PATIENCE

    def update_progress(self) -> None:
        """Record whether the journal makes progress. Call this once a second."""
        durable = self._journal.durable
        if durable != self._progress[0] or durable == self._journal.end:
            self._progress = durable, time.monotonic()

    def resume(self) -> None:
        """Let the loop read again, unless a block is pending."""
        self._loop.pause(self.pending is not None)
