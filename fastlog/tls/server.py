"""The event loop of a TLS process: handshakes, and the connections that have done them.

Handshakes are bounded in number and in time, and only some of them are stepped in one pass, since
one costs as much as copying a megabyte: the records of others do not wait for a crowd that
connects.
"""

from __future__ import annotations

import logging
import select
import socket
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from fastlog.certificates import identity
from fastlog.eventlog import EventLog
from fastlog.tls.channel import Accepted, Rejected, Sender
from fastlog.tls.connection import Connection
from fastlog.tls.listeners import Acceptor, FullError, Listener, network_of
from fastlog.tls.revocation import revoked

log = logging.getLogger(__name__)

HANDSHAKE = 5.0
"""Seconds in which a handshake must be done."""
HANDSHAKES = 1000
"""Handshakes at a time. For one more, the oldest of the host that has most of them is ended."""
STEPS = 16
"""Steps of handshakes in one pass."""
ACCEPTS = 64
"""Connections that one pass accepts from a listener."""
LINGER = 5.0
"""Seconds for the last bytes to a peer."""
ALERTS = 200
"""Connections whose handshake has failed, and that wait that long for the peer to read why."""
REST = 0.1
"""Seconds without accepting when no descriptor is left."""
LITTLE = 64 * 1024
"""Bytes of one pass below which the loop pauses, so that the next pass has more to do."""
PAUSE = 0.004
"""Seconds of that pause."""
WAITING = 1000
"""Messages to the receiver that may wait while the channel is full."""
RESERVED_FILES = 64

_TLS_HANDSHAKE = 22
"""The first byte of a client of TLS."""
_NO_TLS = "not TLS: a plain client on a tls:// listener"
_TOO_SLOW = f"no TLS handshake within {HANDSHAKE:.0f} s"
_TOO_MANY = "too many TLS handshakes at a time"
_FULL = "too many connections"
_REVOKED = "the client's certificate: certificate revoked"
_NO_DESCRIPTOR = "no file descriptor left"
_CERTIFICATE_MISSING = "PEER_DID_NOT_RETURN_A_CERTIFICATE"


class _Handshake:
    """A connection that is in its handshake, or has failed in it."""

    __slots__ = ("connection", "deadline", "has_begun", "has_failed", "host", "listener")

    def __init__(self, listener: Listener, connection: Connection, deadline: float) -> None:
        self.listener, self.connection, self.deadline = listener, connection, deadline
        self.host = network_of(connection.peer.rpartition(":")[0].strip("[]"))
        self.has_begun = self.has_failed = False


class Server:
    """Serves connections until `retire` and the end of the last one.

    Args:
        listeners: They accept until `retire`.
        channel: To the receiver.
        connections: The most connections at a time.
        tcp_keepalive: `limits.tcp_keepalive`.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        channel: Sender,
        connections: int,
        tcp_keepalive: float,
    ) -> None:
        self._listeners, self._channel, self._most = list(listeners), channel, connections
        self._acceptor = Acceptor(tcp_keepalive)
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], int | None]] = {}
        """By descriptor: what handles its events, and returns how many bytes that has moved."""
        self._handshakes: dict[Connection, _Handshake] = {}
        """The oldest first."""
        self._of_host: Counter[str] = Counter()
        """Handshakes of each host."""
        self._failed: dict[Connection, None] = {}
        """Those whose handshake has failed, and that are still open; the oldest first."""
        self._steps = 0
        """Steps of handshakes that this pass may still do."""
        self._open: set[Connection] = set()
        self._closed: list[Connection] = []
        self._closing: deque[tuple[float, Connection]] = deque()
        self._waiting: deque[tuple[Accepted | Rejected, socket.socket | None]] = deque()
        """Messages for which the channel had no room."""
        self._events = EventLog(log)
        self._flush_at = 0.0
        self._accept_at = 0.0
        """When to accept again; 0.0: now."""
        self._accepting = False
        self._retired = False
        for listener in self._listeners:
            self._handlers[listener.socket.fileno()] = partial(self._accept, listener)

    # ---- the process ----

    def handle(self, fd: int, handler: Callable[[], None]) -> None:
        """Call `handler` when `fd` is readable."""
        self._handlers[fd] = lambda _: handler()
        self._epoll.register(fd, select.EPOLLIN)

    def retire(self) -> None:
        """Accept nothing more; `run` returns when the last connection is closed."""
        self._retired = True
        self._arm(False)
        for listener in self._listeners:
            del self._handlers[listener.socket.fileno()]
            listener.socket.close()
        self._listeners.clear()

    def end_revoked(self, files: Mapping[str, str]) -> None:
        """End the connections whose certificates are revoked now; see `revocation.revoked`."""
        for connection in list(revoked(self._open, files)):
            self._reject(connection.peer, _REVOKED)
            connection.close()

    def run(
        self, stopping: Callable[[], bool], give_sign: Callable[[], object] = lambda: None
    ) -> None:
        """Serve until it has retired, or `stopping()`.

        Args:
            give_sign: Called in each pass.
        """
        while not (stopping() or (self._retired and not self._open)):
            give_sign()
            self._run_pass()
        self._events.flush(final=True)

    def _run_pass(self) -> None:
        now = time.monotonic()
        self._arm(not (self._retired or self._waiting or now < self._accept_at))
        self._steps = STEPS
        gathered = 0
        for fd, events in self._epoll.poll(self._timeout(now), 512):
            handler = self._handlers.get(fd)
            if handler is not None:
                gathered += handler(events) or 0
        self._send_waiting()
        self._check_times()
        # No descriptor is closed before: an event of this pass must not reach another connection.
        for connection in self._closed:
            connection.release()
        self._closed.clear()
        if 0 < gathered < LITTLE and not self._handshakes:
            time.sleep(PAUSE)

    def _timeout(self, now: float) -> float:
        due = [now + 1.0]
        if self._waiting:
            due.append(now + 0.01)
        if self._accept_at > now:
            due.append(self._accept_at)
        if self._closing:
            due.append(self._closing[0][0])
        if self._handshakes:
            due.append(next(iter(self._handshakes.values())).deadline)
        return max(0.0, min(due) - now)

    def _check_times(self) -> None:
        now = time.monotonic()
        while self._closing and self._closing[0][0] <= now:
            self._closing.popleft()[1].close()
        while self._handshakes:
            oldest = next(iter(self._handshakes.values()))
            if oldest.deadline > now:
                break
            self._give_up(oldest, _TOO_SLOW)
        if now >= self._flush_at:
            self._flush_at = now + 1.0
            self._events.flush()

    # ---- what connections call ----

    def watch(self, fd: int, before: int, events: int) -> None:
        """Watch other events of a descriptor of a connection; see `connection.Events`."""
        if not before:
            self._epoll.register(fd, events)
        elif events:
            self._epoll.modify(fd, events)
        else:
            self._epoll.unregister(fd)

    def close_later(self, connection: Connection) -> None:
        """Close the connection after `LINGER`; see `connection.Events`."""
        self._closing.append((time.monotonic() + LINGER, connection))

    def closed(self, connection: Connection) -> None:
        """Forget a connection; see `connection.Events`."""
        self._handlers.pop(connection.tcp.fileno(), None)
        if connection.pair is not None:
            self._handlers.pop(connection.pair.fileno(), None)
        self._open.discard(connection)
        self._failed.pop(connection, None)
        self._end_handshake(connection)
        self._closed.append(connection)

    # ---- accepting ----

    def _arm(self, accepting: bool) -> None:
        """Watch the listeners, or stop it."""
        if accepting == self._accepting:
            return
        self._accepting = accepting
        for listener in self._listeners:
            if accepting:
                self._epoll.register(listener.socket, select.EPOLLIN)
            else:
                self._epoll.unregister(listener.socket)

    def _accept(self, listener: Listener, _events: int) -> None:
        try:
            for tcp, peer in self._acceptor.accept(listener, ACCEPTS):
                if len(self._open) - len(self._failed) >= self._most:
                    tcp.close()
                    self._reject(peer, _FULL)
                    continue
                self._begin(listener, tcp, peer)
        except FullError as error:
            self._reject(error.peer, _NO_DESCRIPTOR)
            self._accept_at = time.monotonic() + REST

    def _begin(self, listener: Listener, tcp: socket.socket, peer: str) -> None:
        if len(self._handshakes) >= HANDSHAKES:
            ((host, _),) = self._of_host.most_common(1)
            crowd = (each for each in self._handshakes.values() if each.host == host)
            self._give_up(next(crowd), _TOO_MANY)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        engine = listener.context.wrap_bio(incoming, outgoing, server_side=True)
        connection = Connection(tcp, peer, (engine, incoming, outgoing), self)
        handshake = _Handshake(listener, connection, time.monotonic() + HANDSHAKE)
        self._open.add(connection)
        self._handshakes[connection] = handshake
        self._of_host[handshake.host] += 1
        self._handlers[tcp.fileno()] = partial(self._step, handshake)
        connection.begin()

    # ---- handshakes ----

    def _step(self, handshake: _Handshake, _events: int) -> None:
        connection = handshake.connection
        if handshake.has_failed:
            connection.discard()
            return
        if not self._steps:
            return  # epoll reports it again
        self._steps -= 1
        data = connection.receive_handshake()
        if data is None:
            return
        if not data:
            if handshake.has_begun:
                self._reject(connection.peer, "ended inside its TLS handshake")
            connection.close()
            return
        if not handshake.has_begun and data[0] != _TLS_HANDSHAKE:
            self._reject(connection.peer, _NO_TLS, bytes(data[:64]))
            connection.close()
            return
        handshake.has_begun = True
        try:
            if connection.step_handshake():
                self._finish(handshake)
        except ssl.SSLError as error:
            self._fail(handshake, _reason(error))

    def _finish(self, handshake: _Handshake) -> None:
        """Give the receiver a connection whose handshake is done."""
        connection, config = handshake.connection, handshake.listener.config
        try:
            name = identity(connection.certificate())
        except ValueError:  # its authority signs what is no certificate by the standard
            self._fail(handshake, "the client's certificate cannot be read")
            return
        if config.client_ca and config.identity == "certificate" and not name:
            self._fail(handshake, "the client's certificate has no name")
            return
        connection.listener_url = config.url
        self._end_handshake(connection)
        if name:
            connection.peer += f" {name}"
        try:
            ours, theirs = socket.socketpair()
        except OSError:
            self._reject(connection.peer, _NO_DESCRIPTOR)
            connection.close()
            return
        ours.setblocking(False)
        message = Accepted(
            peer=connection.peer,
            stock=config.stock,
            auth=config.auth == "required",
            by_identity=config.identity == "certificate",
        )
        self._handlers[ours.fileno()] = connection.on_pair
        self._handlers[connection.tcp.fileno()] = connection.on_tcp
        self._send(message, theirs)
        connection.connect(ours)

    def _fail(self, handshake: _Handshake, reason: str) -> None:
        """Reject a connection whose handshake has failed. An alert may be on its way to it."""
        connection = handshake.connection
        self._end_handshake(connection)
        handshake.has_failed = True
        self._reject(connection.peer, reason)
        if len(self._failed) >= ALERTS:
            next(iter(self._failed)).close()
        self._failed[connection] = None
        connection.end_after_alert()

    def _give_up(self, handshake: _Handshake, reason: str) -> None:
        """Reject a connection whose handshake is not done. OpenSSL has no alert for that."""
        self._reject(handshake.connection.peer, reason)
        handshake.connection.close()

    def _end_handshake(self, connection: Connection) -> None:
        handshake = self._handshakes.pop(connection, None)
        if handshake is not None:
            self._of_host[handshake.host] -= 1
            if not self._of_host[handshake.host]:
                del self._of_host[handshake.host]

    # ---- messages to the receiver ----

    def _reject(self, peer: str, reason: str, head: bytes = b"") -> None:
        if len(self._waiting) < WAITING:
            self._send(Rejected(peer, reason, head))
        else:
            self._events.add("rejected", f"rejected, and not in the ledger: {reason}")

    def _send(self, message: Accepted | Rejected, end: socket.socket | None = None) -> None:
        self._waiting.append((message, end))
        if len(self._waiting) == 1:
            self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting:
            message, end = self._waiting[0]
            if not self._channel.send(message, None if end is None else end.fileno()):
                return
            self._waiting.popleft()
            if end is not None:
                end.close()


def _reason(error: ssl.SSLError) -> str:
    """Return why a handshake failed, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate: {error.verify_message}"
    if error.reason == _CERTIFICATE_MISSING:
        return "no client certificate"
    words = (error.reason or "unknown").replace("_", " ").lower()
    return f"TLS handshake: {words}"
