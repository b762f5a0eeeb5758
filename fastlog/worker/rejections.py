"""The rows that a sink does not take, as the ledger gets them."""

from __future__ import annotations

from fastlog.block import Block, Kind, frames, runs
from fastlog.ledger import VARIOUS, Entry
from fastlog.record import RAW_BYTES, Rejection

ROWS = 100
"""Rows of one block that are told one by one; the rest are one more, with a count."""


def entries(block: Block, reasons: dict[int, str], sink: str) -> list[Entry]:
    """Entries for the frames of a block that the sink does not take, by their `idx`.

    The same block and reasons always give the same entries.
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
                raw = bytes(frame[:RAW_BYTES])
                note = Rejection(run.peer, reason, len(frame), raw, 1, block.received)
                if len(found) <= ROWS:
                    found.append(Entry(block.offset, idx, note, sink))
                else:
                    found[-1] = _one_more(found[-1], reason)
            idx += 1
    return found


def _one_more(entry: Entry, reason: str) -> Entry:
    note = entry.notice
    assert isinstance(note, Rejection)
    both = reason if reason == note.reason else VARIOUS
    return entry._replace(notice=Rejection("", both, 0, b"", note.count + 1, note.received))
