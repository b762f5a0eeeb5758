"""The end of a receiver: it reads what is on the way, closes the journal and counts the rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from fastlog.core import Loop
from fastlog.eventlog import EventLog
from fastlog.journal import Journal
from fastlog.receiver.backpressure import Backpressure
from fastlog.receiver.client_handshakes import ClientHandshakes
from fastlog.receiver.leftovers import Leftovers
from fastlog.receiver.loss_notices import LossNotices
from fastlog.receiver.rejections import Rejections
from fastlog.receiver.status import Status
from fastlog.receiver.throttle import Throttle

log = logging.getLogger(__name__)

DRAIN_PATIENCE = 5.0
"""Seconds for reading all connections to their ends."""
QUIET = 0.1
"""Seconds without a byte after which the connections count as read. It is longer than a kernel
delays the last bytes of a stream for an acknowledgement (40 ms), and than most round trips."""
FLUSH_PATIENCE = 5.0
"""Seconds for making durable what clients wait for."""
STOPPED = "the server was stopped"
"""The reason of losses at the end, where the journal works."""


class Shutdown:
    """Drains the connections and closes everything."""

    def __init__(
        self,
        loop: Loop,
        journal: Journal,
        handshakes: ClientHandshakes,
        backpressure: Backpressure,
        rejections: Rejections,
        notices: LossNotices,
        leftovers: Leftovers,
        status: Status,
        throttle: Throttle,
        events: EventLog,
    ) -> None:
        self._loop, self._journal, self._handshakes = loop, journal, handshakes
        self._backpressure, self._rejections = backpressure, rejections
        self._notices, self._leftovers = notices, leftovers
        self._status, self._throttle, self._events = status, throttle, events

    def drain(self, poll: Callable[[float], None]) -> None:
        """Read the connections until no more bytes arrive, acknowledge, and close them.

        Args:
            poll: Runs the receiver's poll, for at most so many seconds.
        """
        if self._loop.stats().connections:
            log.info("stopping: draining %d connections", self._loop.stats().connections)
        self._loop.drain()
        deadline = time.monotonic() + DRAIN_PATIENCE
        received, since = -1, 0.0
        while self._loop.stats().connections or self._backpressure.pending is not None:
            now, is_pending = time.monotonic(), self._backpressure.pending is not None
            if self._loop.stats().bytes != received or is_pending:
                received, since = self._loop.stats().bytes, now
            if now >= deadline:
                why = "the journal is full" if is_pending else "clients are still sending"
                log.warning("closing connections after %.0f s: %s", DRAIN_PATIENCE, why)
                break
            if now - since >= QUIET:
                break
            poll(QUIET)
        if self._handshakes.is_waiting():
            self._journal.flush(FLUSH_PATIENCE)
            self._handshakes.acknowledge()
        self._loop.close_connections()
        self._rejections.collect()

    def finish(self) -> None:
        """Close everything. What is not in the journal then is counted as lost."""
        if self._backpressure.pending is not None:
            runs, _ = self._backpressure.pending
            self._notices.add_lost_block(runs, self._journal.failure or STOPPED)
        self._rejections.collect_unreported()
        self._notices.append_to(self._journal)
        self._status.write()
        self._loop.close()
        self._throttle.close()
        for runs in self._journal.close():
            self._notices.add_lost_block(runs, self._journal.failure or STOPPED)
        self._leftovers.write(self._notices.take())
        self._events.flush(final=True)
