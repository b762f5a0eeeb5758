"""Where fastlog clients come in: the loop reports, the sessions decide, and this does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastlog.core import Ended, Hello, Loop
from fastlog.eventlog import EventLog
from fastlog.journal import Journal, Snapshot
from fastlog.protocol.handshake import Admit, Dismiss, Do, Enter, Reject, Send, Sessions


class Handshakes:
    """Serves the clients' greetings, and has what is durable acknowledged.

    Args:
        rejected: Is told the peer and the reason of each rejection.
        events: The log of what strangers can make happen.
    """

    def __init__(
        self,
        loop: Loop,
        journal: Journal,
        sessions: Sessions,
        rejected: Callable[[str, str], None],
        events: EventLog,
    ) -> None:
        self._loop, self._journal, self._sessions = loop, journal, sessions
        self._rejected, self._events = rejected, events
        self._owed = 0
        """The end of the last block for which somebody waits, in the journal."""
        self._told = journal.durable
        """What the loop and the sessions were told to be durable."""

    def serve(self) -> None:
        """Answers those who have come, and forgets those who have gone."""
        for event in self._loop.events():
            if isinstance(event, Hello):
                self._do(self._sessions.hello(event))
            elif isinstance(event, Ended):
                self._do(self._sessions.ended(event))
            else:
                self._do(self._sessions.proof(event))

    def journaled(self) -> None:
        """The journal has taken a block of the loop's."""
        if self._loop.dirty():
            self._owed = self._journal.end
            self._loop.journaled(self._owed)

    def owes(self) -> bool:
        """Whether somebody waits for the journal. May be asked from its thread."""
        return self._owed > self._told

    def acknowledge(self) -> None:
        """Tells those who wait what has become durable."""
        durable = self._journal.durable
        if durable > self._told:
            self._told = durable
            self._loop.durable(durable)
            self._do(self._sessions.durable(durable))

    def snapshot(self) -> Snapshot | None:
        """What must outlive the segments; None while it cannot be said."""
        content = self._sessions.snapshot(self._loop.committed)
        return None if content is None else Snapshot(self._told, content)

    def revoke(self) -> int:
        """Ends the connections that were taken over and whose secret is no key's any more. Returns
        how many."""
        revoked = list(self._sessions.revoke())
        self._do(revoked)
        return len(revoked)

    def _do(self, answers: Iterable[Do]) -> None:
        for answer in answers:
            match answer:
                case Send(conn, frame):
                    self._loop.send(conn, frame)
                case Admit(conn, client, key, incarnation, committed, frame):
                    self._loop.admit(conn, client, key, incarnation, committed, frame)
                case Dismiss(conn, frame):
                    self._loop.dismiss(conn, frame)
                case Reject(peer, reason):
                    self._rejected(peer, reason)
                case Enter():
                    self._enter(answer)

    def _enter(self, entry: Enter) -> None:
        if self._journal.append(entry.run, 1, urgent=True) is not None:
            self._do(self._sessions.not_entered(entry.conn))
            return
        self._events.add("clients", entry.text)
        self._owed = self._journal.end
        self._sessions.entered(entry.conn, self._owed)
