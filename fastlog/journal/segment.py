"""Segments: the files of the journal, named by the offset of their first byte.

A segment ends where the next one begins, whatever else it may hold: after a failed fdatasync the
blocks that may not have reached the disk are written again into a new segment, and the bytes they
left in the old one mean nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fastlog.block import HEADER, MAGIC, Block
from fastlog.core import crc32c
from fastlog.files import replace_file

SUFFIX = ".seg"
_CRC_END = 8
"""The checksum covers what is behind the magic and itself."""


class Segment(NamedTuple):
    """A file of the journal."""

    path: Path
    start: int
    """Journal offset of its first byte."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a block; see `fastlog.block`."""

    length: int
    frames: int
    offset: int
    durable: int
    index: int
    stamp: int
    crc: int = 0


def segment_path(directory: Path, start: int) -> Path:
    """Where the segment that begins at this offset is."""
    return directory / f"{start:020}{SUFFIX}"


def segments(directory: Path) -> list[Segment]:
    """The segments there are now, oldest first."""
    found = [
        Segment(path, int(path.stem))
        for path in directory.glob(f"*{SUFFIX}")
        if path.stem.isdecimal()
    ]
    return sorted(found, key=lambda segment: segment.start)


def seed_of(node: str) -> int:
    """Where the checksums of a journal start. It is secret, so that nobody can put a block of his
    own making into a record, to be found when the journal is damaged."""
    return crc32c(node.encode("ascii"))


def pack_header(header: Header, runs: bytes, seed: int) -> bytes:
    """The header of a block of these runs, with its checksum filled in."""
    h = header
    fields = h.length, h.frames, h.offset, h.durable, h.index, h.stamp
    crc = crc32c(runs, crc32c(HEADER.pack(MAGIC, 0, *fields)[_CRC_END:], seed))
    return HEADER.pack(MAGIC, crc, *fields)


def read_header(data: memoryview, at: int, offset: int) -> Header | None:
    """The header at data[at:], if it looks like that of the block at this journal offset."""
    if len(data) - at < HEADER.size:
        return None
    magic, crc, length, frames, own, durable, index, stamp = HEADER.unpack_from(data, at)
    if magic != MAGIC or own != offset:
        return None
    return Header(length, frames, offset, durable, index, stamp, crc)


def read_block(data: memoryview, at: int, offset: int, seed: int) -> tuple[Block, Header] | None:
    """The block at data[at:], if it is whole and its checksum holds."""
    header = read_header(data, at, offset)
    if header is None or len(data) - at - HEADER.size < header.length:
        return None
    end = at + HEADER.size + header.length
    if crc32c(data[at + _CRC_END : end], seed) != header.crc or header.durable > offset:
        return None
    block = Block(
        offset=offset,
        end=offset + (end - at),
        index=header.index,
        frames=header.frames,
        stamp=header.stamp,
        payload=data[at + HEADER.size : end],
    )
    return block, header


def blocks(data: memoryview, start: int, seed: int) -> Iterator[tuple[Block, Header]]:
    """The blocks at the beginning of `data`, which lies at journal offset `start`, as far as they
    are sound."""
    at = 0
    while found := read_block(data, at, start + at, seed):
        yield found
        at = found[0].end - start


def next_block(data: bytes, at: int, start: int, seed: int) -> int | None:
    """Where behind data[at] the next sound block begins, or None. For damaged segments."""
    view = memoryview(data)
    while (at := data.find(MAGIC, at)) >= 0:
        if read_block(view, at, start + at, seed):
            return at
        at += 1
    return None


def read_node(directory: Path) -> str | None:
    """The journal's node id, 32 hexadecimal digits, or None if it has none yet."""
    try:
        node = (directory / "node").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return node or None


def make_node(directory: Path) -> str:
    """Gives a new journal its node id, durably.

    The id lives with the segments: who deletes them begins a new journal, whose offsets are not
    mistaken for those of the old one.
    """
    node = secrets.token_hex(16)
    replace_file(directory / "node", f"{node}\n".encode("ascii"), durable=True)
    return node
