"""A NATS client that sends any bytes, and messages that no collector sends."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence

from fastlog import zstd
from fastlog.block import Block
from fastlog.core import crc32c
from fastlog.jetstream.packet import MAGIC, Packet, encode

_HEAD = struct.Struct(">16sQQQIHH")
LARGE = (1 << 64) - 1
BOMB = zstd.compress(bytes(1 << 26), 1)


class RawClient:
    """A connection to a server that checks nothing of what it sends."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._file = self._socket.makefile("rb")
        self._file.readline()  # INFO
        options = {"verbose": False, "headers": True}
        self._socket.sendall(b"CONNECT %s\r\n" % json.dumps(options).encode())
        self.flush()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def flush(self) -> None:
        """Wait until the server has taken everything.

        Raises:
            ConnectionError: It has closed the connection, or rejected something.
        """
        self._socket.sendall(b"PING\r\n")
        while (line := self._file.readline()) != b"PONG\r\n":
            if not line or line.startswith(b"-ERR"):
                raise ConnectionError(line)

    def publish(self, subject: bytes | str, payload: bytes, headers: bytes | None = None) -> None:
        """Send a message without waiting for anything.

        Args:
            headers: The whole block of headers as it is, from `NATS/1.0` on.
        """
        name = subject.encode() if isinstance(subject, str) else subject
        if headers is None:
            self._socket.sendall(b"PUB %s %d\r\n%s\r\n" % (name, len(payload), payload))
        else:
            size = len(headers), len(headers) + len(payload)
            self._socket.sendall(b"HPUB %s %d %d\r\n" % (name, *size) + headers + payload + b"\r\n")


def message(
    node: str, place: tuple[int, int, int], size: int, part: tuple[int, int], content: bytes
) -> bytes:
    """Return a message with a correct checksum.

    Args:
        place: `follows`, `offset` and `end`.
        part: Its number, and how many there are.
    """
    rest = _HEAD.pack(bytes.fromhex(node), *place, size, *part) + content
    return MAGIC + crc32c(rest).to_bytes(4, "big") + rest


def packet(node: str, payload: bytes, follows: int = 0, **fields: int) -> bytes:
    """Return the message of a packet of one block with this content."""
    given = {"offset": 0, "end": 1000, "index": 0, "frames": 1, "received_us": 10**15, **fields}
    [made] = encode(Packet(follows, [Block(payload=memoryview(payload), **given)]), node, 1 << 19)
    return made


def damaged(node: str) -> Sequence[bytes]:
    """Return messages that must be counted and left out."""
    place = (0, 0, 1000)
    far = LARGE - 100
    return [
        b"",
        b"garbage" * 100,
        MAGIC,
        message(node, place, 100, (0, 1), b"no zstd"),
        message(node, place, 1 << 26, (0, 1), BOMB),
        message(node, place, 1000, (0, 1), BOMB),
        message(node, place, 0xFFFF_FFFF, (0, 1), BOMB),
        message(node, place, 0, (0, 0), b""),
        message(node, place, 10, (7, 3), b"x"),
        message(node, place, 10, (0, 0xFFFF), b"x"),
        message(node, (LARGE, LARGE, LARGE), 10, (0, 1), b"x"),
        message(node, (5, 3, 1), 10, (0, 1), b"x"),
        message("00" * 16, place, 10, (0, 1), b"x"),
        packet("11" * 16, b"x" * 100),
        packet(node, b"x" * 100, follows=far, offset=far, end=LARGE),
        packet(node, b"x" * 100, received_us=LARGE),
        packet(node, b"x" * 100, index=LARGE),
    ]


HEADERS = (
    b"NATS/1.0\r\nStatus: 100\r\n\r\n",
    b"NATS/1.0\r\nStatus: 404\r\n\r\n",
    b"NATS/1.0\r\nStatus: 409\r\nDescription: Consumer Deleted\r\n\r\n",
    b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0 \xff\xfe\xfd\r\n\r\n",
    b"NATS/1.0 100 \xff\xfe\r\n\r\n",
    b"NATS/1.0",
    b"NATS/1.0\r\n" + b"x" * 2000 + b"\r\n\r\n",
    b"\xff" * 12,
)
"""Headers that a client may take for a status of the server, or cannot read."""
