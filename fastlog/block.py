"""The layout of a block: what the loop fills, the journal stores and the decoder reads.

    block  = header | run | run | …
    header = magic "FLB2" | secret 16 B | crc32c u32 | length u32 | frames u32
             | offset u64 | durable u64 | index u64 | received u64
    run    = kind u8 | peer_length u8 | 0 u16 | connection u32 | frames u32 | length u32
             | peer | [stamp] | frame | frame | …
    stamp  = client 16 B | incarnation u64 | sequence u64 | key 8 B    (in runs of fastlog clients)
    frame  = length u32 | that many bytes

All integers are big-endian, as on the wire. The digit of the magic is the version of all of this.
`secret` is the journal's (see `fastlog.journal.secret`). `crc32c` covers everything behind itself;
the header's `length` counts the bytes behind the header, a run's the bytes behind the peer. A run
holds the consecutive frames of one connection exactly as they arrived, so `csrc/loop.c` receives
straight into it. `offset` is the block's own place in the journal, which tells it from stale bytes;
`durable` is how much of the journal was durable when it was written; `index` is the ordinal of its
first frame since the journal began; `received` is in microseconds since the epoch.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import msgspec

from fastlog.record import Note

MAGIC = b"FLB2"
SECRET_BYTES = 16
HEADER = struct.Struct(">4s16sIIIQQQQ")
RUN = struct.Struct(">BBHIII")
LENGTH = struct.Struct(">I")
STAMP = struct.Struct(">16sQQ8s")

NO_KEY = bytes(8)
"""`Stamp.key` of a client that has proved no key."""

_NOTE: msgspec.json.Decoder[Note] = msgspec.json.Decoder(Note)


class Kind(IntEnum):
    """What the frames of a run are."""

    STOCK = 0
    """Records, as `SocketHandler` sends them: pickle, or a JSON object."""
    NOTE = 1
    """What the receiver itself rejected or lost: `Rejection` or `Loss` as JSON."""
    PADDING = 2
    """No frames; bytes that a repair could not read."""
    BATCH = 3
    """Records of a fastlog client: consecutive sequences, from that of the stamp on."""
    GAP = 4
    """Sequences of a fastlog client that will never come: frames as `protocol.frames.Gap` has
    them."""


RECORDS = (Kind.STOCK, Kind.BATCH)
"""The kinds of runs whose frames are records."""

_STAMPED = (Kind.BATCH, Kind.GAP)
_KINDS: dict[int, Kind] = {kind.value: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the journal, checked, in memory."""

    offset: int
    """Its place in the journal: bytes from the journal's very beginning."""
    end: int
    """The offset just behind it."""
    index: int
    """Ordinal of its first frame since the journal began."""
    frames: int
    stamp: int
    """When it was received, by the wall clock: microseconds since the epoch. It may be less than
    its predecessor's; `offset` gives the order."""
    payload: memoryview
    """The runs."""

    @property
    def received(self) -> float:
        """When it was received, in seconds since the epoch."""
        return self.stamp / 1e6


class Stamp(NamedTuple):
    """Whose records a run holds."""

    client: bytes
    """The client's id, 16 bytes."""
    incarnation: int
    sequence: int
    """Of the first frame."""
    key: bytes = NO_KEY
    """Of the key id that the client has proved: see `protocol.frames.key_tag`."""


class Run(NamedTuple):
    """Consecutive frames of one connection."""

    kind: Kind | int
    """A plain number where a newer fastlog wrote the run, whose frames then mean nothing here."""
    connection: int
    """Serial number of the connection in its receiver; 0 for none."""
    peer: str
    frames: int
    body: memoryview
    """The frames, each behind its length."""
    stamp: Stamp | None = None
    """In runs of the kinds `BATCH` and `GAP`."""


def runs(payload: memoryview) -> Iterator[Run]:
    """The runs of a block whose checksum held, in order of arrival."""
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
    """The frames of a run, each without its length."""
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
    """The run of these frames, as the loop would lay it out."""
    body = bytearray() if stamp is None else bytearray(STAMP.pack(*stamp))
    count = 0
    for payload in payloads:
        body += LENGTH.pack(len(payload))
        body += payload
        count += 1
    name = peer.encode()
    return RUN.pack(kind, len(name), 0, connection, count, len(body)) + name + bytes(body)


def make_notices(notes: Iterable[Note]) -> bytes:
    """The run in which the receiver's own losses and rejections travel to the ledger."""
    return make_run(Kind.NOTE, map(msgspec.json.encode, notes))


def read_notice(frame: memoryview) -> Note:
    """A frame of a `Kind.NOTE` run."""
    return _NOTE.decode(frame)
