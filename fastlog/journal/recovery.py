"""The recovery of a journal at the start: returns all its valid blocks, or rejects a damaged one.

After a crash the last blocks may be torn, in any order: the disk guarantees nothing for what was
not synced. Every block holds the durable offset at the time when it was written. The highest one
found anywhere distinguishes two cases. An invalid block at or after it begins a torn tail, which
is cut. Before it, durable data has been damaged since, and an operator has to decide what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastlog.block import MAGIC, Block
from fastlog.errors import JournalDamagedError, JournalError
from fastlog.journal import durable_offset, sink_position, snapshot
from fastlog.journal.durable_offset import DurableOffset
from fastlog.journal.secret import require_secret
from fastlog.journal.segment import (
    Segment,
    blocks,
    is_removed,
    next_block,
    read_node,
    read_removed,
    segments,
)
from fastlog.journal.sink_position import read_positions
from fastlog.journal.version import require_version


@dataclass(frozen=True, slots=True)
class Recovered:
    """The state of a recovered journal, in which its writer continues."""

    segments: list[Segment]
    end: int
    """Journal offset after the last valid block."""
    index: int
    """Ordinal of the next frame."""
    cut: int
    """Bytes of the torn tail that were cut off."""
    received_us: int = 0
    """When the last block was received, in microseconds since the epoch; 0 if there is none."""


@dataclass(frozen=True, slots=True)
class Scan:
    """The result of reading one segment."""

    end: int
    index: int
    durable: int
    """The highest durable offset that one of its valid blocks holds."""
    excess: int
    """Bytes behind `end`."""
    received_us: int
    """When the last of its valid blocks was received; 0 if there is none."""


def check_versions(directory: Path) -> None:
    """Check that this code can read the journal in `directory`: each file names its format.

    Raises:
        JournalError: Another version of fastlog wrote one of them.
    """
    for segment in segments(directory):
        _check_magic(segment.path, MAGIC)
    for path in snapshot.paths(directory):
        _check_magic(path, snapshot.MAGIC)
    durable_offset.check_version(directory)
    sink_position.check_versions(directory.parent)


def examine(directory: Path) -> tuple[str, bytes] | None:
    """Return node id and secret of the journal in `directory`; None if it has no segment yet.

    Raises:
        JournalError: It has segments, and one of the two is missing, or another version of fastlog
            wrote them.
    """
    check_versions(directory)
    found, node = segments(directory), read_node(directory)
    if not found:
        return None
    if node is None:
        raise JournalError(
            f"{directory / 'node'} is missing or damaged, and the journal has segments; "
            "`fastlog check --repair` takes it from the sinks, then the server starts"
        )
    return node, require_secret(directory, found)


def _check_magic(path: Path, expected: bytes) -> None:
    """Check the version in the first bytes of a file: three letters and a digit."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(expected))
    except FileNotFoundError:
        return  # released meanwhile, or never written
    letters, version = magic[:-1], magic[-1:]
    if letters == expected[:-1] and version.isdigit():
        require_version(path, int(version), int(expected[-1:]))


def known_durable(directory: Path) -> int:
    """Return the highest durable offset in the durable page and in the sink positions."""
    known = [0]
    try:
        with DurableOffset(directory) as page:
            known.append(page.read() or 0)
    except (FileNotFoundError, ValueError):
        pass  # a new journal, or a page that a power cut has torn
    node = read_node(directory)
    known += [p.durable for p in read_positions(directory.parent).values() if p.node == node]
    return max(known)


def scan(
    segment: Segment,
    until: int | None,
    index: int,
    secret: bytes,
    visit: Callable[[Block], None] | None = None,
) -> Scan:
    """Read one segment, to `until` if another follows there.

    Args:
        visit: Called with each valid block.
    """
    data = segment.path.read_bytes()
    if until is not None:
        data = data[: until - segment.start]
    view = memoryview(data)
    end, durable, received_us = segment.start, 0, 0
    for block, header in blocks(view, segment.start, secret):
        end, index, received_us = block.end, block.index + block.frames, block.received_us
        durable = max(durable, header.durable)
        if visit is not None:
            visit(block)
    at = end - segment.start
    excess = len(data) - at
    while (later := next_block(data, at, segment.start, secret)) is not None:
        for block, header in blocks(view[later:], segment.start + later, secret):
            at = block.end - segment.start
            durable = max(durable, header.durable)
    return Scan(end, index, durable, excess, received_us)


def recover(
    directory: Path, secret: bytes, visit: Callable[[Block], None] | None = None
) -> Recovered:
    """Read the whole journal, cut a torn tail, and make the rest durable.

    Args:
        visit: Called with every remaining block, in order.

    Raises:
        JournalDamagedError: Blocks that were durable cannot be read.
    """
    found = segments(directory)
    at = found[0].start if found else 0
    index = cut = received_us = 0
    durable = known_durable(directory) if found else 0
    removed = read_removed(directory)
    for i, segment in enumerate(found):
        following = found[i + 1].start if i + 1 < len(found) else None
        if segment.start != at and not is_removed(removed, at, segment.start):
            raise _damaged(
                segment.path, at, f"the {segment.start - at} bytes before it are missing"
            )
        seen = scan(segment, following, index, secret, visit)
        at, index = seen.end, seen.index
        durable = max(durable, seen.durable)
        received_us = seen.received_us or received_us
        missing = following is not None and at != following
        if missing and not is_removed(removed, at, following or 0):
            raise _damaged(segment.path, at, f"{(following or 0) - at} bytes there cannot be read")
        cut = seen.excess
    if at < durable:
        raise _damaged(found[-1].path, at, f"{durable - at} bytes there cannot be read")
    if found:
        _make_durable(found[-1], max(durable, found[-1].start), at)
    return Recovered(found, at, index, cut, received_us)


def _make_durable(last: Segment, durable: int, end: int) -> None:
    """Cut the tail, and write again and sync what is not known to be durable: the kernel may have
    failed to write it, and takes such pages for clean afterwards."""
    fd = os.open(last.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(fd, end - last.start)
        at = durable - last.start
        while piece := os.pread(fd, 1 << 20, at):
            at += os.pwrite(fd, piece, at)
        os.fsync(fd)
    finally:
        os.close(fd)


def _damaged(path: Path, offset: int, what: str) -> JournalDamagedError:
    return JournalDamagedError(
        f"the journal is damaged: {path}, offset {offset}: {what}, though they were durable; "
        "`fastlog check --repair` keeps a copy and counts the loss, then the server starts"
    )
