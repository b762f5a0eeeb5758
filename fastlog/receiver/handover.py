"""The handover: what one receiver passes to the next, so that a reload closes no connection.

The old receiver keeps all that it passes on. Until it gets the order to retire, it can resume as if
there had been no handover.
"""

from __future__ import annotations

import time

import msgspec

from fastlog.block import Kind, frames, make_run, runs
from fastlog.core import ExportedConnection, Loop
from fastlog.errors import FastlogError
from fastlog.eventlog import EventLog
from fastlog.journal import Journal, JournalState, Snapshot
from fastlog.protocol.handshake import HandshakeProtocol
from fastlog.receiver.backpressure import Backpressure
from fastlog.receiver.client_handshakes import ClientHandshakes
from fastlog.receiver.loss_notices import LossNotices
from fastlog.receiver.recent_counts import Slot
from fastlog.receiver.rejections import Rejections
from fastlog.receiver.status import Counters, Status
from fastlog.record import Notice

VERSION = 3
"""Of `HandoverState`. Both receivers must have the same."""
FLUSH_PATIENCE = 5.0
"""Seconds within which everything received has to become durable."""
FLUSH_INTERVAL = 0.05
"""Seconds of one wait for the journal."""


class HandoverState(msgspec.Struct, kw_only=True):
    """The state of a receiver that has stopped reading."""

    version: int = VERSION
    journal: JournalState
    clients: Snapshot
    """The client table, as of the journal's end."""
    counters: Counters
    recent: list[Slot] = []
    """See `RecentCounts.slots`."""
    notices: list[Notice]
    """Loss notices that are not in the journal."""
    pending: tuple[bytes, int] | None
    """The block that the journal has not accepted: its runs, its number of frames."""
    fingerprints: dict[bytes, bytes]
    """See `HandshakeProtocol.fingerprints`."""
    connections: list[tuple[str, bytes]]
    """Peer and state of each connection, in the order of the descriptors."""


class Handover:
    """Collects the handover state of a receiver, or restores it into a new one."""

    def __init__(
        self,
        loop: Loop,
        journal: Journal,
        protocol: HandshakeProtocol,
        handshakes: ClientHandshakes,
        backpressure: Backpressure,
        rejections: Rejections,
        notices: LossNotices,
        status: Status,
        events: EventLog,
    ) -> None:
        self._loop, self._journal = loop, journal
        self._protocol, self._handshakes = protocol, handshakes
        self._backpressure, self._rejections = backpressure, rejections
        self._notices, self._status, self._events = notices, status, events

    def freeze(self) -> tuple[HandoverState, list[int]]:
        """Stop reading, make everything received durable, and return the state.

        Returns:
            The state, and the descriptors of its connections, which stay the loop's.

        Raises:
            FastlogError: The journal cannot make it durable; the receiver has resumed.
        """
        self._loop.pause(True)
        try:
            clients = self._settle()
            connections = list(self._loop.export())
            state = HandoverState(
                journal=self._journal.state(),
                clients=clients,
                counters=self._status.counters(),
                recent=self._status.recent_slots(),
                notices=self._notices.take(),
                pending=self._backpressure.pending,
                fingerprints=self._protocol.fingerprints(),
                connections=[(each.peer, each.state) for each in connections],
            )
        except BaseException:
            self._backpressure.resume()
            raise
        return state, [each.fd for each in connections]

    def thaw(self, state: HandoverState) -> None:
        """Resume after a handover that failed; the process that got this state must have ended."""
        self._notices.put_back(state.notices)
        self._backpressure.resume()

    def restore(self, state: HandoverState, connections: list[ExportedConnection]) -> None:
        """Take over the connections and all that is not in the journal."""
        self._status.restore(state.counters, state.recent)
        self._notices.put_back(state.notices)
        for connection in connections:
            client = self._loop.take(connection)
            if client is not None:
                self._protocol.add_session(*client, state.fingerprints.get(client[1], b""))
        self._backpressure.pending = state.pending
        self._backpressure.resume()

    def _settle(self) -> Snapshot:
        """Wait until nothing waits for the journal. Returns the client table of that moment."""
        backpressure = self._backpressure
        if backpressure.pending is not None:
            # Fastlog clients send their part of the pending block again. Only this receiver can
            # make them do so.
            self._loop.discarded()
            backpressure.pending = only_stock(backpressure.pending[0])
        self._rejections.collect()
        self._rejections.collect_unreported()
        self._notices.append_to(self._journal)
        self._events.flush(final=True)
        deadline = time.monotonic() + FLUSH_PATIENCE
        while True:
            self._handshakes.acknowledge()
            self._handshakes.process_events()
            if self._journal.flush(FLUSH_INTERVAL) and not self._handshakes.is_waiting():
                clients = self._handshakes.snapshot()
                if clients is not None:
                    return clients
            if self._journal.failure is not None or time.monotonic() > deadline:
                why = self._journal.failure or f"not done after {FLUSH_PATIENCE:.0f} s"
                raise FastlogError(f"cannot make the received records durable: {why}")


def only_stock(block: bytes) -> tuple[bytes, int] | None:
    """Return the runs of stock clients in a block and their number of frames; None without any."""
    stock = [run for run in runs(memoryview(block)) if run.kind is Kind.STOCK]
    content = b"".join(
        make_run(Kind.STOCK, map(bytes, frames(run)), peer=run.peer, connection=run.connection)
        for run in stock
    )
    return (content, sum(run.frames for run in stock)) if stock else None
