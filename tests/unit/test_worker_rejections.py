"""What a sink's destination rejects is in the ledger before the sink's cursor is durable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from worker_bench import Bench, ListSink, chain_of

from fastlog.decode import Decoded
from fastlog.errors import SinkUnavailableError
from fastlog.sinks import Rejected

ROWS = "SELECT offset, idx, sink, peer, reason, count, raw FROM rejected ORDER BY offset, idx"


class ForwardingSink(ListSink):
    """Passes records on to what rejects those that begin with "bad"."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.rejected: list[Rejected] = []
        self.fails_at: int | None = None
        self.ledger_at_sync: list[int] = []

    def apply(self, blocks: Sequence[Decoded]) -> None:
        for decoded in blocks:
            offset = decoded.block.offset
            if offset == self.fails_at:
                raise SinkUnavailableError("down")
            for record in decoded.records:
                if record.message.startswith("bad"):
                    self.rejected.append(Rejected(offset, record.idx, "HTTP 400: no"))
            if decoded.records[-1].message == "partial":
                self.rejected.append(Rejected(offset, 7, "partial success: old", 2))
            self.at = decoded.block.end

    def rejections(self) -> list[Rejected]:
        found, self.rejected = self.rejected, []
        return found


def test_single_records_and_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocks = chain_of(["a", "bad 1"], ["bad 2", "partial"])
    bench = Bench(tmp_path, blocks, ForwardingSink(tmp_path))
    bench.run(2, 1.0)

    rows = bench.ledger(ROWS)
    assert [row[:6] for row in rows] == [
        (0, 1, "list", "127.0.0.1:5", "HTTP 400: no", 1),
        (blocks[1].offset, 0, "list", "127.0.0.1:5", "HTTP 400: no", 1),
        (blocks[1].offset, 7, "list", "", "partial success: old", 2),
    ]
    assert b"bad 1" in rows[0][6]
    assert rows[2][6] == b""
    assert bench.position().cursor == blocks[1].end
    bench.run(1, 2.0)
    logged = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert logged == [
        "sink list: records are in the ledger instead: HTTP 400: no (2)",
        "sink list: records are in the ledger instead: partial success: old (2)",
    ]


def test_what_was_rejected_before_a_failure_is_entered_and_once(tmp_path: Path) -> None:
    blocks = chain_of(["bad"], ["a"])
    sink = ForwardingSink(tmp_path)
    bench = Bench(tmp_path, blocks, sink)
    sink.fails_at = blocks[1].offset
    bench.run(2, 1.0)
    assert len(bench.ledger(ROWS)) == 1
    sink.fails_at = None
    bench.run(9, 1.0)
    assert len(bench.ledger(ROWS)) == 1
    sink.at = 0  # as after a crash: the same is rejected again
    bench.start()
    bench.run(3, 1.0)
    assert [row[5] for row in bench.ledger(ROWS)] == [1]


def test_nothing_is_durable_while_the_ledger_cannot_be_written(tmp_path: Path) -> None:
    blocks = chain_of(["bad"], ["a"])
    sink = ForwardingSink(tmp_path)
    bench = Bench(tmp_path, blocks, sink)
    bench.run(1, 0.0)
    bench.journal.durable_offset = blocks[0].end
    ledger = bench.worker._ledger
    record = ledger.record

    def fail(*_: object) -> int:
        raise SinkUnavailableError("the disk is full")

    sink.at = sink.durable = 0
    bench.start()
    bench.worker._ledger.record = fail  # type: ignore[method-assign]
    bench.run(3, 6.0)
    assert sink.durable == 0
    bench.worker._ledger.record = record  # type: ignore[method-assign]
    bench.run(3, 6.0)
    assert sink.durable == sink.at == blocks[0].end
    assert len(bench.ledger(ROWS)) == 1


@pytest.mark.parametrize(("batch_bytes", "least"), [(0, 1), (1 << 20, 20)])
def test_a_slow_sink_gets_a_whole_request_at_once(
    tmp_path: Path, batch_bytes: int, least: int
) -> None:
    sink = ListSink(tmp_path)
    sink.batch_bytes = batch_bytes
    bench = Bench(tmp_path, chain_of(*[["x" * 1000]] * 60), sink)
    apply = sink.apply

    def slow(blocks: Sequence[Decoded]) -> None:
        bench.clock.now += 1.0  # a second for a call, whatever it gets
        apply(blocks)

    sink.apply = slow  # type: ignore[method-assign]
    bench.journal.durable_offset = bench.journal.blocks[20].end
    bench.run(1)
    bench.run(20)
    bench.journal.durable_offset = bench.journal.blocks[-1].end
    sink.calls.clear()
    bench.run(1)
    assert sink.calls[0] >= least
    assert least > 1 or sink.calls[0] < 10
