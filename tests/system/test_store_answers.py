"""An empty answer, a wrong directory, another store and records not stored yet look different."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import Run, command_for
from conditions import wait_for
from faults import stopped
from senders import stock_frame
from servers import FASTLOG, Server

from fastlog.cli import unstored
from fastlog.journal import JournalReader

SEARCHES = ["query", "tail", "stats"]


def send(server: Server, count: int) -> None:
    """Send records, and wait until they are durable in the journal."""
    before = server.status().get("frames", 0)
    server.connect(b"".join(stock_frame(f"m{at}") for at in range(count))).close()
    wait_for(lambda: server.status().get("frames", 0) == before + count)
    wait_for(lambda: server.status()["durable"] == durable(server))


def durable(server: Server) -> int:
    reader = JournalReader(server.data / "journal")
    try:
        return reader.durable()
    finally:
        reader.close()


def run(server: Server, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FASTLOG, *args, "--data-dir", server.data],
        capture_output=True, text=True, check=False, timeout=60, cwd=server.home,
        env={**os.environ, **env},
    )  # fmt: skip


def test_a_server_without_a_store_is_not_an_empty_answer(tmp_path: Path) -> None:
    with Server(tmp_path, sinks=[f"ndjson://{tmp_path}/app.ndjson?rotate_size=1MiB"]) as server:
        send(server, 3)
        reason = (
            f"the server of {server.data} has no sqlite: sink, so there are no records to search; "
            f"its sinks: ndjson://{tmp_path}/app.ndjson"
        )
        for name in SEARCHES:
            done = run(server, name)
            assert (done.returncode, done.stderr) == (2, f"fastlog {name}: {reason}\n")
        assert "ndjson" in run(server, "stats").stdout
        assert "0 records" not in run(server, "stats").stdout


def test_a_server_that_stores_elsewhere_is_named_with_its_store(tmp_path: Path) -> None:
    with Server(tmp_path, sinks=[f"sqlite://{tmp_path}/days"]) as server:
        server.connect(stock_frame("hello")).close()
        wait_for(lambda: server.status().get("frames") == 1)
        for name in SEARCHES:
            done = run(server, name)
            assert done.returncode == 2
            [line] = done.stderr.splitlines()
            assert f"stores in {tmp_path}/days, not in {server.data}/logs" in line
            hint = line.rpartition("set FASTLOG_SINK=")[2]
            wait_for(lambda hint=hint: "hello" in run(server, "query", FASTLOG_SINK=hint).stdout)
            assert run(server, name, FASTLOG_SINK=hint).returncode == 0
        wrong = run(server, "query", FASTLOG_SINK=f"sqlite://{tmp_path}/other")
        assert wrong.returncode == 2


@pytest.mark.parametrize("name", SEARCHES)
def test_records_that_are_not_stored_yet_are_counted_on_stderr(tmp_path: Path, name: str) -> None:
    with Server(tmp_path) as server:
        send(server, 5)
        server.wait_stored(5)
        wait_for(lambda: run(server, name).stderr == "")
        with stopped(server.children()["worker sqlite"]):
            send(server, 57)
            text = f"fastlog {name}: 57 records are in the journal and not stored yet\n"
            assert (found := run(server, name)).stderr == text
            assert found.returncode == 0
            if name != "stats":
                nothing = run(server, name, "logger:none")
                assert (nothing.returncode, nothing.stdout, nothing.stderr) == (1, "", text)
            server.kill()
        text = text.replace("\n", ": fastlog-server is not running\n")
        assert run(server, name).stderr == text
        server.start()
        server.wait_stored(62)
        wait_for(lambda: run(server, name).stderr == "")


def test_a_follower_learns_at_once_what_is_not_stored_yet(tmp_path: Path) -> None:
    with Server(tmp_path) as server, stopped(server.children()["worker sqlite"]):
        send(server, 1)
        with subprocess.Popen(
            [FASTLOG, "tail", "-f", "--data-dir", server.data], stderr=subprocess.PIPE, text=True
        ) as follower:
            assert follower.stderr is not None
            text = "fastlog tail: 1 record is in the journal and not stored yet\n"
            assert follower.stderr.readline() == text
            follower.kill()


def test_the_answer_has_all_that_was_durable_before_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sink does not store before the command waits for it."""
    monkeypatch.setattr(unstored, "PATIENCE", 30.0)  # a loaded machine is not a failure
    with Server(tmp_path) as server:
        worker = server.children()["worker sqlite"]

        def wait(seconds: float) -> None:
            os.kill(worker, signal.SIGCONT)
            time.sleep(seconds)

        clock = SimpleNamespace(monotonic=time.monotonic, sleep=wait)
        monkeypatch.setattr(unstored, "time", clock)
        command = command_for(server.data, capsys)
        client = server.connect()
        for number in range(1, 6):
            before = durable(server)
            with stopped(worker):
                client.sendall(stock_frame(f"m{number}"))
                wait_for(lambda before=before: durable(server) > before)
                found = command("query")
            assert (len(found.out.splitlines()), found.err) == (number, "")


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return command_for(tmp_path / "d", capsys)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize(
    ("made", "text"),
    [
        ([], "the data directory {d} does not exist; name it with --data-dir"),
        (["d/"], "{d} is no data directory, as no server has run in it; name the server's"),
        (
            ["d/logs/x.log"],
            "{d} is no data directory, as no server has run in it; name the server's",
        ),
        (["d/2026-11-23.db"], "it holds day files itself: did you mean --data-dir {parent}?"),
        (["d/fastlog-data/lock"], "did you mean --data-dir {d}/fastlog-data?"),
        (["d"], "{d} is not a directory; name the data directory with --data-dir"),
    ],
    ids=["missing", "empty", "other", "day files", "parent", "file"],
)
def test_a_wrong_directory_is_one_line_that_helps(
    command: Run, tmp_path: Path, name: str, made: list[str], text: str
) -> None:
    for path in made:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (tmp_path / path).mkdir()
        else:
            (tmp_path / path).write_bytes(b"")
    result = command(name)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert text.format(d=tmp_path / "d", parent=tmp_path) in result.err
