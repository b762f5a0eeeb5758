"""What a sink's destination has rejected, on its way to the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastlog.block import Block
from fastlog.eventlog import EventLog
from fastlog.ledger import Entry, Ledger
from fastlog.record import Rejection
from fastlog.sinks import Rejected
from fastlog.worker import ledger_entries


class Rejections:
    """Keeps the entries until the ledger has them, which is before the sink's cursor is durable.

    Args:
        keep_raw: As of `ledger_entries.of_rows`.
    """

    def __init__(self, sink: str, events: EventLog, *, keep_raw: bool = True) -> None:
        self._sink, self._keep_raw = sink, keep_raw
        self._events = events
        self._entries: list[Entry] = []

    def collect(self, found: Iterable[Rejected], blocks: Sequence[Block]) -> None:
        """Make entries of what was rejected of these blocks, and count them for the log."""
        by_offset = {block.offset: block for block in blocks}
        reasons: dict[int, dict[int, str]] = {}
        for one in found:
            text = f"sink {self._sink}: records are in the ledger instead: {one.reason}"
            self._events.add("sink rejects", text, one.number or 1)
            block = by_offset[one.offset]
            if one.number:
                rejection = Rejection("", one.reason, 0, b"", one.number, block.received)
                self._entries.append(Entry(one.offset, one.idx, rejection, self._sink))
            else:
                reasons.setdefault(one.offset, {})[one.idx] = one.reason
        for offset, rows in reasons.items():
            self._entries += ledger_entries.of_rows(
                by_offset[offset], rows, self._sink, keep_raw=self._keep_raw
            )

    def enter(self, ledger: Ledger, node: str) -> None:
        """Enter them.

        Raises:
            SinkUnavailableError: The ledger cannot be written; they are kept.
        """
        if self._entries:
            ledger.record(node, self._entries, 0)
            self._entries.clear()
