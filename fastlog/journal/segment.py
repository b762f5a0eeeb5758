"""Segments: the files of the journal, named by the offset of their first byte.

A segment ends where the next one begins, even if its file has more bytes. After a failed fdatasync
the blocks that may not have reached the disk are written again into a new segment, and their bytes
in the old one mean nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from fastlog.block import HEADER, MAGIC, SECRET_BYTES, Block
from fastlog.core import crc32c
from fastlog.files import replace_file

SUFFIX = ".seg"
_Spans = list[tuple[int, int]]
_NODE_BYTES = 16
_CRC_AT = len(MAGIC) + SECRET_BYTES
CRC_END = _CRC_AT + 4
"""Offset in the header at which the bytes begin that the checksum covers."""


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
    received_us: int
    crc: int = 0


def segment_path(directory: Path, start: int) -> Path:
    """Return the path of the segment that begins at this journal offset."""
    return directory / f"{start:020}{SUFFIX}"


def segments(directory: Path) -> list[Segment]:
    """Return the existing segments, oldest first."""
    found = [
        Segment(path, int(path.stem))
        for path in directory.glob(f"*{SUFFIX}")
        if path.stem.isdecimal()
    ]
    return sorted(found, key=lambda segment: segment.start)


def pack_header(header: Header, runs: bytes, secret: bytes) -> bytes:
    """Return the bytes of a block's header; `runs` are needed for its checksum."""
    h = header
    fields = h.length, h.frames, h.offset, h.durable, h.index, h.received_us
    crc = crc32c(runs, crc32c(HEADER.pack(MAGIC, secret, 0, *fields)[CRC_END:]))
    return HEADER.pack(MAGIC, secret, crc, *fields)


def read_header(data: memoryview, at: int, offset: int, secret: bytes) -> Header | None:
    """Return the header at data[at:], if it is that of the block at this journal offset."""
    if len(data) - at < HEADER.size or data[at : at + _CRC_AT] != MAGIC + secret:
        return None
    _, _, crc, length, frames, own_offset, durable, index, received_us = HEADER.unpack_from(
        data, at
    )
    if own_offset != offset:
        return None
    return Header(length, frames, offset, durable, index, received_us, crc)


def read_claimed_secret(data: memoryview) -> bytes | None:
    """Return the secret in the header at the beginning of `data`, if there is one.

    It is not verified: the bytes may come from a record.
    """
    return bytes(data[len(MAGIC) : _CRC_AT]) if data[: len(MAGIC)] == MAGIC else None


def read_block(
    data: memoryview, at: int, offset: int, secret: bytes
) -> tuple[Block, Header] | None:
    """Return the block at data[at:] and its header, if it is complete and its checksum matches."""
    header = read_header(data, at, offset, secret)
    if header is None or len(data) - at - HEADER.size < header.length:
        return None
    end = at + HEADER.size + header.length
    if crc32c(data[at + CRC_END : end]) != header.crc or header.durable > offset:
        return None
    block = Block(
        offset=offset,
        end=offset + (end - at),
        index=header.index,
        frames=header.frames,
        received_us=header.received_us,
        payload=data[at + HEADER.size : end],
    )
    return block, header


def blocks(data: memoryview, start: int, secret: bytes) -> Iterator[tuple[Block, Header]]:
    """Yield the blocks at the beginning of `data`, up to the first one that is not valid.

    Args:
        start: The journal offset of `data`.
    """
    at = 0
    while found := read_block(data, at, start + at, secret):
        yield found
        at = found[0].end - start


def next_block(data: bytes, at: int, start: int, secret: bytes) -> int | None:
    """Return where in `data`, from `at` on, the next valid block begins, or None.

    For damaged segments.
    """
    view = memoryview(data)
    while (at := data.find(MAGIC + secret, at)) >= 0:
        if read_block(view, at, start + at, secret):
            return at
        at += 1
    return None


def read_node(directory: Path) -> str | None:
    """Return the node id, 32 hexadecimal digits, or None if its file is missing or damaged."""
    try:
        node = (directory / "node").read_text("ascii").strip()
        return node if len(bytes.fromhex(node)) == _NODE_BYTES else None
    except (OSError, ValueError):
        return None


def make_node(directory: Path) -> str:
    """Make a node id for a new journal, write it durably and return it.

    The id is stored beside the segments: deleting both begins a new journal, whose offsets are not
    mistaken for those of the old one.
    """
    node = secrets.token_hex(_NODE_BYTES)
    write_node(directory, node)
    return node


def write_node(directory: Path, node: str) -> None:
    """Write the journal's node id, durably."""
    replace_file(directory / "node", f"{node}\n".encode("ascii"), durable=True)


def read_removed(directory: Path) -> list[tuple[int, int]]:
    """Return the spans of the journal whose files another program has removed, in order."""
    try:
        return msgspec.json.decode((directory / "removed.json").read_bytes(), type=_Spans)
    except (OSError, msgspec.DecodeError):
        return []


def write_removed(directory: Path, spans: list[tuple[int, int]]) -> None:
    """Record these spans as removed, durably, so that a start does not take them for damage."""
    replace_file(directory / "removed.json", msgspec.json.encode(spans), durable=True)


def is_removed(spans: Iterable[tuple[int, int]], start: int, end: int) -> bool:
    """Return whether these spans cover the journal from `start` to `end`."""
    for low, high in spans:
        if low <= start < high:
            start = high
    return start >= end
