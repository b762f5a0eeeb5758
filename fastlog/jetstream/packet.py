"""The layout of a message: consecutive blocks of one journal, cut into parts if they are large.

    message = "FLP1" | crc32c u32 | node 16 B | follows u64 | offset u64 | end u64
              | part u16 | parts u16 | bytes
    content = block | block | …         (the bytes of all parts)
    block   = offset u64 | end u64 | index u64 | received u64 | frames u32 | length u32 | runs

All integers are big-endian. `crc32c` covers all bytes behind itself. `offset` is that of the first
block in the journal, `end` is behind the last one. `follows` is the end of the block that was
published before; where the journal released blocks unread, it is less than `offset`. A packet is
applied only where the cursor stands at `follows`. The journal's secret is not in it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from fastlog.block import Block
from fastlog.core import crc32c

MAGIC: Final = b"FLP1"
_HEAD = struct.Struct(">4sI16sQQQHH")
_CRC_END: Final = 8
_BLOCK = struct.Struct(">QQQQII")
HEADERS: Final = 4096
"""Bytes of a message that are left to its subject and to what the servers add."""
MAX_PART: Final = 900_000
"""Bytes of a part at most: larger messages are no faster."""


class Part(NamedTuple):
    """What the head of a message says."""

    node: str
    follows: int
    offset: int
    end: int
    part: int
    """Its number, from 0."""
    parts: int
    content: memoryview

    @property
    def is_last(self) -> bool:
        """Whether it completes the packet."""
        return self.part == self.parts - 1

    @property
    def packet(self) -> tuple[str, int, int, int, int]:
        """What the parts of one packet have in common."""
        return self.node, self.follows, self.offset, self.end, self.parts


class Packet(NamedTuple):
    """Blocks that are published together."""

    follows: int
    blocks: Sequence[Block]

    @property
    def end(self) -> int:
        """The offset behind the last block."""
        return self.blocks[-1].end


def part_size(max_payload: int) -> int:
    """Return how many bytes of content a message has at most, at a server's payload limit."""
    return max(1, min(max_payload - HEADERS, MAX_PART) - _HEAD.size)


def packets(blocks: Sequence[Block], follows: int, size: int) -> Iterator[Packet]:
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
    content = memoryview(b"".join(pieces))
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    key = bytes.fromhex(node), packet.follows, packet.blocks[0].offset, packet.end
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
    magic, crc, node, follows, offset, end, part, parts = _HEAD.unpack_from(message)
    view = memoryview(message)
    if magic != MAGIC or crc32c(view[_CRC_END:]) != crc:
        return None
    return Part(node.hex(), follows, offset, end, part, parts, view[_HEAD.size :])


class Assembler:
    """Puts the parts of packets together again."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def add(self, part: Part) -> Packet | None:
        """Add the next part of a subject.

        Returns:
            The packet, if this part completes it. An incomplete packet before it is left out: its
            collector was killed, and has published it again from its first part on.
        """
        if part.part != len(self._parts) or (self._parts and part.packet != self._parts[0].packet):
            self._parts = []
            if part.part:
                return None  # its first parts are missing
        self._parts.append(part)
        if not part.is_last:
            return None
        contents = [each.content for each in self._parts]
        self._parts = []
        content = contents[0] if len(contents) == 1 else memoryview(b"".join(contents))
        return Packet(part.follows, list(_read_blocks(content)))


def _read_blocks(content: memoryview) -> Iterator[Block]:
    at = 0
    while at < len(content):
        offset, end, index, received_us, frames, length = _BLOCK.unpack_from(content, at)
        at += _BLOCK.size
        payload = content[at : at + length]
        yield Block(offset, end, index, frames, received_us, payload)
        at += length
