"""The worker continues when its sink fails or rejects rows, and enters losses into the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import MONDAY, NODE
from worker_bench import Bench, chain_of

from fastlog.block import HEADER, Block, Kind, make_notices, make_run
from fastlog.errors import SinkConflictError, SinkUnavailableError
from fastlog.journal import SinkPosition, write_position
from fastlog.record import Loss, Rejection
from fastlog.worker.sink_status import SETTLED


def block_of(payload: bytes, frames: int, *, offset: int = 0, index: int = 0) -> Block:
    end = offset + HEADER.size + len(payload)
    return Block(offset, end, index, frames, int(MONDAY * 1e6), memoryview(payload))


def test_rejections_and_loss_notices_are_in_the_ledger_before_the_sink_commits(
    tmp_path: Path,
) -> None:
    notices = [
        Rejection("10.0.0.1:5", "http", 5, b"GET /", 1, MONDAY),
        Loss("10.0.0.1:5", "full", 7, MONDAY, MONDAY + 1),
    ]
    payload = make_run(Kind.STOCK, [b"garbage", b'{"msg":"ok"}'], peer="10.0.0.2:9")
    bench = Bench(tmp_path, [block_of(payload + make_notices(notices), 4)])
    bench.sink.errors = [SinkUnavailableError("down")]
    bench.sink.opened = -1  # the error is for `apply`
    sink = bench.sink
    sink.open = lambda node: sink.at  # type: ignore[method-assign]
    bench.run()

    rejected = "SELECT idx, sink, peer, length, count, raw FROM rejected ORDER BY idx"
    expected = [
        (0, "", "10.0.0.2:9", 7, 1, b"garbage"),
        (2, "", "10.0.0.1:5", 5, 1, b"GET /"),
    ]
    assert sink.stored == []
    assert bench.ledger(rejected) == expected
    bench.run(3, 1.0)
    assert sink.stored == ["ok"]
    assert bench.ledger(rejected) == expected
    assert bench.ledger("SELECT idx, reason, count FROM losses") == [(3, "full", 7)]


def test_the_log_names_the_offset_once_the_sink_is_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    blocks = chain_of(["a"], ["b"])
    bench = Bench(tmp_path, blocks)
    bench.sink.at = blocks[0].end
    bench.sink.errors = [SinkUnavailableError("down")]
    bench.worker.open()
    logged = [record.getMessage() for record in caplog.records]
    assert not any("started at" in line for line in logged)
    bench.run(3, 1.0)
    logged = [record.getMessage() for record in caplog.records]
    assert [line for line in logged if "started" in line] == [f"started at offset {blocks[0].end}"]


def test_an_unavailable_sink_is_tried_again_with_growing_delays_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bench = Bench(tmp_path, chain_of(["a"]))
    write_position(tmp_path, "list", SinkPosition(node=NODE, cursor=0, durable=0, index=0, at=0.0))
    bench.start()
    bench.sink.errors = [SinkUnavailableError("disk full")] * 9
    waits = []
    for _ in range(9):
        waits.append(bench.worker.step())
        assert bench.worker.step() == pytest.approx(waits[-1]), "not before the delay is over"
        assert bench.position().error == "disk full"
        assert bench.progress().speed == 0
        bench.clock.now += waits[-1] + 0.001

    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])
    bench.run()
    assert bench.sink.stored == ["a"]
    assert bench.position().error is None
    assert bench.progress().speed > 0
    bench.run(seconds=SETTLED)
    logged = [record.getMessage() for record in caplog.records]
    assert logged == [
        "sink list: disk full; trying again, its records wait in the journal",
        "started at offset 0",
        "sink list works again, after 21.3 s",
    ]


def test_the_end_of_a_failure_is_logged_even_if_the_worker_ends_before_that_is_sure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next worker, as after a reload, does not know that there was one."""
    caplog.set_level("INFO")
    bench = Bench(tmp_path, chain_of(["a"]))
    bench.start()
    bench.sink.errors = [SinkUnavailableError("disk full")]
    bench.run(2, 1.0)
    assert bench.sink.stored == ["a"]
    bench.worker.finish(lambda _seconds: None)
    logged = [record.getMessage() for record in caplog.records]
    assert [line for line in logged if line.startswith("sink")] == [
        "sink list: disk full; trying again, its records wait in the journal",
        "sink list works again, after 1 s",
    ]


def test_a_failure_that_lasts_has_no_end_in_the_log_of_a_worker_that_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bench = Bench(tmp_path, chain_of(["a"]))
    bench.start()
    bench.sink.errors = [SinkUnavailableError("disk full")] * 9
    bench.run(2, 1.0)
    bench.worker.finish(lambda _seconds: None)
    assert not any("works again" in record.getMessage() for record in caplog.records)


def test_another_reason_of_a_failure_is_logged_after_a_while_and_ever_less_often(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path, chain_of(["a"]))
    bench.start()
    for step in range(300):
        bench.sink.errors = [SinkUnavailableError(f"full, {step // 40} bytes are free")]
        bench.worker.step()
        bench.clock.now += 5.0
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "sink list: full, 0 bytes are free; trying again, its records wait in the journal",
        "sink list still fails, after 3.33 minutes: full, 1 bytes are free",
        "sink list still fails, after 6.67 minutes: full, 2 bytes are free",
        "sink list still fails, after 13.3 minutes: full, 4 bytes are free",
    ]


def test_a_conflict_at_the_end_of_a_failure_is_no_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path, chain_of(["a"]))
    bench.start()
    for error in (SinkUnavailableError("lost"), SinkConflictError("the cursor has moved")):
        bench.sink.errors = [error]
        bench.worker.step()
        bench.clock.now += 60.0
    bench.run()
    assert bench.sink.stored == ["a"]
    assert len(caplog.messages) == 1


def test_after_a_conflict_the_worker_reads_the_sinks_cursor_again(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b"], ["c"])
    bench = Bench(tmp_path, blocks)
    bench.journal.durable_offset = blocks[0].end
    bench.run()
    bench.sink.errors = [SinkConflictError("moved")]
    bench.sink.at = blocks[1].end  # another worker has applied it
    bench.journal.durable_offset = blocks[2].end
    bench.run(3, 1.0)

    assert bench.sink.stored == ["a", "c"]
    assert bench.sink.opened == 2


def test_a_row_that_is_rejected_three_times_goes_to_the_ledger_and_the_rest_is_stored(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, chain_of(["a", "b"], ["c", "unstorable", "d"], ["e"]))
    bench.sink.unstorable = {"unstorable"}
    bench.run(8, 1.0)

    assert bench.sink.stored == ["a", "b", "c", "d", "e"]
    assert bench.sink.calls == [3, 1, 1, 1, 1, 1][: len(bench.sink.calls)]
    (row,) = bench.ledger("SELECT idx, sink, peer, reason, raw FROM rejected")
    assert row[:4] == (1, "list", "127.0.0.1:5", "unwanted")
    assert b"unstorable" in row[4]
    assert bench.position().error is None


def test_a_rejected_block_without_a_rejected_row_is_never_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path, chain_of(["a"], ["unstorable"], ["b"]))
    bench.sink.unstorable, bench.sink.names_rows = {"unstorable"}, False
    bench.run(30, 6.0)

    assert bench.sink.stored == ["a"]
    assert "names no row" in str(bench.position().error)
    assert "this sink rejects it" in str(bench.position().error)
    bench.sink.unstorable = set()
    bench.run(5, 6.0)
    assert bench.sink.stored == ["a", "unstorable", "b"]


def test_a_sink_of_lines_cannot_name_rejected_rows(tmp_path: Path) -> None:
    bench = Bench(tmp_path, chain_of(["a"], ["unstorable"]))
    bench.sink.unstorable, bench.sink.form = {"unstorable"}, "lines"
    bench.run(30, 6.0)

    assert bench.sink.stored == ["a"]
    assert "names no row" in str(bench.position().error)


def test_housekeeping_is_done_while_the_sink_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path, chain_of(["a"]))
    sink = bench.sink
    sink.open = lambda node: sink.at  # type: ignore[method-assign]
    sink.errors = [SinkUnavailableError("disk full")] * 50

    def broken() -> None:
        sink.ticks += 1
        raise OSError("cannot delete")

    sink.tick = broken  # type: ignore[method-assign]
    bench.run(20, 1.0)
    assert sink.ticks == 20
    sink.errors = []
    bench.run(20, 1.0)
    assert sink.stored == ["a"], "failing housekeeping does not stop the records"
    logged = [
        record.getMessage() for record in caplog.records if "housekeeping" in record.getMessage()
    ]
    assert logged == ["sink list: housekeeping: OSError: cannot delete; trying again"]


def test_rejected_frames_are_logged_once_a_second_by_the_worker_that_enters_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rejected = Rejection("10.0.0.9:5", "http", 5, b"GET /", 1, MONDAY)
    frames = [b"garbage"] * 12 + [b'{"a\nb"']
    payload = make_run(Kind.STOCK, frames, peer="10.0.0.5:9") + make_notices([rejected])
    bench = Bench(tmp_path, [block_of(payload, 14)])
    other = Bench(tmp_path, bench.journal.blocks)
    for each in (bench, other, bench, other):
        each.run(2, 1.0)
    logged = [record.getMessage() for record in caplog.records]
    assert logged == [
        "rejected frames of 10.0.0.5: malformed pickle: truncated (12)",
        "rejected frames of 10.0.0.5: malformed JSON: Invalid control character at (1)",
    ]


def test_many_rejected_rows_of_a_block_make_a_hundred_entries_and_a_sum(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, chain_of([f"unstorable {n}" for n in range(150)] + ["good"]))
    bench.sink.unstorable = {f"unstorable {n}" for n in range(150)}
    bench.run(8, 1.0)
    assert bench.sink.stored == ["good"]
    assert bench.ledger("SELECT count(*), sum(count), max(count) FROM rejected") == [(101, 150, 50)]


def test_a_stopping_worker_does_not_wait_for_a_failing_sink(tmp_path: Path) -> None:
    bench = Bench(tmp_path, chain_of(["a"]))
    bench.sink.errors = [SinkUnavailableError("down")] * 100
    bench.worker.run(lambda: True, lambda _: None)
    assert len(bench.sink.errors) == 99
