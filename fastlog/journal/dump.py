"""A readable description of a journal's blocks, for `fastlog journal dump`.

It only reads files and holds no lock, so it can describe the journal of a running server. It
describes a damaged journal as well: it says which bytes are not a valid block and searches for the
next one, as the repair does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from fastlog.block import HEADER, Block, Kind, Run, runs
from fastlog.block import frames as frames_of
from fastlog.core import crc32c
from fastlog.journal.durable_offset import DurableOffset
from fastlog.journal.secret import find_secret, read_secret
from fastlog.journal.segment import (
    CRC_END,
    Header,
    Segment,
    is_removed,
    next_block,
    read_block,
    read_header,
    read_node,
    read_removed,
    segments,
)

_FRAME_BYTES = 60
"""Bytes of a frame that are printed."""


def dump(directory: Path, *, start: int = 0, frames: bool = False) -> Iterator[str]:
    """Yield lines that describe a journal, its segments, blocks and runs.

    Args:
        directory: The journal's directory.
        start: The journal offset to begin at: blocks that end at or before it are left out.
        frames: Whether to describe each frame, too, with its first bytes.

    Raises:
        OSError: A file cannot be read. A segment that is deleted meanwhile is no error.
    """
    durable = _durable_offset(directory)  # first: blocks below it are in segments that exist now
    found = segments(directory)
    yield (
        f"journal {directory}: node {read_node(directory) or 'missing or damaged'}, "
        f"{len(found)} segments, durable offset {'unknown' if durable is None else durable}"
    )
    if not found:
        return
    secret = read_secret(directory)
    used = find_secret(found)
    if secret is None or used not in (secret, None):
        which = "missing or damaged" if secret is None else "not that of the segments"
        yield f"damaged: the file of the secret is {which}; the segments' own one is used"
        secret = used or secret
    if secret is None:
        yield "damaged: no segment begins with a valid block"
        return
    removed = read_removed(directory)
    for i, segment in enumerate(found):
        until = found[i + 1].start if i + 1 < len(found) else None
        if until is None or until > start:
            yield from _segment(segment, until, secret, durable, removed, start, frames)


def _durable_offset(directory: Path) -> int | None:
    try:
        with DurableOffset(directory) as page:
            return page.read()
    except (OSError, ValueError):
        return None


def _segment(
    segment: Segment,
    until: int | None,
    secret: bytes,
    durable: int | None,
    removed: list[tuple[int, int]],
    start: int,
    frames: bool,
) -> Iterator[str]:
    """Describe one segment, to `until` if another follows there."""
    name = segment.path.name
    try:
        data = segment.path.read_bytes()
    except FileNotFoundError:
        yield f"segment {name}: deleted meanwhile"
        return
    excess = 0
    if until is not None:
        excess = max(0, len(data) - (until - segment.start))
        data = data[: until - segment.start]
    yield f"segment {name}: offset {segment.start}, {len(data)} bytes"
    view, at = memoryview(data), 0
    while at < len(data):
        offset = segment.start + at
        block = read_block(view, at, offset, secret)
        if block is not None:
            at = block[0].end - segment.start
            if block[0].end > start:
                yield from _block(name, *block, frames)
            continue
        header = read_header(view, at, offset, secret)
        following = next_block(data, at + 1, segment.start, secret)
        end = len(data) if following is None else following
        if segment.start + end > start:
            if header is not None:
                yield _headline(name, header, _fault(view, at, header))
            yield _invalid(name, offset, end - at, durable, is_last=until is None)
        at = end
    end = segment.start + len(data)
    if until is not None and end < until:
        why = "removed by another program" if is_removed(removed, end, until) else "damaged"
        yield f"{name} offset {end}: {why}: {until - end} bytes before the next segment are missing"
    elif until is None and durable is not None and end < durable:
        yield (
            f"{name} offset {end}: damaged: {durable - end} bytes up to the durable offset "
            "are missing"
        )
    if excess:
        yield f"{name} offset {until}: {excess} bytes of a failed sync follow, which are not used"


def _invalid(name: str, offset: int, size: int, durable: int | None, *, is_last: bool) -> str:
    """Describe bytes that are not a valid block."""
    if is_last and durable is not None and offset >= durable:
        return f"{name} offset {offset}: {size} bytes that are not durable: written now, or torn"
    return f"{name} offset {offset}: damaged: {size} bytes are not a valid block"


def _fault(data: memoryview, at: int, header: Header) -> str:
    if len(data) - at - HEADER.size < header.length:
        return "incomplete"
    end = at + HEADER.size + header.length
    if crc32c(data[at + CRC_END : end]) != header.crc:
        return "checksum WRONG"
    return "checksum ok, but its durable offset is behind it"


def _headline(name: str, header: Header, state: str) -> str:
    return (
        f"{name} offset {header.offset}: {HEADER.size + header.length} bytes, index {header.index},"
        f" {header.frames} frames, received {_utc(header.received_us)}, durable {header.durable},"
        f" {state}"
    )


def _block(name: str, block: Block, header: Header, frames: bool) -> Iterator[str]:
    yield _headline(name, header, "checksum ok")
    try:
        for run in runs(block.payload):
            yield f"    {_run(run)}"
            if frames:
                yield from (f"        {_frame(frame)}" for frame in frames_of(run))
    except (struct.error, ValueError) as error:
        yield f"    damaged: the runs cannot be read: {error}"


def _run(run: Run) -> str:
    kind = run.kind.name.lower() if isinstance(run.kind, Kind) else f"unknown kind {run.kind}"
    text = f"{kind}: {run.frames} frames, {len(run.body)} bytes"
    if run.peer:
        text += f", peer {_printable(run.peer)}, connection {run.connection}"
    if run.stamp is not None:
        text += (
            f", client {run.stamp.client.hex()}, incarnation {run.stamp.incarnation}, "
            f"sequence {run.stamp.sequence}"
        )
    return text


def _frame(frame: memoryview) -> str:
    shown = repr(bytes(frame[:_FRAME_BYTES]))
    return f"{len(frame)} bytes: {shown}{'…' if len(frame) > _FRAME_BYTES else ''}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _utc(microseconds: int) -> str:
    """Return a time as ISO 8601 in UTC; as a number if it is out of range."""
    try:
        at = datetime.fromtimestamp(microseconds // 1_000_000, UTC)
    except (OverflowError, OSError, ValueError):
        return f"{microseconds} µs"
    return f"{at:%Y-%m-%dT%H:%M:%S}.{microseconds % 1_000_000:06}Z"
