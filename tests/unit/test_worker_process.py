"""The process of a worker: how it starts, reports and stops, and what it stores if it is killed."""

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
from builders import DAY, Clock
from plugins import install

from fastlog.block import Kind, make_run
from fastlog.config import Config, RetentionConfig, SinkConfig, to_json
from fastlog.journal import Journal, read_positions


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
        ("sqlit:", "sink mine: no kind of sink is called 'sqlit'; did you mean 'sqlite'?"),
        ("logging:///no/such/file.toml", "cannot read /no/such/file.toml"),
        ("logging://{tmp_path}/wrong.toml", "wrong.toml: Unable to configure handler 'x'"),
        ("raising:", "cannot be made: KeyError: 'token'"),
        ("broken:", "broken_sink:Sink cannot be loaded: SyntaxError: "),
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
