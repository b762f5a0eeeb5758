"""A bad network: a TCP proxy that cuts connections, discards all traffic, and drops acks."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

from fastlog.protocol.frames import Type

_CHUNK = 65536
_HIGH_WATER = 4 * _CHUNK
"""Bytes pending for one side at which the proxy stops reading from the other."""
_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close() send a reset."""
_HEAD = struct.Struct(">2sBBI")
"""The header of every frame of the fastlog protocol; a server sends nothing else."""


def no_cut() -> int | None:
    """Return `None`: never cut a connection."""
    return None


class Proxy:
    """A proxy to a port of this machine. It runs in a thread of its own, as a context manager.

    Its faults may be changed at any time, from any thread. `clear_faults` ends all of them.

    Args:
        target: the port to forward to.
        filters_acks: whether the server sends frames of the fastlog protocol, of which those that
            are ACKs can be dropped.
    """

    def __init__(self, target: int, *, filters_acks: bool = True) -> None:
        self._target, self._filters_acks = target, filters_acks
        self.choose_cut: Callable[[], int | None] = no_cut
        """Called for each new connection: the number of the client's bytes to forward before a
        reset, or `None` for no reset."""
        self.drops_acks = False
        """Whether ACK frames of the server are dropped."""
        self.connections = 0
        self.cuts = 0
        """Connections that were reset."""
        self.dropped_acks = 0
        self.discarded = 0
        """Bytes that were read and not forwarded."""
        self._discards = self._must_cut = self._is_closing = False
        self._open: set[_Connection] = set()

    def __enter__(self) -> Proxy:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setblocking(False)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closing = True
        self._wake_up()
        self._thread.join()
        self._selector.close()
        self._listener.close()
        os.close(self._wake)

    @property
    def forwarding(self) -> int:
        """How many open connections forward bytes."""
        return sum(not connection.is_dead for connection in self._open.copy())

    def cut(self) -> None:
        """Reset all open connections."""
        self._must_cut = True
        self._wake_up()

    def discard(self) -> None:
        """Discard all traffic, as if the host were gone, without an error to either side.

        Connections that are open stay open and never forward a byte again, even after
        `clear_faults`. New ones wait, as they do for a host that does not answer.
        """
        self._discards = True
        self._wake_up()

    def clear_faults(self) -> None:
        """End all faults."""
        self._discards = self.drops_acks = False
        self.choose_cut = no_cut
        self._wake_up()

    # ---- the thread ----

    def _wake_up(self) -> None:
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while not self._is_closing:
            for key, events in self._selector.select():
                if isinstance(key.data, _Side):
                    self._serve(key.data, events)
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    os.eventfd_read(self._wake)
                    self._apply()
        for connection in list(self._open):
            self._close(connection)

    def _apply(self) -> None:
        if self._must_cut:
            self._must_cut = False
            for connection in list(self._open):
                self._reset(connection)
        is_listening = self._listener.fileno() in self._selector.get_map()
        if self._discards and is_listening:
            self._selector.unregister(self._listener)
            for connection in self._open:
                connection.mark_dead()
                self._watch(connection)
        elif not self._discards and not is_listening:
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # the client has closed it already
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=1)
        except OSError:  # nothing listens there: the client gets an end of file
            client.close()
            return
        connection = _Connection(client, server, self.choose_cut())
        self.connections += 1
        self._open.add(connection)
        self._watch(connection)

    def _serve(self, side: _Side, events: int) -> None:
        connection = side.connection
        if connection not in self._open:
            return  # an earlier event of the same poll has closed it
        try:
            if events & selectors.EVENT_WRITE:
                side.flush()
            if events & selectors.EVENT_READ:
                self._read(side)
        except OSError:
            if not connection.is_dead:
                self._reset(connection)
                return
            side.at_eof = True  # the other side must not notice
        if connection.is_over():
            self._close(connection)
        elif connection.cut_after == 0 and not connection.server.pending:
            self._reset(connection)
        else:
            self._watch(connection)

    def _read(self, side: _Side) -> None:
        data = side.socket.recv(_CHUNK)
        connection = side.connection
        if not data:
            side.at_eof = True
        elif connection.is_dead:
            self.discarded += len(data)
        elif side is connection.client:
            connection.server.send(data[: connection.cut_after])
            if connection.cut_after is not None:
                connection.cut_after -= min(connection.cut_after, len(data))
        elif not self._filters_acks:
            connection.client.send(data)
        else:
            forwarded, dropped = connection.ack_filter.feed(data, drops_acks=self.drops_acks)
            self.dropped_acks += dropped
            connection.client.send(forwarded)
        if side.at_eof and not connection.is_dead:
            side.peer.shut_down()

    def _watch(self, connection: _Connection) -> None:
        for side in connection.sides:
            key = self._selector.get_map().get(side.socket)
            events = side.events()
            if key is None and events:
                self._selector.register(side.socket, events, side)
            elif key is not None and not events:
                self._selector.unregister(side.socket)
            elif key is not None and key.events != events:
                self._selector.modify(side.socket, events, side)

    def _reset(self, connection: _Connection) -> None:
        self.cuts += 1
        for side in connection.sides:
            with contextlib.suppress(OSError):
                side.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._open.discard(connection)
        for side in connection.sides:
            with contextlib.suppress(KeyError):
                self._selector.unregister(side.socket)
            side.socket.close()


class _Side:
    """One of the two sockets of a connection."""

    peer: _Side

    def __init__(self, connection: _Connection, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection, self.socket = connection, sock
        self.pending = bytearray()
        """Bytes that are not sent to it yet."""
        self.at_eof = False
        """Whether it has sent its last byte."""
        self._shuts_down = False

    def events(self) -> int:
        reads = not self.at_eof and len(self.peer.pending) < _HIGH_WATER
        writes = selectors.EVENT_WRITE if self.pending else 0
        return writes | (selectors.EVENT_READ if reads else 0)

    def send(self, data: bytes) -> None:
        self.pending += data
        self.flush()

    def shut_down(self) -> None:
        """Send the end of the stream after the pending bytes."""
        self._shuts_down = True
        self.flush()

    def flush(self) -> None:
        """Send what the kernel takes.

        Raises:
            OSError: the peer has closed the connection.
        """
        with contextlib.suppress(BlockingIOError):
            while self.pending:
                del self.pending[: self.socket.send(self.pending)]
            if self._shuts_down:
                self.socket.shutdown(socket.SHUT_WR)
                self._shuts_down = False


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket, cut_after: int | None) -> None:
        self.client, self.server = self.sides = _Side(self, client), _Side(self, server)
        self.client.peer, self.server.peer = self.server, self.client
        self.cut_after = cut_after
        """How many more bytes of the client to forward before the reset, or `None`."""
        self.ack_filter = _AckFilter()
        self.is_dead = False

    def mark_dead(self) -> None:
        self.is_dead = True
        self.cut_after = None
        for side in self.sides:
            side.pending.clear()

    def is_over(self) -> bool:
        return all(side.at_eof and not side.pending for side in self.sides)


class _AckFilter:
    """Splits the server's bytes into frames, and drops ACKs on request."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, data: bytes, *, drops_acks: bool) -> tuple[bytes, int]:
        """Return the whole frames to forward, and the number of dropped ACKs."""
        data = self._partial + data
        forwarded, at, dropped = [], 0, 0
        while len(data) - at >= _HEAD.size:
            _, kind, _, length = _HEAD.unpack_from(data, at)
            end = at + _HEAD.size + length
            if end > len(data):
                break
            if drops_acks and kind == Type.ACK:
                dropped += 1
            else:
                forwarded.append(data[at:end])
            at = end
        self._partial = data[at:]
        return b"".join(forwarded), dropped
