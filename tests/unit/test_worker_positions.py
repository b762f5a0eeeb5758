"""The worker applies durable blocks, knows its position in the journal, and stops in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from builders import NODE, make_context
from worker_bench import Bench, ListSink, chain_of

from fastlog.decode import Decoded
from fastlog.errors import SinkUnavailableError
from fastlog.sinks.sqlite import SqliteSink
from fastlog.worker.cursor_ahead import CursorAheadError
from fastlog.worker.life import read_lives


def test_a_worker_applies_durable_blocks_and_writes_its_position(tmp_path: Path) -> None:
    blocks = chain_of(["a", "b"], ["c"], ["not durable yet"])
    bench = Bench(tmp_path, blocks)
    bench.journal.durable_offset = blocks[1].end

    assert bench.worker.step() == 0.0
    assert bench.worker.step() > 0.0
    assert bench.sink.stored == ["a", "b", "c"]
    written = bench.position()
    assert (written.node, written.cursor, written.durable, written.index, written.error) == (
        *(NODE, blocks[1].end, blocks[1].end, 3),
        None,
    )

    bench.journal.durable_offset = blocks[2].end
    bench.run()
    assert bench.sink.stored[3:] == ["not durable yet"]
    assert bench.position().cursor == blocks[1].end, "written about once a second"
    bench.run(seconds=1.0)
    assert (bench.position().durable, bench.position().index) == (blocks[2].end, 4)
    assert bench.sink.ticks == 2


def test_a_restarted_worker_continues_at_the_sinks_cursor(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b"], ["c"])
    bench = Bench(tmp_path, blocks)
    bench.journal.durable_offset = blocks[0].end
    bench.run()
    bench.journal.durable_offset = blocks[2].end
    bench.start()
    bench.run(2, 1.0)

    assert bench.sink.stored == ["a", "b", "c"]
    assert bench.position().index == 3


def test_a_sink_too_far_behind_gets_one_loss_row(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b", "c"], ["d"], ["e", "f"], ["g"])
    bench = Bench(tmp_path, blocks)
    bench.journal.durable_offset = blocks[0].end
    bench.run()
    bench.sink.errors = [SinkUnavailableError("down")] * 3
    bench.journal.durable_offset = blocks[4].end
    bench.journal.oldest = blocks[2].offset
    bench.run(2, 1.0)
    bench.start()  # killed, and meanwhile the journal released more
    bench.journal.oldest = blocks[3].offset
    bench.run(12, 6.0)

    assert bench.sink.stored == ["a", "e", "f", "g"]
    rows = bench.ledger("SELECT sink, offset, count, reason, first, detail FROM losses")
    assert [row[:3] for row in rows] == [("list", blocks[0].end, 3)]
    span = f"sink list, journal offsets {blocks[0].end} to {blocks[3].offset}"
    assert rows[0][5] == f"{span}; counted in frames, with those that are no records"
    assert bench.position().index == 7


def test_after_a_kill_the_worker_counts_frames_from_the_written_position(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b", "c"], ["d"], ["e"], ["f"])
    bench = Bench(tmp_path, blocks)
    bench.journal.durable_offset = blocks[0].end
    bench.run()
    bench.sink.at = bench.journal.durable_offset = blocks[2].end  # killed before it wrote this
    bench.start()
    bench.run(2, 1.0)
    assert (bench.position().cursor, bench.position().index) == (blocks[2].end, 4)

    bench.journal.oldest, bench.journal.durable_offset = blocks[4].offset, blocks[4].end
    bench.run(3, 1.0)
    assert bench.ledger("SELECT count FROM losses") == [(1,)]


def test_an_unknown_ordinal_is_not_written_as_zero(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b", "c"], ["d"])
    bench = Bench(tmp_path, blocks)
    bench.sink.at = bench.journal.durable_offset = blocks[1].end
    bench.run(2, 1.0)
    assert (bench.position().cursor, bench.position().index) == (blocks[1].end, None)
    bench.journal.durable_offset = blocks[2].end
    bench.run(2, 1.0)
    assert bench.position().index == 4


def test_the_ordinal_at_the_cursor_is_taken_from_the_block_there(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b", "c"], ["d"])
    bench = Bench(tmp_path, blocks)
    bench.sink.at = blocks[1].end
    bench.sink.errors = [SinkUnavailableError("down")] * 2
    bench.sink.open = lambda node: bench.sink.at  # type: ignore[method-assign]
    bench.run()
    bench.journal.oldest = bench.journal.durable_offset = blocks[2].end
    bench.worker.finish(lambda _: None)
    assert bench.position().index == 3


def test_a_gap_is_a_loss_of_unknown_size_if_the_position_is_lost(
    tmp_path: Path,
) -> None:
    blocks = chain_of(["a"], ["b", "c"], ["d"])
    bench = Bench(tmp_path, blocks)
    bench.sink.at, bench.journal.oldest = blocks[0].end, blocks[2].offset
    bench.run(3, 1.0)
    assert bench.sink.stored == ["d"]
    assert bench.ledger("SELECT sink, offset, count FROM losses") == [("list", blocks[0].end, -1)]


def test_a_new_sink_begins_at_the_oldest_block_without_a_loss(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b"], ["c"])
    bench = Bench(tmp_path, blocks)
    bench.journal.oldest = blocks[1].offset
    bench.run(3, 1.0)

    assert bench.sink.stored == ["b", "c"]
    assert not (tmp_path / "ledger.db").exists()


def test_a_sink_ahead_of_the_journal_is_fatal_after_a_while(tmp_path: Path) -> None:
    bench = Bench(tmp_path, chain_of(["a"]))
    bench.sink.at = 10_000
    bench.run(5, 1.0)
    with pytest.raises(CursorAheadError, match=f"10000 of journal {NODE}"):
        bench.run(10, 1.0)


def test_a_worker_waits_for_a_durable_offset_below_the_cursor(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b"])
    bench = Bench(tmp_path, blocks)
    bench.sink.at, bench.journal.durable_offset = blocks[0].end, 0
    bench.run(5, 1.0)
    bench.journal.durable_offset = blocks[1].end
    bench.run(3, 1.0)
    assert bench.sink.stored == ["b"]


def test_a_batch_is_bounded_in_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlog.worker.worker.BATCH_FRAMES", 5)
    bench = Bench(tmp_path, chain_of(*[["x", "y"]] * 7))
    bench.run(4)
    assert bench.sink.calls == [3, 3, 1]
    assert len(bench.sink.stored) == 14


def test_a_stopping_worker_catches_up_with_the_durable_offset_and_syncs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastlog.worker.worker.BATCH_FRAMES", 1)
    blocks = chain_of(*[["x"]] * 6)
    bench = Bench(tmp_path, blocks)
    bench.journal.durable_offset = blocks[3].end
    waits_done: list[float] = []
    bench.worker.run(lambda: len(waits_done) == 2, waits_done.append)

    assert len(bench.sink.stored) == 4
    assert bench.sink.durable == bench.position().durable == blocks[3].end


def test_two_workers_with_real_sinks_store_every_record_once(tmp_path: Path) -> None:
    blocks = chain_of(*[[f"{n}.{k}" for k in range(3)] for n in range(20)])
    sinks = [SqliteSink(make_context(tmp_path, "sqlite:"), file_limit=60_000) for _ in range(2)]
    benches = [Bench(tmp_path, blocks, sink) for sink in sinks]
    for n, block in enumerate(blocks):
        for bench in benches if n % 2 else benches[::-1]:
            bench.journal.durable_offset = block.end
            bench.run(1, 0.3)
    for bench in benches:
        bench.run(30, 6.0)

    stored: list[str] = []
    for path in (tmp_path / "logs").glob("*.db"):
        with closing(sqlite3.connect(path)) as connection:
            stored += [row[0] for row in connection.execute("SELECT message FROM records")]
    assert sorted(stored) == sorted(f"{n}.{k}" for n in range(20) for k in range(3))


def test_the_position_has_the_time_of_receipt_of_the_newest_applied_block(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b"])
    bench = Bench(tmp_path, blocks)
    bench.journal.durable_offset = blocks[0].end
    bench.run()
    assert bench.position().stored_received == blocks[0].received
    bench.start()  # the next process knows it before it applies anything
    bench.run(seconds=1.0)
    assert bench.position().stored_received == blocks[0].received
    bench.journal.durable_offset = blocks[1].end
    bench.run(2, 1.0)
    assert bench.position().stored_received == blocks[1].received


def test_the_position_has_what_fails_in_the_sink(tmp_path: Path) -> None:
    bench = Bench(tmp_path, chain_of(["a"]))
    bench.sink.failures["mail"] = 3
    bench.run()
    assert bench.position().failing == {"mail": 3}
    assert bench.position().error is None
    bench.sink.failures.clear()
    bench.run(seconds=1.0)
    assert bench.position().failing == {}


def test_a_worker_shows_the_call_of_its_sink_that_it_is_in(tmp_path: Path) -> None:
    seen = []

    class Looking(ListSink):
        def apply(self, blocks: Sequence[Decoded]) -> None:
            seen.append(read_lives(tmp_path)["list"])
            super().apply(blocks)

    bench = Bench(tmp_path, chain_of(["a"]), Looking(tmp_path))
    bench.run()
    bench.run(seconds=7.0)
    (during,) = seen
    assert (during.call, during.in_call_since) == ("apply", bench.clock.now - 7)
    after = read_lives(tmp_path)["list"]
    assert (after.call, after.at) == ("", bench.clock.now)
