"""A fastlog client that sends exactly what a test passes, valid or not.

It is written from `docs/protocol.md` alone, and shares no code with the client or the server.
"""

from __future__ import annotations

import hmac
import os
import socket
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from conditions import SECONDS
from senders import stock_frame

HELLO, CHALLENGE, AUTH, WELCOME = 1, 2, 3, 4
BATCH, GAP, ACK, NOTICE, ERROR, BYE = 0x10, 0x11, 0x20, 0x40, 0x4F, 0x50
CRC = 1


def frame(kind: int, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack(">2sBBI", b"\xfaW", kind, flags, len(payload)) + payload


def record(number: int, **extra: Any) -> bytes:
    """Return a record with this number, as in a batch: without its length."""
    return stock_frame(f"number {number}", number=number, **extra)[4:]


def batch(base: int, records: Sequence[bytes], *, crc: bool = True, **wrong: int) -> bytes:
    """Return a BATCH frame; `wrong` replaces fields: count, format, codec, raw_length, crc32."""
    frames = b"".join(struct.pack(">I", len(data)) + data for data in records)
    count = wrong.get("count", len(records))
    head = (base, count, wrong.get("format", 0), wrong.get("codec", 0))
    payload = struct.pack(">QHBBI", *head, wrong.get("raw_length", len(frames))) + frames
    if crc:
        payload += struct.pack(">I", wrong.get("crc32", zlib.crc32(payload)))
    return frame(BATCH, payload, CRC if crc else 0)


def gap(first: int, last: int, reason: int = 1, t0: int = 1, t1: int = 2) -> bytes:
    return frame(GAP, struct.pack(">QQBQQ", first, last, reason, t0, t1))


def bye(last: int) -> bytes:
    return frame(BYE, struct.pack(">Q", last))


class Frame(NamedTuple):
    kind: int
    payload: bytes


class Ack(NamedTuple):
    committed: int
    window: int
    state: int


class Welcome(NamedTuple):
    version: int
    capabilities: int
    node: bytes
    committed: int
    max_frame: int
    max_record: int
    window: int
    ack_ms: int
    keepalive: int


class ServerRejectedError(Exception):
    """The server answered with an ERROR."""

    def __init__(self, payload: bytes) -> None:
        self.code, self.action, self.sequence = struct.unpack_from(">HBQ", payload)
        self.text = payload[11:].decode()
        super().__init__(f"{self.code}/{self.action} {self.text}")


class Speaker:
    """One connection."""

    def __init__(
        self, port: int | str | socket.socket, client: bytes | None = None, key: str = ""
    ) -> None:
        self.client = client or os.urandom(16)
        self.nonce = os.urandom(16)
        self._key_id, _, self._secret = key.partition(":")
        self._unread = b""
        self.welcome: Welcome | None = None
        if isinstance(port, socket.socket):
            self.socket = port  # connected, and perhaps of TLS
        elif isinstance(port, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(SECONDS)
            self.socket.connect(port)
        else:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)

    def __enter__(self) -> Speaker:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def hello_payload(
        self,
        first: int = 1,
        next_seq: int | None = None,
        *,
        incarnation: int = 1,
        acked_by: bytes = bytes(16),
        versions: tuple[int, int] = (1, 1),
    ) -> bytes:
        next_seq = first if next_seq is None else next_seq
        return (
            struct.pack(">BBH16sQQQ", *versions, 3, self.client, incarnation, first, next_seq)
            + struct.pack(">16sI16s", acked_by, 1 << 20, self.nonce)
            + struct.pack(">B", len(self._key_id))
            + self._key_id.encode()
        )

    def greet(self, first: int = 1, next_seq: int | None = None, **hello: Any) -> Welcome:
        """Send HELLO, prove the key if there is one, and return the WELCOME."""
        payload = self.hello_payload(first, next_seq, **hello)
        self.send(frame(HELLO, payload))
        challenge = b""
        answer = self.read()
        if answer.kind == CHALLENGE:
            challenge = answer.payload
            self.send(frame(AUTH, self._digest(b"fl1c" + challenge + payload)))
            answer = self.read()
        assert answer.kind == WELCOME, answer
        fields, proof = answer.payload[:44], answer.payload[44:]
        if self._key_id:
            assert proof == self._digest(b"fl1s" + self.nonce + challenge + payload + fields)
        else:
            assert proof == b""
        unpacked = struct.unpack(">BBH16sQIIIHH", fields)
        self.welcome = Welcome(unpacked[0], *unpacked[2:])
        return self.welcome

    def _digest(self, data: bytes) -> bytes:
        return hmac.digest(self._secret.encode(), data, "sha256")

    def read(self) -> Frame:
        """Read and return the next frame.

        Raises:
            ServerRejectedError: It is an ERROR.
            EOFError: The server has closed the connection.
        """
        head = self._exactly(8)
        magic, kind, flags, length = struct.unpack(">2sBBI", head)
        assert (magic, flags) == (b"\xfaW", 0)
        payload = self._exactly(length)
        if kind == ERROR:
            raise ServerRejectedError(payload)
        return Frame(kind, payload)

    def ack(self) -> Ack:
        """Read and return the next frame, which must be an ACK."""
        answer = self.read()
        assert answer.kind == ACK, answer
        return Ack._make(struct.unpack(">QIB", answer.payload))

    def until(self, committed: int) -> Ack:
        """Read until the ACK of this sequence, and return it; no ACK may be beyond it."""
        while (ack := self.ack()).committed < committed:
            pass
        assert ack.committed == committed
        return ack

    def rejection(self) -> ServerRejectedError:
        """Read until the ERROR, which must be the last frame, and return it."""
        try:
            while True:
                self.read()
        except ServerRejectedError as rejected:
            assert self.at_end()
            return rejected

    def at_end(self) -> bool:
        """Return whether the server has closed the connection and everything is read."""
        try:
            return not self._unread and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _exactly(self, length: int) -> bytes:
        while len(self._unread) < length:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._unread += data
        data, self._unread = self._unread[:length], self._unread[length:]
        return data
