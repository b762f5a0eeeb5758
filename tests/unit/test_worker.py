"""The worker: journal to sink, what it does when the sink fails, and the process around it."""

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
from fastlog.config import Config, Retention, SinkConfig, to_json
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
    """Keeps messages in memory, and fails as it is told to."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(make_context(data_dir, "list:"))
        self.at = self.durable = 0
        self.stored: list[str] = []
        self.poison: set[str] = set()
        self.naming = True
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
            if self.poison & set(messages):
                raise ValueError("this sink has taste")
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
        if not self.naming:
            return {}
        return {r.idx: "bad taste" for r in block.records if r.message in self.poison}

    def close(self) -> None:
        pass


class Bench:
    """A worker with a journal, a sink and a clock in the test's hand."""

    def __init__(self, tmp_path: Path, blocks: Sequence[Block], sink: Sink | None = None) -> None:
        self.data_dir = tmp_path
        self.journal = MemoryJournal(blocks)
        self.sink = sink or ListSink(tmp_path)
        self.clock = Clock()
        self.start()

    def start(self) -> None:
        self.worker = Worker(
            self.journal,
            Decoder(),
            self.sink,
            Ledger(self.data_dir / "ledger.db"),
            "list",
            self.data_dir,
            clock=self.clock,
            monotonic=self.clock,
        )

    def turn(self, steps: int = 1, seconds: float = 0.0) -> None:
        for _ in range(steps):
            self.clock.now += seconds
            self.worker.step()

    def position(self) -> SinkPosition:
        return read_positions(self.data_dir)["list"]

    def gauge(self) -> Reading:
        with ProgressPage(self.data_dir, "list", NODE) as gauge:
            reading = gauge.read()
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


def test_it_applies_what_is_durable_and_leaves_its_position(tmp_path: Path) -> None:
    blocks = chain_of(["a", "b"], ["c"], ["not durable yet"])
    bench = Bench(tmp_path, blocks)
    bench.journal.mark = blocks[1].end

    assert bench.worker.step() == 0.0
    assert bench.worker.step() > 0.0
    assert bench.sink.stored == ["a", "b", "c"]
    left = bench.position()
    assert (left.node, left.cursor, left.durable, left.index, left.error) == (
        *(NODE, blocks[1].end, blocks[1].end, 3),
        None,
    )

    bench.journal.mark = blocks[2].end
    bench.turn()
    assert bench.sink.stored[3:] == ["not durable yet"]
    assert bench.position().cursor == blocks[1].end, "written about once a second"
    bench.turn(seconds=1.0)
    assert (bench.position().durable, bench.position().index) == (blocks[2].end, 4)
    assert bench.sink.ticks == 2


def test_a_restarted_worker_goes_on_behind_the_sinks_cursor(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b"], ["c"])
    bench = Bench(tmp_path, blocks)
    bench.journal.mark = blocks[0].end
    bench.turn()
    bench.journal.mark = blocks[2].end
    bench.start()
    bench.turn(2, 1.0)

    assert bench.sink.stored == ["a", "b", "c"]
    assert bench.position().index == 3


def test_rejections_and_the_receivers_notes_are_in_the_ledger_before_the_sink_commits(
    tmp_path: Path,
) -> None:
    notes = [
        Rejection("10.0.0.1:5", "http", 5, b"GET /", 1, MONDAY),
        Loss("10.0.0.1:5", "full", 7, MONDAY, MONDAY + 1),
    ]
    payload = make_run(Kind.STOCK, [b"garbage", b'{"msg":"ok"}'], peer="10.0.0.2:9")
    bench = Bench(tmp_path, [block_of(payload + make_notices(notes), 4)])
    bench.sink.errors = [SinkUnavailableError("down")]
    bench.sink.opened = -1  # the error is for `apply`
    sink = bench.sink
    sink.open = lambda node: sink.at  # type: ignore[method-assign]
    bench.turn()

    rejected = "SELECT idx, sink, peer, length, count, raw FROM rejected ORDER BY idx"
    expected = [
        (0, "", "10.0.0.2:9", 7, 1, b"garbage"),
        (2, "", "10.0.0.1:5", 5, 1, b"GET /"),
    ]
    assert sink.stored == []
    assert bench.ledger(rejected) == expected
    bench.turn(3, 1.0)
    assert sink.stored == ["ok"]
    assert bench.ledger(rejected) == expected
    assert bench.ledger("SELECT idx, reason, count FROM losses") == [(3, "full", 7)]


def test_an_unavailable_sink_is_tried_again_with_growing_pauses_and_said_once(
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
        assert bench.worker.step() == pytest.approx(waits[-1]), "not before its time"
        assert bench.position().error == "disk full"
        assert bench.gauge().speed == 0
        bench.clock.now += waits[-1] + 0.001

    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])
    bench.turn()
    assert bench.sink.stored == ["a"]
    assert bench.position().error is None
    assert bench.gauge().speed > 0
    said = [record.getMessage() for record in caplog.records]
    assert said == ["sink list: disk full; trying again", "sink list goes on"]


def test_after_a_conflict_it_asks_the_sink_where_it_stands(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b"], ["c"])
    bench = Bench(tmp_path, blocks)
    bench.journal.mark = blocks[0].end
    bench.turn()
    bench.sink.errors = [SinkConflictError("moved")]
    bench.sink.at = blocks[1].end  # another worker did it
    bench.journal.mark = blocks[2].end
    bench.turn(3, 1.0)

    assert bench.sink.stored == ["a", "c"]
    assert bench.sink.opened == 2


def test_a_row_that_is_rejected_three_times_goes_to_the_ledger_and_the_rest_is_stored(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, chain_of(["a", "b"], ["c", "poison", "d"], ["e"]))
    bench.sink.poison = {"poison"}
    bench.turn(8, 1.0)

    assert bench.sink.stored == ["a", "b", "c", "d", "e"]
    assert bench.sink.calls == [3, 1, 1, 1, 1, 1][: len(bench.sink.calls)]
    (row,) = bench.ledger("SELECT idx, sink, peer, reason, raw FROM rejected")
    assert row[:4] == (1, "list", "127.0.0.1:5", "bad taste")
    assert b"poison" in row[4]
    assert bench.position().error is None


def test_a_block_that_is_rejected_for_no_row_is_never_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path, chain_of(["a"], ["poison"], ["b"]))
    bench.sink.poison, bench.sink.naming = {"poison"}, False
    bench.turn(30, 6.0)

    assert bench.sink.stored == ["a"]
    assert "names no row" in str(bench.position().error)
    assert "this sink has taste" in str(bench.position().error)
    bench.sink.poison = set()
    bench.turn(5, 6.0)
    assert bench.sink.stored == ["a", "poison", "b"]


def test_a_sink_of_lines_is_not_asked_which_row_it_refuses(tmp_path: Path) -> None:
    bench = Bench(tmp_path, chain_of(["a"], ["poison"]))
    bench.sink.poison, bench.sink.form = {"poison"}, "lines"
    bench.turn(30, 6.0)

    assert bench.sink.stored == ["a"]
    assert "names no row" in str(bench.position().error)


def test_a_sink_that_was_left_behind_by_the_journal_gets_a_loss_row_once(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b", "c"], ["d"], ["e", "f"], ["g"])
    bench = Bench(tmp_path, blocks)
    bench.journal.mark = blocks[0].end
    bench.turn()
    bench.sink.errors = [SinkUnavailableError("down")] * 3
    bench.journal.mark = blocks[4].end
    bench.journal.oldest = blocks[2].offset
    bench.turn(2, 1.0)
    bench.start()  # killed, and meanwhile the journal released more
    bench.journal.oldest = blocks[3].offset
    bench.turn(12, 6.0)

    assert bench.sink.stored == ["a", "e", "f", "g"]
    rows = bench.ledger("SELECT sink, offset, count, reason, first, detail FROM losses")
    assert [row[:3] for row in rows] == [("list", blocks[0].end, 3)]
    span = f"sink list, journal offsets {blocks[0].end} to {blocks[3].offset}"
    assert rows[0][5] == f"{span}; counted in frames, with those that are no records"
    assert bench.position().index == 7


def test_a_killed_worker_counts_on_from_the_position_that_it_left(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b", "c"], ["d"], ["e"], ["f"])
    bench = Bench(tmp_path, blocks)
    bench.journal.mark = blocks[0].end
    bench.turn()
    bench.sink.at = bench.journal.mark = blocks[2].end  # stored, and killed before it said so
    bench.start()
    bench.turn(2, 1.0)
    assert (bench.position().cursor, bench.position().index) == (blocks[2].end, 4)

    bench.journal.oldest, bench.journal.mark = blocks[4].offset, blocks[4].end
    bench.turn(3, 1.0)
    assert bench.ledger("SELECT count FROM losses") == [(1,)]


def test_an_ordinal_that_nobody_knows_is_not_given_out_as_zero(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b", "c"], ["d"])
    bench = Bench(tmp_path, blocks)
    bench.sink.at = bench.journal.mark = blocks[1].end
    bench.turn(2, 1.0)
    assert (bench.position().cursor, bench.position().index) == (blocks[1].end, None)
    bench.journal.mark = blocks[2].end
    bench.turn(2, 1.0)
    assert bench.position().index == 4


def test_the_ordinal_at_the_cursor_is_that_of_the_block_there(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b", "c"], ["d"])
    bench = Bench(tmp_path, blocks)
    bench.sink.at = blocks[1].end
    bench.sink.errors = [SinkUnavailableError("down")] * 2
    bench.sink.open = lambda node: bench.sink.at  # type: ignore[method-assign]
    bench.turn()
    bench.journal.oldest = bench.journal.mark = blocks[2].end
    bench.worker.finish(lambda _: None)
    assert bench.position().index == 3


def test_what_was_skipped_is_a_loss_of_unknown_size_where_the_position_is_lost(
    tmp_path: Path,
) -> None:
    blocks = chain_of(["a"], ["b", "c"], ["d"])
    bench = Bench(tmp_path, blocks)
    bench.sink.at, bench.journal.oldest = blocks[0].end, blocks[2].offset
    bench.turn(3, 1.0)
    assert bench.sink.stored == ["d"]
    assert bench.ledger("SELECT sink, offset, count FROM losses") == [("list", blocks[0].end, -1)]


def test_chores_are_done_also_while_the_sink_takes_nothing(
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
    bench.turn(20, 1.0)
    assert sink.ticks == 20
    sink.errors = []
    bench.turn(20, 1.0)
    assert sink.stored == ["a"], "nor do housekeeping that fail hold the records up"
    said = [
        record.getMessage() for record in caplog.records if "housekeeping" in record.getMessage()
    ]
    assert said == ["sink list: housekeeping: OSError: cannot delete; trying again"]


def test_rejected_frames_are_logged_once_a_second_by_the_worker_that_enters_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rejected = Rejection("10.0.0.9:5", "http", 5, b"GET /", 1, MONDAY)
    frames = [b"garbage"] * 12 + [b'{"a\nb"']
    payload = make_run(Kind.STOCK, frames, peer="10.0.0.5:9") + make_notices([rejected])
    bench = Bench(tmp_path, [block_of(payload, 14)])
    other = Bench(tmp_path, bench.journal.blocks)
    for each in (bench, other, bench, other):
        each.turn(2, 1.0)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "rejected frames of 10.0.0.5: malformed pickle: truncated (12)",
        "rejected frames of 10.0.0.5: malformed JSON: Invalid control character at (1)",
    ]


def test_a_block_full_of_rows_that_a_sink_refuses_makes_a_hundred_rows_and_a_sum(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, chain_of([f"poison {n}" for n in range(150)] + ["good"]))
    bench.sink.poison = {f"poison {n}" for n in range(150)}
    bench.turn(8, 1.0)
    assert bench.sink.stored == ["good"]
    assert bench.ledger("SELECT count(*), sum(count), max(count) FROM rejected") == [(101, 150, 50)]


def test_a_new_sink_begins_at_the_oldest_block_and_has_lost_nothing(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b"], ["c"])
    bench = Bench(tmp_path, blocks)
    bench.journal.oldest = blocks[1].offset
    bench.turn(3, 1.0)

    assert bench.sink.stored == ["b", "c"]
    assert not (tmp_path / "ledger.db").exists()


def test_a_sink_ahead_of_the_journal_is_fatal_after_a_while(tmp_path: Path) -> None:
    bench = Bench(tmp_path, chain_of(["a"]))
    bench.sink.at = 10_000
    bench.turn(5, 1.0)
    with pytest.raises(CursorAheadError, match=f"10000 of journal {NODE}"):
        bench.turn(10, 1.0)


def test_a_mark_that_lags_at_the_start_is_waited_for(tmp_path: Path) -> None:
    blocks = chain_of(["a"], ["b"])
    bench = Bench(tmp_path, blocks)
    bench.sink.at, bench.journal.mark = blocks[0].end, 0
    bench.turn(5, 1.0)
    bench.journal.mark = blocks[1].end
    bench.turn(3, 1.0)
    assert bench.sink.stored == ["b"]


def test_a_batch_is_bounded_in_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlog.worker.worker.BATCH_FRAMES", 5)
    bench = Bench(tmp_path, chain_of(*[["x", "y"]] * 7))
    bench.turn(4)
    assert bench.sink.calls == [3, 3, 1]
    assert len(bench.sink.stored) == 14


def test_asked_to_stop_it_catches_up_with_the_mark_of_that_moment_and_syncs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastlog.worker.worker.BATCH_FRAMES", 1)
    blocks = chain_of(*[["x"]] * 6)
    bench = Bench(tmp_path, blocks)
    bench.journal.mark = blocks[3].end
    naps: list[float] = []
    bench.worker.run(lambda: len(naps) == 2, naps.append)

    assert len(bench.sink.stored) == 4
    assert bench.sink.durable == bench.position().durable == blocks[3].end


def test_asked_to_stop_it_does_not_wait_for_a_sink_that_is_down(tmp_path: Path) -> None:
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
            bench.journal.mark = block.end
            bench.turn(1, 0.3)
    for bench in benches:
        bench.turn(30, 6.0)

    stored: list[str] = []
    for path in (tmp_path / "logs").glob("*.db"):
        with closing(sqlite3.connect(path)) as connection:
            stored += [row[0] for row in connection.execute("SELECT message FROM records")]
    assert sorted(stored) == sorted(f"{n}.{k}" for n in range(20) for k in range(3))


# The process


class Process:
    """A real worker, with a supervisor's two ends in the test's hand."""

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
        self.control, theirs = socket.socketpair()
        self.control.settimeout(20)
        config_fd = os.memfd_create("config")
        os.write(config_fd, change(to_json(config)))
        arguments = ["--config-fd", config_fd, "--control-fd", theirs.fileno(), "--sink", name]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastlog.worker", *map(str, arguments)],
            pass_fds=(config_fd, theirs.fileno()),
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
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
    """The messages of the rotated files and then of the file itself."""
    paths = [*sorted(path.parent.glob(f"{path.name}.*")), *path.parent.glob(path.name)]
    lines = [line for path in paths for line in path.read_bytes().splitlines(keepends=True)]
    return [json.loads(line)["message"] for line in lines if line.endswith(b"\n")]


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):  # a file was renamed between two looks
            if condition():
                return
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


def test_the_process_says_ready_stores_and_stops_when_asked(
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


def test_the_process_ends_when_the_supervisor_is_gone(tmp_path: Path, journal: Journal) -> None:
    worker = Process(tmp_path, "sqlite:", "sqlite")
    worker.message()
    worker.control.close()
    assert worker.end() == 1


def test_killed_again_and_again_the_process_stores_every_record_once(
    tmp_path: Path, journal: Journal
) -> None:
    lines = tmp_path / "out.ndjson"
    expected: list[str] = []
    for life in range(4):
        worker = Process(tmp_path, f"ndjson://{lines}?rotate_size=300000", "ndjson")
        worker.message()
        for n in range(30):
            messages = [f"{life}.{n}.{k}" for k in range(50)]
            expected += messages
            put(journal, messages)
        enough = 1500 * life + 500
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
def test_what_the_process_cannot_do_is_told_to_the_supervisor(
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
        (told,) = [json.loads(line) for line in messages]
    assert worker.end() == 1
    assert (told["type"], told["config"]) == ("fatal", True)
    assert text in told["text"]
    assert worker.log == ""  # the supervisor says it


def test_a_configuration_of_another_version_is_told_in_one_line(tmp_path: Path) -> None:
    worker = Process(tmp_path, "sqlite:", "sqlite", change=lambda text: b'{"limits": 7}')
    with worker.control.makefile() as messages:
        (told,) = [json.loads(line) for line in messages]
    assert worker.end() == 1
    assert told["type"] == "fatal"
    assert "another version of fastlog wrote the configuration: " in told["text"]
    assert worker.log == ""


def test_a_sink_that_cannot_be_reached_yet_does_not_keep_the_process_from_being_ready(
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


def test_killed_at_midnight_at_a_full_file_and_at_retention_every_record_is_stored_once(
    tmp_path: Path,
) -> None:
    """Blocks of eight days, in files of 60 kB, of which a megabyte is kept."""
    now = Clock(time.time() - 8 * DAY)
    journal = Journal(tmp_path / "journal", delay=0.01, clock=now)
    config = Config(
        data_dir=tmp_path,
        sinks=[SinkConfig("sqlite:?file_size=60000", "sqlite", "hold")],
        retention=Retention(size=1_000_000),
    )
    sent: list[str] = []
    lives = 0

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
            lives += 1
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
    """How many records the sink has taken, also those that retention has deleted again."""
    last = 0
    for path in day_files(data_dir):
        with closing(sqlite3.connect(path, timeout=10)) as day, suppress(sqlite3.OperationalError):
            for (message,) in day.execute(
                "SELECT message FROM records ORDER BY offset DESC, idx DESC LIMIT 1"
            ):
                number, k, part, n = map(int, message.split("."))
                last = max(last, ((number * 12 + k) * 4 + part) * 25 + n + 1)
    return last
