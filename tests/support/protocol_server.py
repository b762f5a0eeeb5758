"""A small server of the fastlog protocol: it behaves as its `Terms` say, and keeps what it gets.

`Peer` is one connection's server side without I/O, `FakeServer` puts sockets around it. All
connections share a `Table`, as those of a real server share its journal.
"""

from __future__ import annotations

import hashlib
import hmac
import pickle
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from conditions import wait_for

from fastlog.drill.ports import ReservedPort

HELLO, CHALLENGE, AUTH, WELCOME = 0x01, 0x02, 0x03, 0x04
BATCH, GAP, ACK, NOTICE, ERROR, BYE = 0x10, 0x11, 0x20, 0x40, 0x4F, 0x50
RETRY, FIX_CONFIG, NEW_ID = range(3)
NODE = b"n" * 16
NONCE = b"s" * 16
_HEADER = struct.Struct(">2sBBI")
_HELLO = struct.Struct(">BBH16sQQQ16sI16sB")
_BATCH = struct.Struct(">QHBBI")


class Hello(NamedTuple):
    version_max: int
    version_min: int
    capabilities: int
    client: bytes
    incarnation: int
    first_seq: int
    next_seq: int
    acked_by: bytes
    max_frame: int
    nonce: bytes
    key_length: int


class Gap(NamedTuple):
    first: int
    last: int
    reason: int
    t0: int
    t1: int


@dataclass
class Terms:
    """How the server behaves; a test may change it while connections are open."""

    acks: bool = True
    """Whether it acknowledges what it has accepted."""
    window: int = 1 << 20
    max_record: int = 1 << 20
    keepalive: int = 5
    key: tuple[str, str] | None = None
    secret_of_proof: str | None = None
    """The secret that its proof uses instead."""
    capabilities: int = 3
    error: tuple[int, int] | None = None
    """(code, action): the answer to every HELLO."""
    silent: bool = False
    """Whether it accepts everything and sends nothing."""


@dataclass
class Table:
    """What was received, over all connections."""

    terms: Terms = field(default_factory=Terms)
    accepted: dict[bytes, int] = field(default_factory=dict)
    records: list[tuple[bytes, int, dict[str, Any]]] = field(default_factory=list)
    """(client id, sequence, attributes), in the order of arrival, without duplicates."""
    gaps: list[tuple[bytes, Gap]] = field(default_factory=list)
    hellos: list[Hello] = field(default_factory=list)
    byes: list[bytes] = field(default_factory=list)
    batches: list[tuple[int, int, int]] = field(default_factory=list)
    """(first sequence, count, payload bytes) of all batches, duplicates included."""
    live: dict[bytes, Peer] = field(default_factory=dict)
    """The newest connection of each client. A HELLO closes the one before, as the server does."""

    def numbers(self) -> list[int]:
        """Return the `number` of each record."""
        return [attributes["number"] for _, _, attributes in list(self.records)]

    def sequences(self) -> list[int]:
        """Return every sequence of a record or a gap, sorted, duplicates included."""
        spans = [range(gap.first, gap.last + 1) for _, gap in list(self.gaps)]
        return sorted([s for _, s, _ in list(self.records)] + [s for span in spans for s in span])

    def is_exact(self, count: int) -> bool:
        """Return whether records and gaps are 1 to `count`, each once, and records in order."""
        order = [sequence for _, sequence, _ in list(self.records)]
        return self.sequences() == list(range(1, count + 1)) and order == sorted(order)


class Peer:
    """The server's side of one connection."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.closed = False
        """Whether the connection is to be closed after the last answer."""
        self.client: bytes | None = None
        """The id of the client after the handshake."""
        self._data = b""
        self._hello = b""
        self._asked = False

    def receive(self, data: bytes) -> bytes:
        """Handle bytes of the client, in any chunks. Returns the answer."""
        if self.table.terms.silent:
            return b""
        if self.client is not None and self.table.live.get(self.client) is not self:
            self.closed = True
            return b""
        self._data += data
        return b"".join(self._answers())

    def ack(self, committed: int | None = None) -> bytes:
        """Return an ACK of everything accepted, or of `committed`."""
        assert self.client is not None
        if committed is None:
            committed = self.table.accepted[self.client]
        return frame(ACK, struct.pack(">QIB", committed, self.table.terms.window, 0))

    def notice(self, retry_ms: int) -> bytes:
        return frame(NOTICE, struct.pack(">BH", 1, retry_ms) + b"the server is stopping")

    def error(self, code: int, action: int) -> bytes:
        self.closed = True
        return frame(ERROR, struct.pack(">HBQ", code, action, 0) + b"as the test requires")

    def _answers(self) -> Iterator[bytes]:
        while len(self._data) >= _HEADER.size and not self.closed:
            magic, kind, flags, length = _HEADER.unpack_from(self._data)
            assert magic == b"\xfa\x57", self._data[:16]
            end = _HEADER.size + length
            if len(self._data) < end:
                return
            payload, self._data = self._data[_HEADER.size : end], self._data[end:]
            yield self._answer(kind, flags, payload)

    def _answer(self, kind: int, flags: int, payload: bytes) -> bytes:
        if self.client is None:
            return self._greet(kind, payload)
        if kind == BATCH:
            return self._take_batch(flags, payload)
        if kind == GAP:
            return self._take_gap(Gap._make(struct.unpack(">QQBQQ", payload)))
        assert kind == BYE, kind
        (last,) = struct.unpack(">Q", payload)
        assert last == self.table.accepted.pop(self.client)
        self.table.byes.append(self.client)
        self.closed = True
        return b""

    def _greet(self, kind: int, payload: bytes) -> bytes:
        terms = self.table.terms
        if kind == AUTH:
            assert self._asked
            return self._welcome() if self._proves(payload) else self.error(2, FIX_CONFIG)
        assert kind == HELLO
        self._hello = payload
        hello = Hello._make(_HELLO.unpack_from(payload))
        assert len(payload) == _HELLO.size + hello.key_length
        self.table.hellos.append(hello)
        if terms.error is not None:
            return self.error(*terms.error)
        if hello.key_length and terms.key:
            assert payload[_HELLO.size :].decode() == terms.key[0]
            self._asked = True
            return frame(CHALLENGE, NONCE)
        return self._welcome() if not terms.key else self.error(2, FIX_CONFIG)

    def _proves(self, proof: bytes) -> bool:
        assert self.table.terms.key is not None
        right = _digest(self.table.terms.key[1], b"fl1c", NONCE, self._hello)
        return hmac.compare_digest(proof, right)

    def _welcome(self) -> bytes:
        terms, hello = self.table.terms, self.table.hellos[-1]
        committed = self.table.accepted.get(hello.client)
        if committed is not None and hello.next_seq <= committed:
            return self.error(3, NEW_ID)
        committed = max(committed or 0, hello.first_seq - 1)
        self.table.accepted[hello.client] = committed  # first: other threads send ACKs to clients
        self.client = hello.client
        self.table.live[hello.client] = self
        fields = struct.pack(
            ">BBH16sQIIIHH",
            *(1, 0, hello.capabilities & terms.capabilities, NODE, committed),
            *(terms.max_record + 65536, terms.max_record, terms.window, 100, terms.keepalive),
        )
        if hello.key_length:
            secret = terms.secret_of_proof or (terms.key[1] if terms.key else None)
            if secret:
                fields += _digest(secret, b"fl1s", hello.nonce, NONCE, self._hello, fields)
        return frame(WELCOME, fields)

    def _take_batch(self, flags: int, payload: bytes) -> bytes:
        assert self.client is not None
        assert len(payload) <= self.table.terms.max_record + 65536
        size = len(payload)
        if flags & 1:
            assert self.table.terms.capabilities & 1
            (crc,) = struct.unpack(">I", payload[-4:])
            payload = payload[:-4]
            assert crc == zlib.crc32(payload)
        base, count, pickled, codec, length = _BATCH.unpack_from(payload)
        assert (pickled, codec, length) == (0, 0, len(payload) - _BATCH.size)
        assert count
        self.table.batches.append((base, count, size))
        accepted = self.table.accepted[self.client]
        assert base <= accepted + 1, "records are missing before this batch"
        at = _BATCH.size
        for sequence in range(base, base + count):
            (size,) = struct.unpack_from(">I", payload, at)
            assert size <= self.table.terms.max_record
            if sequence > accepted:
                attributes = pickle.loads(payload[at + 4 : at + 4 + size], encoding="utf-8")
                self.table.records.append((self.client, sequence, attributes))
            at += 4 + size
        assert at == len(payload)
        return self._accept(base + count - 1)

    def _take_gap(self, gap: Gap) -> bytes:
        assert self.client is not None
        accepted = self.table.accepted[self.client]
        assert gap.first <= accepted + 1, "records are missing before this gap"
        assert gap.last >= gap.first
        assert gap.t1 >= gap.t0
        if gap.last > accepted:
            new = gap._replace(first=max(gap.first, accepted + 1))
            self.table.gaps.append((self.client, new))
        return self._accept(gap.last)

    def _accept(self, last: int) -> bytes:
        assert self.client is not None
        self.table.accepted[self.client] = max(self.table.accepted[self.client], last)
        return self.ack() if self.table.terms.acks else b""


def frame(kind: int, payload: bytes) -> bytes:
    return _HEADER.pack(b"\xfa\x57", kind, 0, len(payload)) + payload


def _digest(secret: str, *parts: bytes) -> bytes:
    return hmac.new(secret.encode(), b"".join(parts), hashlib.sha256).digest()


class FakeServer:
    """A listener on 127.0.0.1, or at a Unix path. A context manager; `restart` keeps the address.

    Args:
        path: of a Unix socket, instead.
        terms: fields of `Terms`.
    """

    def __init__(self, path: str | None = None, **terms: Any) -> None:
        self.table = Table(Terms(**terms))
        self.terms = self.table.terms
        self.failures: list[BaseException] = []
        """Assertions about the protocol that did not hold, in any connection."""
        self.connections = 0
        self._path = path
        self._peers: dict[socket.socket, Peer] = {}
        self._lock = threading.RLock()
        self._reserved = None if path else ReservedPort()
        self.port = self._reserved.number if self._reserved else 0
        self._listener = self._listen()

    @property
    def address(self) -> tuple[str, int | None]:
        """The arguments of a handler."""
        return (self._path, None) if self._path else ("127.0.0.1", self.port)

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._reserved:
            self._reserved.close()
        assert not self.failures, self.failures

    def _listen(self) -> socket.socket:
        family = socket.AF_UNIX if self._path else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self._path or ("127.0.0.1", self.port))
        listener.listen(64)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def stop(self) -> None:
        """Close the listener, and reset all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def restart(self) -> None:
        self._listener = self._listen()

    def reset(self) -> None:
        """Reset all connections."""
        with self._lock:
            connections = list(self._peers)
        for connection in connections:
            with suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: not set(connections) & set(self._peers), "connections are gone")

    def send(self, what: str, *args: Any) -> None:
        """Send an `ack`, a `notice` or an `error` over all connections after their handshake."""
        with self._lock:
            for connection, peer in list(self._peers.items()):
                if peer.client is not None:
                    connection.sendall(getattr(peer, what)(*args))

    def live(self) -> int:
        """Return the number of open connections after their handshake."""
        with self._lock:
            return sum(peer.client is not None for peer in self._peers.values())

    def wait_exact(self, count: int, seconds: float = 30.0) -> None:
        wait_for(lambda: self.failures or self.table.is_exact(count), f"exactly {count}", seconds)
        assert not self.failures, self.failures

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._peers[connection] = Peer(self.table)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        peer = self._peers[connection]
        try:
            while not peer.closed and (data := connection.recv(65536)):
                with self._lock:
                    connection.sendall(peer.receive(data))
        except OSError:
            pass
        except Exception as error:  # an assertion of Peer: the test reports it
            self.failures.append(error)
        finally:
            with self._lock:
                del self._peers[connection]
            connection.close()
