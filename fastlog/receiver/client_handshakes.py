"""Connects the handshake to the loop and the journal, and acknowledges what is durable."""

from __future__ import annotations

from collections.abc import Iterable

from fastlog.core import Ended, Hello, Loop
from fastlog.eventlog import EventLog
from fastlog.journal import Journal, Snapshot
from fastlog.protocol.handshake import HandshakeProtocol
from fastlog.protocol.handshake_actions import (
    Admit,
    Close,
    CountRejection,
    HandshakeAction,
    JournalGap,
    SendFrame,
)
from fastlog.receiver.rejections import Rejections


class ClientHandshakes:
    """Passes the loop's events to the protocol and carries out the actions that come back."""

    def __init__(
        self,
        loop: Loop,
        journal: Journal,
        protocol: HandshakeProtocol,
        rejections: Rejections,
        events: EventLog,
    ) -> None:
        self._loop, self._journal, self._protocol = loop, journal, protocol
        self._rejections, self._events = rejections, events
        self._awaited = 0
        """The end of the last block in the journal for which a client waits."""
        self._acknowledged = journal.durable
        """The durable offset that the loop and the protocol were last given."""

    def process_events(self) -> None:
        """Process the loop's events: frames of handshakes, and ended connections."""
        for event in self._loop.events():
            if isinstance(event, Hello):
                self._do(self._protocol.receive_hello(event))
            elif isinstance(event, Ended):
                self._do(self._protocol.connection_ended(event))
            else:
                self._do(self._protocol.receive_auth(event))

    def block_journaled(self) -> None:
        """Record that the journal has accepted the loop's last block."""
        if self._loop.dirty():
            self._awaited = self._journal.end
            self._loop.journaled(self._awaited)

    def is_waiting(self) -> bool:
        """Return whether a client waits for the journal. Any thread may call this."""
        return self._awaited > self._acknowledged

    def acknowledge(self) -> None:
        """Acknowledge what has become durable."""
        durable = self._journal.durable
        if durable > self._acknowledged:
            self._acknowledged = durable
            self._loop.durable(durable)
            self._do(self._protocol.journal_durable(durable))

    def snapshot(self) -> Snapshot | None:
        """Return the client table for the journal; None while some client's state is not known."""
        content = self._protocol.snapshot(self._loop.committed)
        return None if content is None else Snapshot(self._acknowledged, content)

    def close_revoked(self) -> int:
        """Close the connections whose secret is not in the configuration any more.

        Returns:
            Their number.
        """
        actions = list(self._protocol.close_revoked())
        self._do(actions)
        return len(actions)

    def _do(self, actions: Iterable[HandshakeAction]) -> None:
        for action in actions:
            match action:
                case SendFrame(conn, frame):
                    self._loop.send(conn, frame)
                case Admit(conn, client, key, incarnation, committed, welcome):
                    self._loop.admit(conn, client, key, incarnation, committed, welcome)
                case Close(conn, frame):
                    self._loop.dismiss(conn, frame)
                case CountRejection(peer, reason):
                    self._rejections.add_client(peer, reason)
                case JournalGap():
                    self._append_gap(action)

    def _append_gap(self, gap: JournalGap) -> None:
        if self._journal.append(gap.run, 1, urgent=True) is not None:
            self._do(self._protocol.gap_not_journaled(gap.conn))
            return
        self._events.add("clients", gap.text)
        self._awaited = self._journal.end
        self._protocol.gap_journaled(gap.conn, self._awaited)
