"""The repair of a damaged journal, for `fastlog check --repair`.

What cannot be read is copied aside, and its place is filled with padding blocks, so that offsets
and cursors stay what they were. The first of them carries a `Loss` note to the ledger.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from fastlog.block import HEADER, RUN, Kind, make_notes
from fastlog.journal.mark import Mark
from fastlog.journal.recovery import known_durable
from fastlog.journal.segment import (
    Header,
    Segment,
    blocks,
    next_block,
    pack_header,
    read_block,
    segment_path,
    segments,
    sync_directory,
)
from fastlog.record import Loss

_PADDING_MAX = 16 << 20
_SMALLEST = HEADER.size + RUN.size


def repair(directory: Path) -> str:
    """Repairs the journal in `directory`, which no server may be using. Returns what was done."""
    durable = known_durable(directory)
    found = segments(directory)
    if not found:
        return "there is no journal to repair"
    report: list[str] = []
    at, index, stamp = found[0].start, 0, 0
    for i, segment in enumerate(found):
        if at < segment.start:
            hole = Segment(segment_path(directory, at), at)
            hole.path.touch()
            report.append(_fill(hole, at, segment.start, index, None, stamp))
            at = segment.start
        last = i + 1 == len(found)
        until = None if last else found[i + 1].start
        done = _repair_segment(segment, until, durable, index, stamp)
        at, index, stamp = done[:3]
        report += done[3]
    sync_directory(directory)
    with Mark(directory, writable=True) as mark:
        mark.publish(min(durable, at))
    return "\n".join(report) or "the journal is sound: nothing was changed"


def _repair_segment(
    segment: Segment, until: int | None, durable: int, index: int, stamp: int
) -> tuple[int, int, int, list[str]]:
    """Returns the segment's end now, the next frame's ordinal, the last stamp, and a report."""
    data = memoryview(segment.path.read_bytes())
    if until is not None:
        data = data[: until - segment.start]
    end, report = segment.start, []
    while True:
        for block, _ in blocks(data[end - segment.start :], end):
            end, index, stamp = block.end, block.index + block.frames, block.stamp
        later = next_block(data, end - segment.start, segment.start)
        if later is not None:
            found = read_block(data, later, segment.start + later)
            assert found is not None
            report.append(_fill(segment, end, segment.start + later, index, found[0].index, stamp))
            end, index = segment.start + later, found[0].index
            continue
        goal = until if until is not None else max(durable, end)
        if end < goal:
            report.append(_fill(segment, end, goal, index, None, stamp))
            end = goal
        return end, index, stamp, report


def _fill(
    segment: Segment, start: int, end: int, index: int, next_index: int | None, stamp: int
) -> str:
    """Puts padding blocks over [start, end) of the journal. Returns a line of the report."""
    count = next_index - index if next_index is not None else -1
    with segment.path.open("r+b") as file:
        file.seek(start - segment.start)
        damaged = file.read(end - start)
        copy = segment.path.with_name(f"damaged-{start:020}.bin")
        copy.write_bytes(damaged)
        now = time.time()
        loss = Loss("", "journal damage", count, stamp / 1e6 or now, now, f"[{start}, {end})")
        notes = make_notes([loss])
        at = start
        while at < end:
            size = min(end - at, _PADDING_MAX)
            if end - at - size < _SMALLEST and end - at > _PADDING_MAX:
                size -= _SMALLEST  # leave enough for the last one
            with_note = at == start and size >= _SMALLEST + len(notes)
            block = _padding(at, size, index, stamp, notes if with_note else b"")
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


def _padding(offset: int, size: int, index: int, stamp: int, notes: bytes) -> bytes:
    """A block of exactly `size` bytes that holds the notes, if any, and nothing else."""
    filler = size - HEADER.size - len(notes) - RUN.size
    if filler < 0:
        raise ValueError(f"{size} bytes at offset {offset} are too few for a block")
    payload = notes + RUN.pack(Kind.PADDING, 0, 0, 0, 0, filler) + bytes(filler)
    header = Header(len(payload), 1 if notes else 0, offset, 0, index, stamp)
    return pack_header(header, payload) + payload
