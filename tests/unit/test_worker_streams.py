"""A sink that streams gets blocks which are decoded while it reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from builders import MONDAY
from worker_bench import Bench, ListSink, chain_of

from fastlog.block import HEADER, Block, Kind, make_run
from fastlog.decode import Batch, Decoded, Decoder
from fastlog.errors import SinkUnavailableError
from fastlog.worker.life import read_life


class StreamingSink(ListSink):
    """Keeps what a database would know before the commit, and stores all blocks or none."""

    streams = True

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.bench: Bench | None = None
        self.seen: list[tuple[str, int]] = []
        """At each block that it reads: the call that its worker publishes, and the rejections in
        the ledger."""
        self.fails_at = -1

    def apply(self, blocks: Sequence[Decoded]) -> None:
        assert self.bench is not None
        messages: list[str] = []
        for at, decoded in enumerate(blocks):
            life = read_life(self.bench.data_dir, "list")
            assert life is not None
            self.seen.append((life.call, rejections(self.bench)))
            if at == self.fails_at:
                raise SinkUnavailableError("the connection is lost")
            messages += [record.message for record in decoded.records]
            if self.unstorable & set(messages):
                raise ValueError("this sink rejects it")
        self.stored += messages
        self.at = blocks[-1].block.end


def rejections(bench: Bench) -> int:
    """Return how many rejections the ledger has."""
    if not (bench.data_dir / "ledger.db").exists():
        return 0
    return len(bench.ledger("SELECT 1 FROM rejected"))


def mixed(count: int) -> list[Block]:
    """Return blocks that have a frame to reject and a record each."""
    blocks: list[Block] = []
    offset = 0
    for number in range(count):
        payload = make_run(Kind.STOCK, [b"garbage", b'{"msg":"%d"}' % number], peer="10.0.0.2:9")
        end = offset + HEADER.size + len(payload)
        received = int(MONDAY * 1e6)
        blocks.append(Block(offset, end, 2 * number, 2, received, memoryview(payload)))
        offset = end
    return blocks


def started(tmp_path: Path, blocks: Sequence[Block]) -> tuple[Bench, StreamingSink, list[int]]:
    """Return a worker with a sink that streams, and the offsets of the blocks it decodes."""
    sink = StreamingSink(tmp_path)
    bench = Bench(tmp_path, blocks, sink)
    sink.bench = bench
    decoded: list[int] = []
    decoder = bench.worker._decoder
    assert isinstance(decoder, Decoder)

    class Counted:
        def decode(self, block: Block) -> Decoded:
            life = read_life(tmp_path, "list")
            assert life is None or life.call == "", "a decoder that hangs is not a sink that waits"
            decoded.append(block.offset)
            return decoder.decode(block)

    bench.worker._decoder = Counted()
    bench.worker.open()
    return bench, sink, decoded


def test_blocks_are_decoded_while_the_sink_reads_them_and_the_ledger_comes_before_the_last(
    tmp_path: Path,
) -> None:
    blocks = mixed(3)
    bench, sink, decoded = started(tmp_path, blocks)
    bench.run()

    assert sink.seen == [("apply", 0), ("apply", 0), ("apply", 3)]
    assert decoded == [block.offset for block in blocks]
    assert sink.stored == ["0", "1", "2"]
    assert bench.worker.progress.cursor == blocks[-1].end


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_batch_whose_store_fails_is_decoded_once_and_stored_once(tmp_path: Path, at: int) -> None:
    blocks = mixed(3)
    bench, sink, decoded = started(tmp_path, blocks)
    sink.fails_at = at
    bench.run()
    assert sink.stored == []
    sink.fails_at = -1
    bench.run(5, 1.0)

    assert sink.stored == ["0", "1", "2"]
    assert decoded == [block.offset for block in blocks]
    assert rejections(bench) == 3


def test_nothing_is_stored_while_the_ledger_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench, sink, _ = started(tmp_path, mixed(2))

    def fail(*_: object) -> int:
        raise SinkUnavailableError("ledger: the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(bench.worker._ledger, "record", fail)
        bench.run(3, 1.0)
        assert sink.stored == []
        assert bench.worker.progress.cursor == 0
    bench.run(4, 1.0)

    assert sink.stored == ["0", "1"]
    assert rejections(bench) == 2
    assert "rejects" not in caplog.text


def test_an_error_of_a_decoder_is_no_rejection_by_the_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench, sink, _ = started(tmp_path, mixed(2))

    class Broken:
        def decode(self, block: Block) -> Decoded:
            raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patched:
        patched.setattr(bench.worker, "_decoder", Broken())
        bench.run(6, 1.0)
        assert bench.worker.status.error == "RuntimeError: a fault of ours"
    bench.run(4, 6.0)

    assert sink.stored == ["0", "1"]
    assert "rejects" not in caplog.text


@pytest.mark.parametrize("unstorable", ["0", "1", "2"])
def test_a_row_that_is_rejected_before_all_is_decoded_goes_to_the_ledger(
    tmp_path: Path, unstorable: str
) -> None:
    bench, sink, _ = started(tmp_path, mixed(3))
    sink.unstorable = {unstorable}
    bench.run(12, 10.0)

    assert sink.stored == [each for each in ("0", "1", "2") if each != unstorable]
    assert bench.ledger("SELECT count(*) FROM rejected WHERE sink = 'list'") == [(1,)]
    assert rejections(bench) == 4


def test_a_sink_that_does_not_stream_gets_decoded_blocks(tmp_path: Path) -> None:
    bench, sink, decoded = started(tmp_path, mixed(3))
    sink.streams = False  # type: ignore[misc]
    bench.run()

    assert sink.seen == [("apply", 3)] * 3
    assert len(decoded) == 3


def test_a_batch_is_a_sequence(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b"], ["c"], ["d"])
    decoder, finished = Decoder(), []
    batch = Batch(blocks, decoder.decode, finished.append)

    assert len(batch) == 4
    assert batch[1].block is blocks[1]
    assert [each.block for each in batch[:2]] == blocks[:2]
    assert not batch.is_complete
    assert not finished
    assert batch[-2].block is blocks[2]
    assert [each.block for each in batch[-3:]] == blocks[1:]
    assert batch.is_complete
    assert [each.block for each in finished[0]] == blocks
    assert len(finished) == 1
    with pytest.raises(IndexError):
        batch[4]
