"""The worker: from journal to sink, failures of the sink, and the worker's process."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import (
    DAY,
    MONDAY,
    NODE,
    Clock,
    MemoryJournal,
    make_block,
    make_context,
)
from plugins import install

from fastlog.block import HEADER, Block, Kind, make_notices, make_run
from fastlog.config import Config, RetentionConfig, SinkConfig, to_json
from fastlog.decode import Decoded, Decoder
from fastlog.errors import SinkConflictError, SinkUnavailableError
from fastlog.journal import (
    Journal,
    ProgressPage,
    Reading,
    SinkPosition,
    read_positions,
    write_position,
)
from fastlog.ledger import Ledger
from fastlog.record import Loss, Rejection
from fastlog.sinks import Sink
from fastlog.sinks.sqlite import SqliteSink
from fastlog.worker import CursorAheadError, Worker


class ListSink(Sink):
    """Keeps messages in memory, and fails with the errors that a test sets."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(make_context(data_dir, "list:"))
        self.at = self.durable = 0
        self.stored: list[str] = []
        self.unstorable: set[str] = set()
        self.names_rows = True
        self.errors: list[Exception] = []
        self.calls: list[int] = []
        self.opened = self.ticks = 0

    def open(self, node: str) -> int:
        self.opened += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.at

    def apply(self, blocks: Sequence[Decoded]) -> None:
        self.calls.append(len(blocks))
        if self.errors:
            raise self.errors.pop(0)
        for decoded in blocks:
            messages = [record.message for record in decoded.records]
            if self.unstorable & set(messages):
                raise ValueError("this sink rejects it")
            self.stored += messages
            self.at = decoded.block.end

    def cursor(self) -> int:
        return self.at

    def sync(self) -> int:
        self.durable = self.at
        return self.at

    def tick(self) -> None:
        self.ticks += 1

    def offending(self, block: Decoded) -> dict[int, str]:
        if not self.names_rows:
            return {}
        return {r.idx: "unwanted" for r in block.records if r.message in self.unstorable}

    def close(self) -> None:
        pass


class Bench:
    """A worker with a journal, a sink and a clock that the test controls."""

    def __init__(self, tmp_path: Path, blocks: Sequence[Block], sink: Sink | None = None) -> None:
        self.data_dir = tmp_path
        self.journal = MemoryJournal(blocks)
        self.sink = sink or ListSink(tmp_path)
        self.clock = Clock()
        self.start()

    def start(self) -> None:
        self.worker = Worker(
            self.journal,
            Decoder(form=self.sink.form),
            self.sink,
            Ledger(self.data_dir / "ledger.db"),
            "list",
            self.data_dir,
            clock=self.clock,
            monotonic=self.clock,
        )

    def run(self, steps: int = 1, seconds: float = 0.0) -> None:
        for _ in range(steps):
            self.clock.now += seconds
            self.worker.step()

    def position(self) -> SinkPosition:
        return read_positions(self.data_dir)["list"]

    def progress(self) -> Reading:
        with ProgressPage(self.data_dir, "list", NODE) as page:
            reading = page.read()
        assert reading is not None
        return reading

    def ledger(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.data_dir / "ledger.db")) as connection:
            return connection.execute(sql).fetchall()


def chain_of(*contents: Sequence[str]) -> list[Block]:
    blocks: list[Block] = []
    offset = index = 0
    for messages in contents:
        blocks.append(make_block(messages, offset=offset, index=index))
        offset, index = blocks[-1].end, index + len(messages)
    return blocks


def block_of(payload: bytes, frames: int, *, offset: int = 0, index: int = 0) -> Block:
    end = offset + HEADER.size + len(payload)
    return Block(offset, end, index, frames, int(MONDAY * 1e6), memoryview(payload))


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
    logged = [record.getMessage() for record in caplog.records]
    assert logged == ["sink list: disk full; trying again", "sink list works again"]


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


def test_a_stopping_worker_does_not_wait_for_a_failing_sink(tmp_path: Path) -> None:
    bench = Bench(tmp_path, chain_of(["a"]))
    bench.sink.errors = [SinkUnavailableError("down")] * 100
    bench.worker.run(lambda: True, lambda _: None)
    assert len(bench.sink.errors) == 99


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


# ---- the process ----


class Process:
    """A real worker process, with the test as its supervisor."""

    def __init__(
        self,
        data_dir: Path,
        url: str,
        name: str,
        *,
        config: Config | None = None,
        change: Callable[[bytes], bytes] = bytes,
    ) -> None:
        config = config or Config(data_dir=data_dir, sinks=[SinkConfig(url, name, "hold")])
        self.control, workers_end = socket.socketpair()
        self.control.settimeout(20)
        config_fd = os.memfd_create("config")
        os.write(config_fd, change(to_json(config)))
        arguments = ["--config-fd", config_fd, "--control-fd", workers_end.fileno(), "--sink", name]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastlog.worker", *map(str, arguments)],
            pass_fds=(config_fd, workers_end.fileno()),
            stderr=subprocess.PIPE,
            text=True,
        )
        workers_end.close()
        os.close(config_fd)

    def message(self) -> Any:
        return json.loads(self.control.makefile().readline())

    def end(self) -> int:
        code = self.process.wait(20)
        assert self.process.stderr is not None
        self.log = self.process.stderr.read()
        self.process.stderr.close()
        self.control.close()
        return code


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal", delay=0.01)
    yield journal
    journal.close()


def put(journal: Journal, messages: Sequence[str]) -> None:
    frames = [msgspec.json.encode({"msg": message}) for message in messages]
    journal.append(make_run(Kind.STOCK, frames, peer="127.0.0.1:5"), len(frames))


def stored_in(path: Path) -> list[str]:
    """Return the messages of the rotated files and then of the file itself."""
    paths = [*sorted(path.parent.glob(f"{path.name}.*")), *path.parent.glob(path.name)]
    lines = [line for path in paths for line in path.read_bytes().splitlines(keepends=True)]
    return [json.loads(line)["message"] for line in lines if line.endswith(b"\n")]


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):  # a file was renamed between two calls
            if condition():
                return
        time.sleep(0.01)
    raise AssertionError("the condition did not become true in time")


def test_the_process_reports_ready_stores_and_stops_on_sigterm(
    tmp_path: Path, journal: Journal
) -> None:
    lines = tmp_path / "out.ndjson"
    worker = Process(tmp_path, f"ndjson://{lines}", "ndjson")
    assert worker.message() == {"type": "ready"}
    put(journal, ["a", "b"])
    eventually(lambda: stored_in(lines) == ["a", "b"])
    for ignored in (signal.SIGHUP, signal.SIGINT):
        worker.process.send_signal(ignored)
    put(journal, ["c"])
    eventually(lambda: journal.durable == journal.end)
    worker.process.send_signal(signal.SIGTERM)

    assert worker.end() == 0
    assert stored_in(lines) == ["a", "b", "c"]
    assert read_positions(tmp_path)["ndjson"].durable == journal.durable


def test_the_process_ends_when_the_supervisor_has_ended(tmp_path: Path, journal: Journal) -> None:
    worker = Process(tmp_path, "sqlite:", "sqlite")
    worker.message()
    worker.control.close()
    assert worker.end() == 1


def test_a_process_that_is_killed_repeatedly_stores_every_record_once(
    tmp_path: Path, journal: Journal
) -> None:
    lines = tmp_path / "out.ndjson"
    expected: list[str] = []
    for run in range(4):
        worker = Process(tmp_path, f"ndjson://{lines}?rotate_size=300000", "ndjson")
        worker.message()
        for n in range(30):
            messages = [f"{run}.{n}.{k}" for k in range(50)]
            expected += messages
            put(journal, messages)
        enough = 1500 * run + 500
        eventually(lambda n=enough: len(stored_in(lines)) >= n)
        worker.process.kill()
        assert worker.end() == -signal.SIGKILL
    worker = Process(tmp_path, f"ndjson://{lines}?rotate_size=300000", "ndjson")
    worker.message()
    eventually(lambda: journal.durable == journal.end)
    worker.process.terminate()
    assert worker.end() == 0
    assert stored_in(lines) == expected


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("sqlit:", "no sink is called 'sqlit'; did you mean 'sqlite'?"),
        ("logging:///no/such/file.toml", "cannot read /no/such/file.toml"),
        ("logging://{tmp_path}/wrong.toml", "wrong.toml: Unable to configure handler 'x'"),
        ("raising:", "sink 'raising' (raising_sink:Sink) cannot be made: KeyError: 'token'"),
        ("broken:", "sink 'broken' (broken_sink:Sink) cannot be loaded: SyntaxError: "),
    ],
)
@pytest.mark.usefixtures("journal")
def test_a_fatal_error_of_the_process_is_reported_to_the_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, text: str
) -> None:
    (tmp_path / "wrong.toml").write_text('[handlers.x]\nclass = "no.such.Handler"')
    install(
        tmp_path / "site",
        {
            "raising": "import fastlog.sinks\nclass Sink(fastlog.sinks.Sink):\n"
            "    open = apply = cursor = sync = close = None\n"
            "    def __init__(self, context):"
            " {}['token']",
            "broken": "class",
        },
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    worker = Process(tmp_path, url.format(tmp_path=tmp_path), "mine")
    with worker.control.makefile() as messages:
        (message,) = [json.loads(line) for line in messages]
    assert worker.end() == 1
    assert (message["type"], message["config"]) == ("fatal", True)
    assert text in message["text"]
    assert worker.log == ""  # the supervisor logs it


def test_a_configuration_of_another_version_is_reported_in_one_line(tmp_path: Path) -> None:
    worker = Process(tmp_path, "sqlite:", "sqlite", change=lambda text: b'{"limits": 7}')
    with worker.control.makefile() as messages:
        (message,) = [json.loads(line) for line in messages]
    assert worker.end() == 1
    assert message["type"] == "fatal"
    assert "another version of fastlog wrote the configuration: " in message["text"]
    assert worker.log == ""


def test_the_process_is_ready_although_its_sink_is_not_reachable_yet(
    tmp_path: Path, journal: Journal
) -> None:
    lines = tmp_path / "later" / "out.ndjson"
    lines.parent.write_text("a file in the way")
    put(journal, ["a"])
    worker = Process(tmp_path, f"ndjson://{lines}", "ndjson")
    assert worker.message() == {"type": "ready"}
    lines.parent.unlink()
    eventually(lambda: stored_in(lines) == ["a"])
    worker.process.terminate()
    assert worker.end() == 0
    assert "INFO worker[ndjson]: started at offset 0" in worker.log
    assert f"INFO worker[ndjson]: stopped at offset {journal.durable}" in worker.log


def test_kills_at_midnight_at_a_full_file_and_at_retention_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    """Blocks of eight days, in files of 60 kB, with a retention of one megabyte."""
    now = Clock(time.time() - 8 * DAY)
    journal = Journal(tmp_path / "journal", delay=0.01, clock=now)
    config = Config(
        data_dir=tmp_path,
        sinks=[SinkConfig("sqlite:?file_size=60000", "sqlite", "hold")],
        retention=RetentionConfig(size=1_000_000),
    )
    sent: list[str] = []

    def day(number: int) -> None:
        for k in range(12):
            if k == 6:
                now.now += DAY
            for part in range(4):
                messages = [f"{number}.{k}.{part}.{n}" for n in range(25)]
                sent.extend(messages)
                put(journal, messages)

    try:
        for number in range(8):
            worker = Process(tmp_path, "", "sqlite", config=config)
            worker.message()
            day(number)
            enough = 1200 * number + (300, 700, 1100)[number % 3]
            eventually(lambda n=enough: rows_ever(tmp_path) >= n)
            worker.process.kill()
            assert worker.end() == -signal.SIGKILL
        worker = Process(tmp_path, "", "sqlite", config=config)
        worker.message()
        eventually(lambda: journal.durable == journal.end)
        eventually(lambda: read_positions(tmp_path)["sqlite"].durable == journal.end)
        worker.process.terminate()
        assert worker.end() == 0
    finally:
        journal.close()

    stored = [message for path in day_files(tmp_path) for message in messages_in(path)]
    assert sorted(stored) == sorted(sent[-len(stored) :])
    assert 0 < len(stored) < len(sent), "retention deleted something"
    assert any(".1.db" in path.name for path in day_files(tmp_path)), "a file was full"


def day_files(data_dir: Path) -> list[Path]:
    return list((data_dir / "logs").glob("*.db"))


def messages_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(path, timeout=10)) as day:
        return [row[0] for row in day.execute("SELECT message FROM records")]


def rows_ever(data_dir: Path) -> int:
    """Return how many records the sink has stored, with those that retention has deleted."""
    last = 0
    for path in day_files(data_dir):
        with closing(sqlite3.connect(path, timeout=10)) as day, suppress(sqlite3.OperationalError):
            for (message,) in day.execute(
                "SELECT message FROM records ORDER BY offset DESC, idx DESC LIMIT 1"
            ):
                number, k, part, n = map(int, message.split("."))
                last = max(last, ((number * 12 + k) * 4 + part) * 25 + n + 1)
    return last
