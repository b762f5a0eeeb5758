"""A sink whose calls cost much gets few of them while little comes, and at once what is much."""

from __future__ import annotations

from pathlib import Path

from worker_bench import Bench, ListSink, chain_of

from fastlog.worker.linger import ENOUGH


def bench_of(tmp_path: Path, *contents: list[str]) -> Bench:
    sink = ListSink(tmp_path)
    sink.linger = 0.5
    bench = Bench(tmp_path, chain_of(*contents), sink)
    bench.journal.durable_offset = bench.journal.blocks[0].end
    return bench


def test_blocks_wait_for_others_after_a_call(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, ["a"], ["b"], ["c"], ["d"])
    bench.run()
    assert bench.sink.stored == ["a"], "the first does not wait"
    for block in bench.journal.blocks[1:]:
        bench.journal.durable_offset = block.end
        bench.run(seconds=0.1)
    assert bench.sink.stored == ["a"]
    bench.run(seconds=0.3)
    assert bench.sink.stored == ["a", "b", "c", "d"]
    assert bench.sink.calls == [1, 3]


def test_much_does_not_wait(tmp_path: Path) -> None:
    much = "x" * ENOUGH
    bench = bench_of(tmp_path, ["a"], [much])
    bench.run()
    bench.journal.durable_offset = bench.journal.blocks[1].end
    bench.run()
    assert bench.sink.stored == ["a", much]


def test_nothing_waits_at_the_end(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, ["a"], ["b"])
    bench.run()
    bench.journal.durable_offset = bench.journal.blocks[1].end
    bench.worker.finish(lambda seconds: None)
    assert bench.sink.stored == ["a", "b"]
