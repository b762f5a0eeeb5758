"""Ledger entries: for what a decoder has found in blocks, and for the rows that a sink rejects."""

from __future__ import annotations

from collections.abc import Iterable

from fastlog.block import Block, Kind, frames, runs
from fastlog.decode import Decoded
from fastlog.ledger import VARIOUS, Entry
from fastlog.record import RAW_BYTES, Rejection

ROWS = 100
"""Rows of one block with an entry each; all others share one more entry, with their count."""


def of_notices(blocks: Iterable[Decoded]) -> list[Entry]:
    """Return entries for the rejections and losses in some blocks."""
    return [
        Entry(decoded.block.offset, located.idx, located.notice, received=decoded.block.received)
        for decoded in blocks
        for located in decoded.notices
    ]


def of_rows(
    block: Block, reasons: dict[int, str], sink: str, *, keep_raw: bool = True
) -> list[Entry]:
    """Return entries for the rejected frames of a block.

    The same block and reasons always give the same entries.

    Args:
        reasons: Why the sink rejects a frame, by its `idx`.
        sink: The sink's name.
        keep_raw: Whether the entries have the first bytes of the frames. They have not where
            records are redacted, since nothing is redacted in these bytes.
    """
    found: list[Entry] = []
    idx = 0
    for run in runs(block.payload):
        if not isinstance(run.kind, Kind):
            idx += run.frames
            continue
        for frame in frames(run):
            if idx in reasons:
                reason = reasons[idx]
                raw = bytes(frame[:RAW_BYTES]) if keep_raw else b""
                rejection = Rejection(run.peer, reason, len(frame), raw, 1, block.received)
                if len(found) <= ROWS:
                    found.append(Entry(block.offset, idx, rejection, sink))
                else:
                    found[-1] = _add_to(found[-1], reason)
            idx += 1
    return found


def _add_to(entry: Entry, reason: str) -> Entry:
    """Return the shared entry with one more row counted."""
    shared = entry.notice
    assert isinstance(shared, Rejection)
    reason = reason if reason == shared.reason else VARIOUS
    return entry._replace(notice=Rejection("", reason, 0, b"", shared.count + 1, shared.received))
