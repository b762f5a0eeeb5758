"""The frames of the fastlog protocol that Python reads and writes; `docs/protocol.md` has them all.

Batches and acknowledgements are C's (`csrc/wire.c`). All integers are big-endian.
"""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum
from typing import NamedTuple

from fastlog.block import NO_KEY

MAGIC = b"\xfa\x57"
VERSION = 1
CRC = 1
"""The capability to check batches by a checksum."""
PERSISTENT = 2
"""The client's id outlives its process."""

_HEADER = struct.Struct(">2sBBI")
_HELLO = struct.Struct(">BBH16sQQQ16sI16sB")
_WELCOME = struct.Struct(">BBH16sQIIIHH")
_GAP = struct.Struct(">QQBQQ")
_TEXT = 200


class Type(IntEnum):
    """What a frame is."""

    HELLO = 0x01
    CHALLENGE = 0x02
    AUTH = 0x03
    WELCOME = 0x04
    BATCH = 0x10
    GAP = 0x11
    ACK = 0x20
    NOTICE = 0x40
    ERROR = 0x4F
    BYE = 0x50


class Code(IntEnum):
    """What an ERROR is about."""

    VERSION = 1
    AUTH = 2
    CLIENT_ID = 3
    SEQUENCE = 4
    MALFORMED = 5
    FULL = 6
    OUT_OF_TURN = 7
    LIMIT = 8


class Action(IntEnum):
    """What a client shall do about an ERROR."""

    RETRY = 0
    FIX_CONFIG = 1
    NEW_ID = 2


class Reason(IntEnum):
    """Why sequences will never come. From 200 on, a server has found it out."""

    MEMORY = 1
    SPOOL_FULL = 2
    TOO_LONG = 3
    SPOOL_DAMAGED = 4
    CLIENT = 5
    EXIT = 6
    FORGOTTEN = 200
    ELSEWHERE = 201


REASONS: dict[int, str] = {
    Reason.MEMORY: "dropped by the client: its memory was full",
    Reason.SPOOL_FULL: "dropped by the client: its spool was full",
    Reason.TOO_LONG: "dropped by the client: over the frame limit",
    Reason.SPOOL_DAMAGED: "the client's spool was damaged",
    Reason.CLIENT: "lost in the client",
    Reason.EXIT: "left when the client ended",
    Reason.FORGOTTEN: "acknowledged here once, and gone since",
}
"""What the ledger calls them. `ELSEWHERE` is no loss: another server has these records."""


class Hello(NamedTuple):
    """What a client says first."""

    version_max: int
    version_min: int
    capabilities: int
    client: bytes
    incarnation: int
    first_seq: int
    """The oldest that it has not seen acknowledged."""
    next_seq: int
    """The one that its next record will have."""
    acked_by: bytes
    """The node id of the server that acknowledged last, or zeros."""
    max_frame: int
    nonce: bytes
    key_id: str
    """Of the key that it will prove to have, or ""."""


class Gap(NamedTuple):
    """Records that will never come."""

    first: int
    last: int
    reason: int
    t0: int
    """When the first was given up, in microseconds since the epoch."""
    t1: int


def key_tag(key_id: str) -> bytes:
    """Eight bytes for a key id, by which journal and table name the owner of a client id."""
    return hashlib.sha256(key_id.encode()).digest()[:8] if key_id else NO_KEY


def public_name(client: bytes) -> str:
    """A client id as logs and the ledger show it: recognisable, and of no use as an id."""
    return hashlib.sha256(client).hexdigest()[:8]


def frame(kind: Type, payload: bytes) -> bytes:
    """A frame of this payload."""
    return _HEADER.pack(MAGIC, kind, 0, len(payload)) + payload


def read_hello(payload: bytes) -> Hello | None:
    """The HELLO with this payload; None if it is malformed."""
    if len(payload) < _HELLO.size:
        return None
    *fields, length = _HELLO.unpack_from(payload)
    key_id = payload[_HELLO.size :]
    if len(key_id) != length or not key_id.isascii():
        return None
    return Hello._make([*fields, key_id.decode()])


def make_welcome(
    capabilities: int,
    node: bytes,
    committed: int,
    max_record: int,
    window: int,
    keepalive: float,
) -> bytes:
    """The payload of a WELCOME, without a proof.

    Args:
        max_record: The largest record, in bytes.
        window: Bytes that may be sent beyond `committed`.
        keepalive: Seconds.
    """
    return _WELCOME.pack(
        *(VERSION, 0, capabilities, node, committed, max_record + (64 << 10), max_record),
        *(window, ACK_MS, max(1, round(keepalive))),
    )


ACK_MS = 100
"""Milliseconds after which a batch is acknowledged, unless the disk is slower than that."""


def make_error(code: Code, action: Action, text: str, seq: int = 0) -> bytes:
    """The ERROR frame that says so."""
    return frame(Type.ERROR, struct.pack(">HBQ", code, action, seq) + text.encode()[:_TEXT])


def make_gap(gap: Gap) -> bytes:
    """A gap as the frames of a `Kind.GAP` run have it."""
    return _GAP.pack(*gap)


def read_gap(payload: bytes | memoryview) -> Gap:
    """The gap in a frame of a `Kind.GAP` run; csrc/wire.c has checked it."""
    return Gap._make(_GAP.unpack(payload))
