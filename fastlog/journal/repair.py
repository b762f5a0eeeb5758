"""The repair of a damaged journal, for `fastlog check --repair`.

What cannot be read is copied aside, and its place is filled with padding blocks, so that offsets
and cursors stay what they were. The first of them carries a `Loss` note to the ledger.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

from fastlog.block import HEADER, RUN, Kind, make_notices
from fastlog.files import replace_file, sync_directory, touch
from fastlog.journal.durable_offset import Mark
from fastlog.journal.position import read_positions
from fastlog.journal.recovery import check_versions, known_durable
from fastlog.journal.secret import NAME, find_secret, make_secret, read_secret, write_secret
from fastlog.journal.segment import (
    Header,
    Segment,
    blocks,
    make_node,
    next_block,
    pack_header,
    read_block,
    read_node,
    segment_path,
    segments,
    write_node,
)
from fastlog.record import Loss

_PADDING_MAX = 16 << 20
_SMALLEST = HEADER.size + RUN.size


def repair(directory: Path) -> str:
    """Repairs the journal in `directory`, which no server may be using. Returns what was done."""
    check_versions(directory)
    found = segments(directory)
    if not found:
        return "there is no journal to repair"
    report: list[str] = []
    _repair_node(directory, report)
    secret = _repair_secret(directory, found, report)
    durable = known_durable(directory)
    at, stamp = found[0].start, 0
    index = 0 if at == 0 else None  # the ordinal of the next frame, once a sound block tells it
    for i, segment in enumerate(found):
        if at < segment.start:
            hole = Segment(segment_path(directory, at), at)
            touch(hole.path)
            after = _first_index(segment, secret)
            report.append(_fill(hole, (at, segment.start), (index, after), stamp, secret))
            at, index = segment.start, index if after is None else after
        following = found[i + 1] if i + 1 < len(found) else None
        done = _repair_segment(segment, following, durable, index, stamp, secret)
        at, index, stamp = done[:3]
        report += done[3]
    sync_directory(directory)
    with Mark(directory, writable=True) as mark:
        mark.publish(min(durable, at))
    return "\n".join(report) or "the journal is sound: nothing was changed"


def _repair_node(directory: Path, report: list[str]) -> None:
    """Gives the journal its node id again: that by which its sinks know it, or else a new one."""
    if read_node(directory) is not None:
        return
    known = Counter(position.node for position in read_positions(directory.parent).values())
    path = directory / "node"
    for node, _ in known.most_common(1):
        write_node(directory, node)
        report.append(f"{path} was missing or damaged: the sinks know the journal as {node}")
        if read_node(directory) is not None:
            return
    make_node(directory)
    report.append(f"{path} was missing or damaged: the sinks store again what the journal holds")


def _repair_secret(directory: Path, found: list[Segment], report: list[str]) -> bytes:
    """Returns the secret that the segments have, which is then in its file."""
    written, used = read_secret(directory), find_secret(found)
    if written is not None and used in (written, None):
        return written
    path = directory / NAME
    if used is not None:
        write_secret(directory, used)
        report.append(f"{path} was missing or damaged: it is that of the segments again")
        return used
    report.append(f"{path} was missing or damaged, and no segment begins with a sound block")
    return make_secret(directory)


def _repair_segment(
    segment: Segment,
    following: Segment | None,
    durable: int,
    index: int | None,
    stamp: int,
    secret: bytes,
) -> tuple[int, int | None, int, list[str]]:
    """Returns the segment's end now, the next frame's ordinal, the last stamp, and a report."""
    until = None if following is None else following.start
    data = segment.path.read_bytes()
    if until is not None:
        data = data[: until - segment.start]
    view = memoryview(data)
    end, report = segment.start, []
    while True:
        for block, _ in blocks(view[end - segment.start :], end, secret):
            end, index, stamp = block.end, block.index + block.frames, block.stamp
        later = next_block(data, end - segment.start, segment.start, secret)
        if later is not None:
            found = read_block(view, later, segment.start + later, secret)
            assert found is not None
            span = end, segment.start + later
            report.append(_fill(segment, span, (index, found[0].index), stamp, secret))
            end, index = segment.start + later, found[0].index
            continue
        goal = until if until is not None else max(durable, end)
        if end < goal:
            after = None if following is None else _first_index(following, secret)
            report.append(_fill(segment, (end, goal), (index, after), stamp, secret))
            end, index = goal, index if after is None else after
        return end, index, stamp, report


def _first_index(segment: Segment, secret: bytes) -> int | None:
    """The ordinal of the segment's first frame, if its first block is sound."""
    data = memoryview(segment.path.read_bytes())
    found = read_block(data, 0, segment.start, secret)
    return None if found is None else found[0].index


def _fill(
    segment: Segment,
    span: tuple[int, int],
    indexes: tuple[int | None, int | None],
    stamp: int,
    secret: bytes,
) -> str:
    """Puts padding blocks over a span of the journal. Returns a line of the report."""
    (start, end), (index, next_index) = span, indexes
    count = -1 if index is None or next_index is None else next_index - index
    index = index if index is not None else next_index or 0
    with segment.path.open("r+b") as file:
        file.seek(start - segment.start)
        damaged = file.read(end - start)
        copy = segment.path.with_name(f"damaged-{start:020}.bin")
        replace_file(copy, damaged)
        now = time.time()
        loss = Loss("", "journal damage", count, stamp / 1e6 or now, now, f"[{start}, {end})")
        notes = make_notices([loss])
        at = start
        while at < end:
            size = min(end - at, _PADDING_MAX)
            if end - at - size < _SMALLEST and end - at > _PADDING_MAX:
                size -= _SMALLEST  # leave enough for the last one
            with_note = at == start and size >= _SMALLEST + len(notes)
            block = _padding(at, size, index, stamp, notes if with_note else b"", secret)
            file.seek(at - segment.start)
            file.write(block)
            at += size
        file.flush()
        os.fsync(file.fileno())
    how_many = f"{count} records" if count >= 0 else "an unknown number of records"
    return (
        f"{segment.path}: {end - start} bytes at offset {start} were unreadable "
        f"({how_many}); a copy is in {copy.name}"
    )


def _padding(offset: int, size: int, index: int, stamp: int, notes: bytes, secret: bytes) -> bytes:
    """A block of exactly `size` bytes that holds the notes, if any, and nothing else."""
    filler = size - HEADER.size - len(notes) - RUN.size
    if filler < 0:
        raise ValueError(f"{size} bytes at offset {offset} are too few for a block")
    payload = notes + RUN.pack(Kind.PADDING, 0, 0, 0, 0, filler) + bytes(filler)
    header = Header(len(payload), 1 if notes else 0, offset, 0, index, stamp)
    return pack_header(header, payload, secret) + payload
