"""The layout of a block, which the loop fills, the journal stores and the decoder reads.

    block  = header | run | run | …
    header = magic "FLB2" | secret 16 B | crc32c u32 | length u32 | frames u32
             | offset u64 | durable u64 | index u64 | received u64
    run    = kind u8 | peer_length u8 | 0 u16 | connection u32 | frames u32 | length u32
             | peer | [stamp] | frame | frame | …
    stamp  = client 16 B | incarnation u64 | sequence u64 | key 8 B    (in runs of fastlog clients)
    frame  = length u32 | that many bytes

All integers are big-endian, as on the wire. The digit of the magic is the version of all of this.
`secret` is the journal's (see `fastlog.journal.secret`). `crc32c` covers all bytes behind itself.
The header's `length` counts the bytes behind the header, a run's those behind the peer. A run holds
consecutive frames of one connection exactly as they arrived, so the C loop receives straight into
it. `offset` is the block's own offset in the journal, which distinguishes it from stale bytes;
`durable` is the durable offset when it was written; `index` is the ordinal of its first frame since
the journal began; `received` is in microseconds since the epoch.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import msgspec

from fastlog.record import Notice

MAGIC = b"FLB2"
SECRET_BYTES = 16
HEADER = struct.Struct(">4s16sIIIQQQQ")
RUN = struct.Struct(">BBHIII")
LENGTH = struct.Struct(">I")
STAMP = struct.Struct(">16sQQ8s")

NO_KEY = bytes(8)
"""`Stamp.key` of a client that has not authenticated with a key."""

_NOTICE: msgspec.json.Decoder[Notice] = msgspec.json.Decoder(Notice)


class Kind(IntEnum):
    """The kind of a run's frames."""

    STOCK = 0
    """Records, as `SocketHandler` sends them: pickle, or a JSON object."""
    NOTICE = 1
    """Notices of what the receiver rejected or lost: `Rejection` or `Loss` as JSON."""
    PADDING = 2
    """No frames: padding in place of bytes that a repair could not read."""
    BATCH = 3
    """Records of a fastlog client, with consecutive sequences that begin with the stamp's."""
    GAP = 4
    """Sequences that a fastlog client will never send: frames as `protocol.frames.Gap` has
    them."""


RECORDS = (Kind.STOCK, Kind.BATCH)
"""The kinds of runs whose frames are records."""

_STAMPED = (Kind.BATCH, Kind.GAP)
_KINDS: dict[int, Kind] = {kind.value: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the journal in memory, whose checksum matches."""

    offset: int
    """Its offset in the journal: bytes since the journal began."""
    end: int
    """The offset after its last byte."""
    index: int
    """Ordinal of its first frame since the journal began."""
    frames: int
    received_us: int
    """When it was received by the wall clock, in microseconds since the epoch. It may be less than
    that of the block before; `offset` gives the order."""
    payload: memoryview
    """The runs."""

    @property
    def received(self) -> float:
        """When it was received, in seconds since the epoch."""
        return self.received_us / 1e6


class Stamp(NamedTuple):
    """The client whose records a run holds, and the sequence of the first one."""

    client: bytes
    """The client's id, 16 bytes."""
    incarnation: int
    sequence: int
    """The sequence of the first frame."""
    key: bytes = NO_KEY
    """The tag of the key with which the client has authenticated: see `protocol.frames.key_tag`."""


class Run(NamedTuple):
    """Consecutive frames of one connection."""

    kind: Kind | int
    """A plain number if a newer fastlog wrote the run; this one cannot read its frames."""
    connection: int
    """Serial number of the connection in its receiver; 0: none."""
    peer: str
    frames: int
    body: memoryview
    """The frames, each after its length."""
    stamp: Stamp | None = None
    """Only in runs of the kinds `BATCH` and `GAP`."""


def runs(payload: memoryview) -> Iterator[Run]:
    """Yield the runs of a block whose checksum matches, in order of arrival."""
    at = 0
    while at < len(payload):
        kind, peer_length, _, connection, frames, length = RUN.unpack_from(payload, at)
        body = at + RUN.size + peer_length
        peer = str(payload[at + RUN.size : body], "utf-8", "replace")
        at, stamp = body + length, None
        if kind in _STAMPED:
            stamp = Stamp._make(STAMP.unpack_from(payload, body))
            body += STAMP.size
        yield Run(_KINDS.get(kind, kind), connection, peer, frames, payload[body:at], stamp)


def frames(run: Run) -> Iterator[memoryview]:
    """Yield the frames of a run, each without its length."""
    body, at = run.body, 0
    for _ in range(run.frames):
        (length,) = LENGTH.unpack_from(body, at)
        at += LENGTH.size
        yield body[at : at + length]
        at += length


def make_run(
    kind: Kind,
    payloads: Iterable[bytes],
    *,
    peer: str = "",
    connection: int = 0,
    stamp: Stamp | None = None,
) -> bytes:
    """Return the bytes of a run of these frames, in the loop's layout."""
    body = bytearray() if stamp is None else bytearray(STAMP.pack(*stamp))
    count = 0
    for payload in payloads:
        body += LENGTH.pack(len(payload))
        body += payload
        count += 1
    name = peer.encode()
    return RUN.pack(kind, len(name), 0, connection, count, len(body)) + name + bytes(body)


def make_notices(notices: Iterable[Notice]) -> bytes:
    """Return a run of notices: losses and rejections of the receiver, for the ledger."""
    return make_run(Kind.NOTICE, map(msgspec.json.encode, notices))


def read_notice(frame: memoryview) -> Notice:
    """Return the notice in a frame of a `Kind.NOTICE` run."""
    return _NOTICE.decode(frame)
