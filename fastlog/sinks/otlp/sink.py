"""The sink: blocks in, requests out, and a cursor in a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastlog.sinks import Rejected, Sink, SinkContext
from fastlog.sinks.cursor_file import SavedCursor
from fastlog.sinks.otlp.delivery import Delivery
from fastlog.sinks.otlp.mapping import Item, Mapping
from fastlog.sinks.otlp.requests import SizeOfRequest
from fastlog.sinks.otlp.settings import parse_url

if TYPE_CHECKING:
    from fastlog.block import Block
    from fastlog.decode import Decoded


class OtlpSink(Sink):
    """`otlp+http://host:4318` or `otlp+https://host/path`. At least once.

    The cursor moves in memory when a receiver has taken a block, and is saved once a second. So
    after a crash, the records of that second are sent again. Those of a request whose answer was
    lost always are.
    """

    def __init__(self, context: SinkContext) -> None:
        super().__init__(context)
        self._settings = parse_url(context.url)
        self.batch_bytes = self._settings.batch_size
        self._cursor = SavedCursor(context)
        self._delivery = self._make_delivery()
        self._mapping = self._make_mapping("")

    def open(self, node: str) -> int:
        self._delivery.check()
        self._mapping = self._make_mapping(node)
        self._delivery.begin(node)
        return self._cursor.open(node)

    def check(self) -> None:
        """Check that the receiver takes a request without records."""
        delivery = self._make_delivery()
        try:
            delivery.check()
            delivery.probe()
        finally:
            delivery.close()

    def apply(self, blocks: Sequence[Decoded]) -> None:
        self._cursor.check(blocks[0].block)
        self._delivery.check_pause()
        pending = _Pending()
        for decoded in blocks:
            for record in decoded.records:
                if (record.offset, record.idx) < self._delivery.position:
                    continue
                item = self._mapping.encode(record)
                if (
                    pending.items
                    and pending.size.bytes + pending.size.added(item) > self._delivery.limit
                ):
                    self._deliver(pending)
                    pending = _Pending()
                pending.items.append(item)
                pending.size.add(item)
            pending.whole.append(decoded.block)
        self._deliver(pending)

    def cursor(self) -> int:
        return self._cursor.offset

    def rejections(self) -> list[Rejected]:
        found, self._delivery.rejected = self._delivery.rejected, []
        return found

    def sync(self) -> int:
        return self._cursor.save()

    def offending(self, block: Decoded) -> dict[int, str]:
        reasons: dict[int, str] = {}
        for record in block.records:
            try:
                self._mapping.encode(record)
            except Exception as error:
                reasons[record.idx] = f"cannot be encoded: {type(error).__name__}: {error}"
        return reasons

    def close(self) -> None:
        self._delivery.close()

    def _deliver(self, pending: _Pending) -> None:
        if pending.items:
            self._delivery.deliver(pending.items, self._mapping)
        for block in pending.whole:
            self._cursor.move(block)

    def _make_delivery(self) -> Delivery:
        context = self.context
        return Delivery(self._settings, context.clock, context.steady, context.stopping)

    def _make_mapping(self, node: str) -> Mapping:
        return Mapping(node, self._settings.attributes, self._settings.max_traceback)


class _Pending:
    """The next request."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.size = SizeOfRequest()
        self.whole: list[Block] = []
        """The blocks that are delivered when this request is."""
