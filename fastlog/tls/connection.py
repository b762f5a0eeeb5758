"""One connection: TLS on the side of the network, plain bytes on the side of the receiver.

A direction that cannot write keeps what it has read, and reads no more until that is written. So a
connection has at most one buffer of each direction, and what waits beyond that is in the kernel.

The end of one direction is passed on after its last byte. The connection is closed when both have
ended.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from typing import Protocol, cast

from fastlog.x509 import Certificate, certificate

CHUNK = 128 * 1024
"""Bytes of one read."""
_TLS_RECORD = 16 * 1024
"""The most plain bytes of one record of TLS."""
_received = bytearray(CHUNK)
_plain = bytearray(CHUNK + 4 * _TLS_RECORD)
_received_view, _plain_view = memoryview(_received), memoryview(_plain)
"""All connections share these: nothing stays in them from one call to the next."""


class Events(Protocol):
    """What a connection needs of its event loop."""

    def watch(self, fd: int, before: int, events: int) -> None:
        """Watch other events of a descriptor; 0 of them: none at all."""

    def close_later(self, connection: Connection) -> None:
        """Close the connection in some seconds, if it is still open then."""

    def closed(self, connection: Connection) -> None:
        """Note that the connection is to be closed at the end of this pass."""


class Connection:
    """See the module. The socket `tcp` is the connection's, and so is `pair` once it is there.

    Args:
        tcp: The accepted socket, non-blocking.
        peer: Its name.
        tls: The TLS engine of the connection, with its two buffers.
    """

    __slots__ = (
        "_events",
        "_incoming",
        "_outgoing",
        "_pair_events",
        "_passed",
        "_read",
        "_tcp_events",
        "_tls",
        "_to_peer",
        "_to_receiver",
        "client_certificate",
        "is_closed",
        "listener_url",
        "pair",
        "peer",
        "peer_ended",
        "receiver_ended",
        "sent",
        "tcp",
    )

    def __init__(
        self,
        tcp: socket.socket,
        peer: str,
        tls: tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO],
        events: Events,
    ) -> None:
        self.tcp, self.peer = tcp, peer
        self.pair: socket.socket | None = None
        self._tls, self._incoming, self._outgoing = tls
        # With a buffer it returns the number of bytes.
        self._read = cast("Callable[[int, memoryview], int]", self._tls.read)
        self._events = events
        self._to_receiver: memoryview | None = None
        """Plain bytes that the receiver has not taken yet."""
        self._to_peer: memoryview | None = None
        """Encrypted bytes that the network has not taken yet."""
        self._tcp_events = self._pair_events = 0
        self.peer_ended = self.receiver_ended = False
        """Whether a side will send nothing more, and everything it had sent was passed on."""
        self._passed = 0
        """Bytes that the present event has passed on."""
        self.sent = False
        """Whether the receiver has sent anything."""
        self.is_closed = False
        self.client_certificate: Certificate | None = None
        """None: the peer has shown none."""
        self.listener_url = ""
        """Of the listener whose handshake it has done."""

    # ---- the handshake ----

    def begin(self) -> None:
        """Watch the socket."""
        self._watch_tcp(EPOLLIN)

    def receive_handshake(self) -> memoryview | None:
        """Read from the network; return what came: b"" at the end, None if nothing did."""
        data = self._receive_bytes()
        if data:
            self._incoming.write(data)
        return data

    def _receive_bytes(self) -> memoryview | None:
        try:
            size = self.tcp.recv_into(_received)
        except BlockingIOError:
            return None
        except OSError:
            size = 0
        return _received_view[:size]

    def step_handshake(self) -> bool:
        """Go on with the handshake; return whether it is done.

        Raises:
            ssl.SSLError: It failed. An alert for the peer was sent.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._send_encrypted()
        return True

    def certificate(self) -> Mapping[str, object]:
        """Return the verified certificate of the peer; empty if it has sent none.

        Raises:
            ValueError: It cannot be read: a name is no UTF-8, for example.
        """
        der = self._tls.getpeercert(binary_form=True)
        if der is not None:
            self.client_certificate = certificate(der)
        return self._tls.getpeercert() or {}

    def end_after_alert(self) -> None:
        """End the connection so that the peer can read the alert: close it later.

        Closing it at once would reset it if bytes of the peer wait, and the alert would be lost.
        """
        with contextlib.suppress(OSError):
            self.tcp.shutdown(socket.SHUT_WR)
        self._events.close_later(self)

    def discard(self) -> None:
        """Read and drop what the peer sends after its handshake has failed."""
        data = self._receive_bytes()
        if data is not None and not data:
            self.close()

    def connect(self, pair: socket.socket) -> None:
        """Pass plain bytes from and to this socket from now on, and own it."""
        self.pair = pair
        self._update()
        self._decrypt()  # what came with the end of the handshake

    # ---- events ----

    def on_tcp(self, events: int) -> int:
        """Handle events of the network's socket; return how many bytes were passed on."""
        self._passed = 0
        if events & EPOLLOUT and self._to_peer is not None:
            self._flush_to_peer()
        if self.is_closed or self._to_receiver is not None:
            return self._passed  # it is read again when the receiver has taken what waits
        if events & (EPOLLIN | EPOLLHUP | EPOLLERR) and not self.peer_ended:
            self._receive()
        return self._passed

    def on_pair(self, events: int) -> int:
        """Handle events of the receiver's socket; return how many bytes were passed on."""
        self._passed = 0
        if events & (EPOLLOUT | EPOLLHUP) and self._to_receiver is not None:
            self._flush_to_receiver()
        if self.is_closed or self._to_peer is not None:
            return self._passed
        if events & (EPOLLIN | EPOLLHUP | EPOLLERR) and not self.receiver_ended:
            self._encrypt()
        return self._passed

    # ---- from the network to the receiver ----

    def _receive(self) -> None:
        data = self._receive_bytes()
        if data is None:
            return
        if not data:
            # Without the alert that TLS has for it: a SocketHandler closes like this. Frames have
            # lengths, so a frame that someone has cut off is noticed.
            self._end_peer()
            return
        self._incoming.write(data)
        self._decrypt()

    def _decrypt(self) -> None:
        """Pass on what can be decrypted."""
        read, at, ended = self._read, 0, False
        try:
            while got := read(_TLS_RECORD, _plain_view[at : at + _TLS_RECORD]):
                at += got
            ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:  # the end of the stream, or damage; both end the connection
            ended = True
        if self._outgoing.pending:
            self._send_encrypted()
        if at:
            self._send_plain(at)
        if ended and not self.is_closed:
            self._end_peer()

    def _send_plain(self, size: int) -> None:
        assert self.pair is not None
        self._passed = size
        try:
            sent = self.pair.send(_plain_view[:size])
        except BlockingIOError:
            sent = 0
        except OSError:  # the receiver has closed it
            self._end_peer()
            return
        if sent < size:
            self._to_receiver = memoryview(bytes(_plain_view[sent:size]))
            self._update()

    def _flush_to_receiver(self) -> None:
        assert self.pair is not None
        assert self._to_receiver is not None
        try:
            sent = self.pair.send(self._to_receiver)
        except BlockingIOError:
            return
        except OSError:
            self._to_receiver = None
            self._end_peer()
            return
        self._passed = sent
        self._to_receiver = self._to_receiver[sent:] if sent < len(self._to_receiver) else None
        if self.peer_ended and self._to_receiver is None:
            self._end_peer()
        self._update()

    def _end_peer(self) -> None:
        """Pass on that the network will bring nothing more, once everything before is passed on."""
        self.peer_ended = True
        if self._to_receiver is None and self.pair is not None:
            with contextlib.suppress(OSError):
                self.pair.shutdown(socket.SHUT_WR)
        self._settle()

    # ---- from the receiver to the network ----

    def _encrypt(self) -> None:
        assert self.pair is not None
        try:
            data = self.pair.recv(_TLS_RECORD)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end_receiver()
            return
        self._passed, self.sent = len(data), True
        try:
            self._tls.write(data)
        except ssl.SSLError:
            self._end_receiver()
            return
        self._send_encrypted()

    def _send_encrypted(self) -> None:
        data = self._outgoing.read()
        if self._to_peer is not None:
            self._to_peer = memoryview(bytes(self._to_peer) + data)
            if len(self._to_peer) > CHUNK:  # it asks for new keys again and again, and reads none
                self.close()
        elif data:
            self._to_peer = memoryview(data)
            self._flush_to_peer()

    def _flush_to_peer(self) -> None:
        assert self._to_peer is not None
        try:
            sent = self.tcp.send(self._to_peer, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError:  # it was reset; reading shows that too
            self._to_peer = None
            self._settle()
            return
        self._to_peer = self._to_peer[sent:] if sent < len(self._to_peer) else None
        if self._to_peer is None and self.receiver_ended:
            self._shut_down()
        self._settle()

    def _end_receiver(self) -> None:
        """Pass on that the receiver will send nothing more, after its last byte."""
        self.receiver_ended = True
        if self.sent:  # a peer that was never sent anything does not read either
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._send_encrypted()
        if self._to_peer is None:
            self._shut_down()
        self._events.close_later(self)
        self._settle()

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):
            self.tcp.shutdown(socket.SHUT_WR)

    # ---- the end ----

    def close(self) -> None:
        """Close both sides now. Has no effect on a closed connection."""
        if not self.is_closed:
            self.is_closed = True
            self._watch_tcp(0)
            if self.pair is not None:
                self._watch_pair(0)
            self._events.closed(self)

    def release(self) -> None:
        """Close the sockets of a closed connection."""
        self.tcp.close()
        if self.pair is not None:
            self.pair.close()

    def _settle(self) -> None:
        """Close the connection if both directions have ended."""
        waits = self._to_receiver is not None or self._to_peer is not None
        if self.peer_ended and self.receiver_ended and not waits:
            self.close()
        else:
            self._update()

    def _update(self) -> None:
        """Watch what the connection waits for now."""
        if self.is_closed or self.pair is None:
            return
        reads = not self.peer_ended and self._to_receiver is None
        self._watch_tcp(EPOLLIN * reads | EPOLLOUT * (self._to_peer is not None))
        reads = not self.receiver_ended and self._to_peer is None
        self._watch_pair(EPOLLIN * reads | EPOLLOUT * (self._to_receiver is not None))

    def _watch_tcp(self, events: int) -> None:
        if events != self._tcp_events:
            self._events.watch(self.tcp.fileno(), self._tcp_events, events)
            self._tcp_events = events

    def _watch_pair(self, events: int) -> None:
        assert self.pair is not None
        if events != self._pair_events:
            self._events.watch(self.pair.fileno(), self._pair_events, events)
            self._pair_events = events
