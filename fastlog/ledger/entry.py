"""One entry of the ledger, and the row that it becomes."""

from __future__ import annotations

from typing import NamedTuple

from fastlog.database import Execute
from fastlog.ledger.limits import MAX_COUNT, MAX_TEXT
from fastlog.record import RAW_BYTES, Loss, Rejection


class Entry(NamedTuple):
    """A rejection or a loss, with its place in the journal."""

    offset: int
    """Offset of the block."""
    idx: int
    """Ordinal of the frame in the block."""
    notice: Rejection | Loss
    sink: str = ""
    """The sink that the entry is about; "" where it is about the record."""
    received: float = 0.0
    """When the block was received, by the server's clock, in seconds since the epoch. Not used
    where the entry is about a sink."""

    @property
    def table(self) -> str:
        """The table that the entry belongs to."""
        return "rejected" if isinstance(self.notice, Rejection) else "losses"


def insert_entry(execute: Execute, node: str, entry: Entry) -> int | None:
    """Insert the row if its key is new.

    Returns:
        The rowid.
    """
    key = (node, entry.offset, entry.idx, entry.sink)
    notice = entry.notice
    peer, reason = notice.peer[:MAX_TEXT], notice.reason[:MAX_TEXT]
    count = min(notice.count, MAX_COUNT)
    if isinstance(notice, Rejection):
        raw = notice.raw[:RAW_BYTES]
        return execute(
            "INSERT OR IGNORE INTO rejected VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, notice.received, peer, reason, min(notice.length, MAX_COUNT), count, raw),
        ).lastrowid
    # The worker of a sink that the journal has skipped reports the loss again, with the greater
    # count, until the sink has stored the next block. After a restart it may not know the count.
    return execute(
        "INSERT INTO losses VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " count = excluded.count, last = max(last, excluded.last), detail = excluded.detail"
        " WHERE sink <> '' AND (excluded.count > count"
        " OR excluded.count < 0 AND excluded.detail <> detail)",
        (*key, peer, reason, count, notice.first, notice.last, notice.detail[:MAX_TEXT]),
    ).lastrowid
