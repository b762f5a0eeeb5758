"""The frames of the fastlog protocol that Python reads and writes. All integers are big-endian.

`docs/protocol.md` documents all frames. C reads batches and writes acknowledgements
(`csrc/protocol/`).
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
"""Capability: batches carry a checksum."""
PERSISTENT = 2
"""Capability: the client's id outlives its process."""
ACK_MS = 100
"""Milliseconds within which a batch is acknowledged, unless the disk is slower."""

_HEADER = struct.Struct(">2sBBI")
_HELLO = struct.Struct(">BBH16sQQQ16sI16sB")
_WELCOME = struct.Struct(">BBH16sQIIIHH")
_GAP = struct.Struct(">QQBQQ")
_MAX_ERROR_TEXT = 200
"""Bytes."""


class Type(IntEnum):
    """The type of a frame."""

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
    """The cause of an ERROR."""

    VERSION = 1
    AUTH = 2
    CLIENT_ID = 3
    SEQUENCE = 4
    MALFORMED = 5
    FULL = 6
    OUT_OF_TURN = 7
    LIMIT = 8


class Action(IntEnum):
    """What a client has to do after an ERROR."""

    RETRY = 0
    FIX_CONFIG = 1
    NEW_ID = 2


class GapReason(IntEnum):
    """Why a gap's sequences will never arrive. From 200 on, the server has found that out.

    The names of the others are those of `fastlog_client.gap`.
    """

    MEMORY_FULL = 1
    SPOOL_FULL = 2
    TOO_LARGE = 3
    DAMAGED = 4
    NOT_ENCODED = 5
    LEFT_AT_EXIT = 6
    FORGOTTEN = 200
    ELSEWHERE = 201


REASONS: dict[int, str] = {
    GapReason.MEMORY_FULL: "dropped by the client: its memory was full",
    GapReason.SPOOL_FULL: "dropped by the client: its spool was full",
    GapReason.TOO_LARGE: "dropped by the client: over the server's limit",
    GapReason.DAMAGED: "the client's spool was damaged",
    GapReason.NOT_ENCODED: "dropped by the client: could not be encoded",
    GapReason.LEFT_AT_EXIT: "dropped by the client: left at exit",
    GapReason.FORGOTTEN: "acknowledged here once, and gone since",
}
"""The reasons in the ledger. `ELSEWHERE` is no loss: another server has these records."""


class Hello(NamedTuple):
    """The first frame of a client."""

    version_max: int
    version_min: int
    capabilities: int
    client: bytes
    incarnation: int
    first_seq: int
    """The oldest sequence that is not acknowledged, as far as the client knows."""
    next_seq: int
    """The sequence of the next record that the client will make."""
    acked_by: bytes
    """The node id of the server that acknowledged last, or zeros."""
    max_frame: int
    nonce: bytes
    key_id: str
    """The id of the key that the client will prove; "" for no key."""


class Gap(NamedTuple):
    """Sequences that will never arrive."""

    first: int
    last: int
    reason: int
    t0: int
    """When the client gave up the first, in microseconds since the epoch."""
    t1: int
    """When it gave up the last."""


def key_tag(key_id: str) -> bytes:
    """Return eight bytes that stand for a key id as the owner of a client id; `NO_KEY` for ""."""
    return hashlib.sha256(key_id.encode()).digest()[:8] if key_id else NO_KEY


def identity_tag(identity: str) -> bytes:
    """Return the same for the name in a client's certificate. No key id has this tag."""
    return hashlib.sha256(b"certificate\0" + identity.encode()).digest()[:8]


def public_name(client: bytes) -> str:
    """Return a digest of a client id for logs and the ledger. It cannot be used as an id."""
    return hashlib.sha256(client).hexdigest()[:8]


def frame(kind: Type, payload: bytes) -> bytes:
    """Return a frame with this payload."""
    return _HEADER.pack(MAGIC, kind, 0, len(payload)) + payload


def read_hello(payload: bytes) -> Hello | None:
    """Return the HELLO with this payload; None if it is malformed."""
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
    """Return the payload of a WELCOME, without a proof of the key.

    Args:
        max_record: The largest record, in bytes.
        window: Bytes that may be sent beyond `committed`.
        keepalive: Seconds.
    """
    return _WELCOME.pack(
        *(VERSION, 0, capabilities, node, committed, max_record + (64 << 10), max_record),
        *(window, ACK_MS, max(1, round(keepalive))),
    )


def make_error(code: Code, action: Action, text: str, seq: int = 0) -> bytes:
    """Return an ERROR frame."""
    return frame(
        Type.ERROR, struct.pack(">HBQ", code, action, seq) + text.encode()[:_MAX_ERROR_TEXT]
    )


def make_gap(gap: Gap) -> bytes:
    """Return the frame of a `Kind.GAP` run for this gap."""
    return _GAP.pack(*gap)


def read_gap(payload: bytes | memoryview) -> Gap:
    """Return the gap in a frame of a `Kind.GAP` run. C has checked the frame before."""
    return Gap._make(_GAP.unpack(payload))
