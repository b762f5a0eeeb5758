"""The repair of a damaged journal, for `fastlog check --repair`.

Unreadable bytes are copied to a file and replaced by padding blocks, so that offsets and cursors
stay valid. The first padding block carries a `Loss` notice to the ledger.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

from fastlog.block import HEADER, RUN, Kind, make_notices
from fastlog.files import replace_file, sync_directory, touch
from fastlog.journal.durable_offset import DurableOffset
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
from fastlog.journal.sink_position import read_positions
from fastlog.record import Loss

_PADDING_MAX = 16 << 20
_SMALLEST = HEADER.size + RUN.size


def repair(directory: Path) -> str:
    """Repair the journal in `directory`, which no server may be using. Return a report."""
    check_versions(directory)
    found = segments(directory)
    if not found:
        return "there is no journal to repair"
    report: list[str] = []
    _repair_node(directory, report)
    secret = _repair_secret(directory, found, report)
    durable = known_durable(directory)
    at, received_us = found[0].start, 0
    index = 0 if at == 0 else None  # the ordinal of the next frame, once a valid block gives it
    for i, segment in enumerate(found):
        if at < segment.start:
            missing = Segment(segment_path(directory, at), at)
            touch(missing.path)
            after = _first_index(segment, secret)
            report.append(_fill(missing, (at, segment.start), (index, after), received_us, secret))
            at, index = segment.start, index if after is None else after
        following = found[i + 1] if i + 1 < len(found) else None
        at, index, received_us, lines = _repair_segment(
            segment, following, durable, index, received_us, secret
        )
        report += lines
    sync_directory(directory)
    with DurableOffset(directory, writable=True) as page:
        page.publish(min(durable, at))
    return "\n".join(report) or "the journal is intact: nothing was changed"


def _repair_node(directory: Path, report: list[str]) -> None:
    """Restore the journal's node id from its sinks; make a new one if no sink has it."""
    if read_node(directory) is not None:
        return
    known = Counter(position.node for position in read_positions(directory.parent).values())
    path = directory / "node"
    for node, _ in known.most_common(1):
        write_node(directory, node)
        report.append(f"{path} was missing or damaged: restored {node} from the sinks")
        if read_node(directory) is not None:
            return
    make_node(directory)
    report.append(
        f"{path} was missing or damaged: made a new one, so the sinks store all blocks again"
    )


def _repair_secret(directory: Path, found: list[Segment], report: list[str]) -> bytes:
    """Return the secret of the segments, and make sure that its file holds it."""
    written, used = read_secret(directory), find_secret(found)
    if written is not None and used in (written, None):
        return written
    path = directory / NAME
    if used is not None:
        write_secret(directory, used)
        report.append(f"{path} was missing or damaged: restored from the segments")
        return used
    report.append(
        f"{path} was missing or damaged, and no segment begins with a valid block: made a new one"
    )
    return make_secret(directory)


def _repair_segment(
    segment: Segment,
    following: Segment | None,
    durable: int,
    index: int | None,
    received_us: int,
    secret: bytes,
) -> tuple[int, int | None, int, list[str]]:
    """Return the segment's new end, the next frame's ordinal, the last receive time in
    microseconds, and the lines of a report."""
    until = None if following is None else following.start
    data = segment.path.read_bytes()
    if until is not None:
        data = data[: until - segment.start]
    view = memoryview(data)
    end, report = segment.start, []
    while True:
        for block, _ in blocks(view[end - segment.start :], end, secret):
            end, index, received_us = block.end, block.index + block.frames, block.received_us
        later = next_block(data, end - segment.start, segment.start, secret)
        if later is not None:
            found = read_block(view, later, segment.start + later, secret)
            assert found is not None
            span = end, segment.start + later
            report.append(_fill(segment, span, (index, found[0].index), received_us, secret))
            end, index = segment.start + later, found[0].index
            continue
        goal = until if until is not None else max(durable, end)
        if end < goal:
            after = None if following is None else _first_index(following, secret)
            report.append(_fill(segment, (end, goal), (index, after), received_us, secret))
            end, index = goal, index if after is None else after
        return end, index, received_us, report


def _first_index(segment: Segment, secret: bytes) -> int | None:
    """Return the ordinal of the segment's first frame, if its first block is valid."""
    data = memoryview(segment.path.read_bytes())
    found = read_block(data, 0, segment.start, secret)
    return None if found is None else found[0].index


def _fill(
    segment: Segment,
    span: tuple[int, int],
    indexes: tuple[int | None, int | None],
    received_us: int,
    secret: bytes,
) -> str:
    """Replace a span of the journal by padding blocks. Return a line of the report.

    Args:
        span: Journal offsets of its start and end.
        indexes: Ordinals of the next frame at both; None where unknown.
        received_us: Time of receipt of the block before it, in microseconds since the epoch;
            0: unknown.
    """
    (start, end), (index, next_index) = span, indexes
    count = -1 if index is None or next_index is None else next_index - index
    index = index if index is not None else next_index or 0
    with segment.path.open("r+b") as file:
        file.seek(start - segment.start)
        damaged = file.read(end - start)
        copy = segment.path.with_name(f"damaged-{start:020}.bin")
        replace_file(copy, damaged)
        now = time.time()
        loss = Loss("", "journal damage", count, received_us / 1e6 or now, now, f"[{start}, {end})")
        notices = make_notices([loss])
        at = start
        while at < end:
            size = min(end - at, _PADDING_MAX)
            if end - at - size < _SMALLEST and end - at > _PADDING_MAX:
                size -= _SMALLEST  # leave enough for the last one
            has_notices = at == start and size >= _SMALLEST + len(notices)
            block = _padding(at, size, index, received_us, notices if has_notices else b"", secret)
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


def _padding(
    offset: int, size: int, index: int, received_us: int, notices: bytes, secret: bytes
) -> bytes:
    """Return a block of exactly `size` bytes that holds the notices, if any, and padding."""
    filler = size - HEADER.size - len(notices) - RUN.size
    if filler < 0:
        raise ValueError(f"{size} bytes at offset {offset} are too few for a block")
    payload = notices + RUN.pack(Kind.PADDING, 0, 0, 0, 0, filler) + bytes(filler)
    header = Header(len(payload), 1 if notices else 0, offset, 0, index, received_us)
    return pack_header(header, payload, secret) + payload
