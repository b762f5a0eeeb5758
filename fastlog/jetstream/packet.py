"""The layout of a message: consecutive blocks of one journal, cut into parts if they are large.

    message = "FLP1" | crc32c u32 | node 16 B | follows u64 | offset u64 | end u64
              | size u32 | part u16 | parts u16 | bytes
    content = block | block | …         (the bytes of all parts, decompressed by Zstandard)
    block   = offset u64 | end u64 | index u64 | received u64 | frames u32 | length u32 | runs

All integers are big-endian. `crc32c` covers all bytes behind itself. `size` is the length of the
content. `offset` is that of the first block in the journal, `end` is behind the last one. `follows`
is the end of the block that was published before; where the journal released blocks unread, it is
less than `offset`. A packet is applied only where the cursor stands at `follows`. The journal's
secret is not in it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from fastlog import zstd
from fastlog.block import Block
from fastlog.core import crc32c

MAGIC: Final = b"FLP1"
_HEAD = struct.Struct(">4sI16sQQQIHH")
_CRC_END: Final = 8
_BLOCK = struct.Struct(">QQQQII")
HEADERS: Final = 4096
"""Bytes of a message that are left to its subject and to what the servers add."""
MAX_PART: Final = 900_000
"""Bytes of a part at most: larger messages are no faster."""
PACKET: Final = 2 << 20
"""Bytes of content up to which blocks share a packet: compressed, they are about one part."""
LEVEL: Final = 1
"""Of Zstandard. The fastest: each byte less is written three times, and sent three times."""
MAX_CONTENT: Final = 32 << 20
"""Bytes of content at most. A block has less: its largest frame has 16 MiB."""
MAX_PARTS: Final = 4096
MIN_PAYLOAD: Final = 64 << 10
"""The least payload limit of a server with which any block is cut into few enough parts."""
MAX_OFFSET: Final = 1 << 62
"""Offsets and ordinals are below: stores keep them, and sums of them, in 64 bits with a sign."""
MAX_RECEIVED: Final = 253_402_300_800_000_000
"""Microseconds: the end of the year 9999, which PostgreSQL and Python can still express."""


class Part(NamedTuple):
    """What the head of a message says."""

    node: str
    follows: int
    offset: int
    end: int
    size: int
    """Bytes of the whole packet's content."""
    part: int
    """Its number, from 0."""
    parts: int
    content: memoryview

    @property
    def is_last(self) -> bool:
        """Whether it completes the packet."""
        return self.part == self.parts - 1

    @property
    def packet(self) -> tuple[str, int, int, int, int, int]:
        """What the parts of one packet have in common."""
        return self.node, self.follows, self.offset, self.end, self.size, self.parts


class Packet(NamedTuple):
    """Blocks that are published together."""

    follows: int
    blocks: Sequence[Block]

    @property
    def end(self) -> int:
        """The offset after the last block."""
        return self.blocks[-1].end


def part_size(max_payload: int) -> int:
    """Return how many bytes of content a message has at most, at a server's payload limit."""
    return max(1, min(max_payload - HEADERS, MAX_PART) - _HEAD.size)


def packets(blocks: Sequence[Block], follows: int, size: int = PACKET) -> Iterator[Packet]:
    """Yield consecutive blocks as packets.

    Args:
        follows: The end of the block before the first one.
        size: Bytes up to which blocks share a packet. A block with more has one of its own.
    """
    some: list[Block] = []
    length = 0
    for block in blocks:
        needed = _BLOCK.size + len(block.payload)
        if some and length + needed > size:
            yield Packet(follows, some)
            follows, some, length = some[-1].end, [], 0
        some.append(block)
        length += needed
    if some:
        yield Packet(follows, some)


def encode(packet: Packet, node: str, size: int) -> list[bytes]:
    """Return the messages of a packet, with at most `size` bytes of content each."""
    pieces: list[bytes | memoryview] = []
    for block in packet.blocks:
        numbers = block.offset, block.end, block.index, block.received_us
        pieces += (_BLOCK.pack(*numbers, block.frames, len(block.payload)), block.payload)
    plain = b"".join(pieces)
    content = memoryview(zstd.compress(plain, LEVEL))
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    key = bytes.fromhex(node), packet.follows, packet.blocks[0].offset, packet.end, len(plain)
    messages = []
    for number, part in enumerate(parts):
        head = _HEAD.pack(MAGIC, 0, *key, number, len(parts))[_CRC_END:]
        crc = crc32c(part, crc32c(head))
        messages.append(b"".join((MAGIC, crc.to_bytes(4, "big"), head, part)))
    return messages


def read_part(message: bytes) -> Part | None:
    """Return what a message says; None if it is damaged, or not of this format."""
    if len(message) < _HEAD.size:
        return None
    magic, crc, node, follows, offset, end, size, part, parts = _HEAD.unpack_from(message)
    view = memoryview(message)
    if magic != MAGIC or crc32c(view[_CRC_END:]) != crc:
        return None
    if not follows <= offset < end <= MAX_OFFSET or not part < parts <= MAX_PARTS:
        return None
    if size > MAX_CONTENT:
        return None
    return Part(node.hex(), follows, offset, end, size, part, parts, view[_HEAD.size :])


class Assembler:
    """Puts the parts of packets together again. What it keeps is bounded, whatever is published."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._bytes = 0

    def add(self, part: Part) -> Packet | None:
        """Add the next part of a subject.

        Returns:
            The packet, if this part completes it. An incomplete packet before it is left out: its
            collector was killed, and has published it again from its first part on.

        Raises:
            ValueError: The packet is none that this fastlog has made.
        """
        if part.part != len(self._parts) or (self._parts and part.packet != self._parts[0].packet):
            self.clear()
            if part.part:
                return None  # its first parts are missing
        self._parts.append(part)
        self._bytes += len(part.content)
        if self._bytes > part.size + (part.size >> 7) + 1024:  # compressed, it is never as large
            self.clear()
            raise ValueError("the parts are larger than the packet")
        if not part.is_last:
            return None
        content = b"".join([each.content for each in self._parts])
        self.clear()
        return Packet(part.follows, list(_read_blocks(_decompress(content, part.size), part)))

    def clear(self) -> None:
        """Leave out an incomplete packet."""
        self._parts, self._bytes = [], 0


def _decompress(content: bytes, size: int) -> memoryview:
    """Return the content; the memory that it takes is bounded, since `size` is."""
    try:
        plain = zstd.ZstdDecompressor().decompress(content, max_length=size)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from error
    if len(plain) != size:
        raise ValueError("the size is wrong")
    return memoryview(plain)


def _read_blocks(content: memoryview, part: Part) -> Iterator[Block]:
    """Yield the blocks of a packet; the decoder checks what is in them."""
    at, place = 0, part.offset
    while at < len(content):
        if len(content) - at < _BLOCK.size:
            raise ValueError("a block is cut")
        offset, end, index, received_us, frames, length = _BLOCK.unpack_from(content, at)
        at += _BLOCK.size
        if offset != place or end <= offset or length > len(content) - at or frames > length:
            raise ValueError("a block does not follow the one before")
        if index > MAX_OFFSET or received_us > MAX_RECEIVED:
            raise ValueError("a number of a block is out of range")
        payload = content[at : at + length]
        yield Block(offset, end, index, frames, received_us, payload)
        at, place = at + length, end
    if place != part.end:
        raise ValueError("the end is wrong")
