"""A bad network: a TCP proxy that cuts connections, swallows what it is given, and drops acks."""

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
"""Bytes that wait for one side before the other is not read any more."""
_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close() send a reset."""
_HEAD = struct.Struct(">2sBBI")
"""Before every frame of the fastlog protocol; a server says nothing else."""


def never() -> int | None:
    """No cut."""
    return None


class Proxy:
    """Forwards connections to a port of this machine, by a thread of its own, while it is entered.

    Its faults may be changed at any time, from any thread. `heal` ends all of them.

    Args:
        target: the port that is forwarded to.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.draw_cut: Callable[[], int | None] = never
        """Asked for each new connection: after how many bytes of the client it is reset, or
        `None`. Exactly so many are forwarded before."""
        self.drops_acks = False
        """Whether the ACKs are taken out of what the server answers."""
        self.connections = 0
        self.cuts = 0
        """Connections that were reset."""
        self.dropped_acks = 0
        self.swallowed = 0
        """Bytes that went nowhere."""
        self._swallows = self._must_cut = self._is_ending = False
        self._live: set[_Connection] = set()

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
        tb: TracebackType | None,
    ) -> None:
        self._is_ending = True
        self._wake_up()
        self._thread.join()
        self._selector.close()
        self._listener.close()
        os.close(self._wake)

    @property
    def passing(self) -> int:
        """How many connections there are that pass bytes."""
        return sum(not connection.is_dead for connection in self._live.copy())

    def cut(self) -> None:
        """Reset all connections that there are now."""
        self._must_cut = True
        self._wake_up()

    def swallow(self) -> None:
        """Be a dead neighbour: from now on nothing passes, and nobody is told.

        The connections that there are look as they did, and will never pass a byte again, also
        after `heal`. New ones wait, as they do for a host that does not answer.
        """
        self._swallows = True
        self._wake_up()

    def heal(self) -> None:
        """End all faults."""
        self._swallows = self.drops_acks = False
        self.draw_cut = never
        self._wake_up()

    # ---- the thread ----

    def _wake_up(self) -> None:
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while not self._is_ending:
            for key, events in self._selector.select():
                if isinstance(key.data, _End):
                    self._serve(key.data, events)
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    os.eventfd_read(self._wake)
                    self._obey()
        for connection in list(self._live):
            self._close(connection)

    def _obey(self) -> None:
        if self._must_cut:
            self._must_cut = False
            for connection in list(self._live):
                self._reset(connection)
        is_listening = self._listener.fileno() in self._selector.get_map()
        if self._swallows and is_listening:
            self._selector.unregister(self._listener)
            for connection in self._live:
                connection.die()
                self._watch(connection)
        elif not self._swallows and not is_listening:
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # it went away again
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=1)
        except OSError:  # nobody listens now: whoever came is told
            client.close()
            return
        connection = _Connection(client, server, self.draw_cut())
        self.connections += 1
        self._live.add(connection)
        self._watch(connection)

    def _serve(self, end: _End, events: int) -> None:
        connection = end.connection
        if connection not in self._live:
            return  # it ended by an event of the same turn
        try:
            if events & selectors.EVENT_WRITE:
                end.flush()
            if events & selectors.EVENT_READ:
                self._read(end)
        except OSError:
            if not connection.is_dead:
                self._reset(connection)
                return
            end.has_ended = True  # nobody tells the other side
        if connection.is_over():
            self._close(connection)
        elif connection.left == 0 and not connection.server.waiting:
            self._reset(connection)
        else:
            self._watch(connection)

    def _read(self, end: _End) -> None:
        data = end.socket.recv(_CHUNK)
        connection = end.connection
        if not data:
            end.has_ended = True
        elif connection.is_dead:
            self.swallowed += len(data)
        elif end is connection.client:
            connection.server.give(data[: connection.left])
            if connection.left is not None:
                connection.left -= min(connection.left, len(data))
        else:
            passed, dropped = connection.answers.feed(data, drops_acks=self.drops_acks)
            self.dropped_acks += dropped
            connection.client.give(passed)
        if end.has_ended and not connection.is_dead:
            end.peer.finish()

    def _watch(self, connection: _Connection) -> None:
        for end in connection.ends:
            key = self._selector.get_map().get(end.socket)
            events = end.events()
            if key is None and events:
                self._selector.register(end.socket, events, end)
            elif key is not None and not events:
                self._selector.unregister(end.socket)
            elif key is not None and key.events != events:
                self._selector.modify(end.socket, events, end)

    def _reset(self, connection: _Connection) -> None:
        self.cuts += 1
        for end in connection.ends:
            with contextlib.suppress(OSError):
                end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._live.discard(connection)
        for end in connection.ends:
            with contextlib.suppress(KeyError):
                self._selector.unregister(end.socket)
            end.socket.close()


class _End:
    """One of the two sockets of a connection."""

    peer: _End

    def __init__(self, connection: _Connection, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection, self.socket = connection, sock
        self.waiting = bytearray()
        """What its application has not been given yet."""
        self.has_ended = False
        """Nothing more comes from it."""
        self._finishes = False

    def events(self) -> int:
        reads = not self.has_ended and len(self.peer.waiting) < _HIGH_WATER
        writes = selectors.EVENT_WRITE if self.waiting else 0
        return writes | (selectors.EVENT_READ if reads else 0)

    def give(self, data: bytes) -> None:
        self.waiting += data
        self.flush()

    def finish(self) -> None:
        """Nothing more will be given to it."""
        self._finishes = True
        self.flush()

    def flush(self) -> None:
        """Raises OSError when its application is gone."""
        with contextlib.suppress(BlockingIOError):
            while self.waiting:
                del self.waiting[: self.socket.send(self.waiting)]
            if self._finishes:
                self.socket.shutdown(socket.SHUT_WR)
                self._finishes = False


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket, left: int | None) -> None:
        self.client, self.server = self.ends = _End(self, client), _End(self, server)
        self.client.peer, self.server.peer = self.server, self.client
        self.left = left
        """Bytes of the client that may still pass before the reset, or `None`."""
        self.answers = _Answers()
        self.is_dead = False

    def die(self) -> None:
        self.is_dead = True
        self.left = None
        for end in self.ends:
            end.waiting.clear()

    def is_over(self) -> bool:
        return all(end.has_ended and not end.waiting for end in self.ends)


class _Answers:
    """What a server says, frame by frame, as soon as a frame is whole."""

    def __init__(self) -> None:
        self._unread = b""

    def feed(self, data: bytes, *, drops_acks: bool) -> tuple[bytes, int]:
        """What of it passes, and how many ACKs do not."""
        data = self._unread + data
        passed, at, dropped = [], 0, 0
        while len(data) - at >= _HEAD.size:
            _, kind, _, length = _HEAD.unpack_from(data, at)
            end = at + _HEAD.size + length
            if end > len(data):
                break
            if drops_acks and kind == Type.ACK:
                dropped += 1
            else:
                passed.append(data[at:end])
            at = end
        self._unread = data[at:]
        return b"".join(passed), dropped
