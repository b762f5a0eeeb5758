"""`fastlog stats` of a real server: sinks, workers, journal, and `--watch`."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Run, command_for
from conditions import wait_for, wait_past_midnight
from faults import SMALL_JOURNAL, stopped
from plugins import BLOCKING, install
from senders import stock_frame
from servers import FASTLOG, Server

from fastlog.status import sink_reports

LOGGING = """
[handlers.broken]
class = "broken_handler.Broken"
[root]
level = "DEBUG"
handlers = ["broken"]
"""
BROKEN = """
import logging

class Broken(logging.Handler):
    def emit(self, record):
        raise RuntimeError("no such device")
"""


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return command_for(tmp_path / "data", capsys)


def stats(command: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command("stats", "--json").out.splitlines()[-1])
    return found


def sink(command: Run, name: str = "sqlite") -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in stats(command)["sinks"] if each["name"] == name)
    return found


def lines(command: Run) -> str:
    """Return what the tables show, with one space between two words."""
    return " ".join(command("stats").out.split())


def test_stats_shows_how_far_a_sink_is_behind_in_records_and_seconds(
    tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_reports, "SILENT", 1.0)
    with Server(tmp_path) as server:
        server.connect(stock_frame("hello")).close()
        server.wait_stored(1)
        wait_for(lambda: stats(command)["receiver"]["frames"] == 1)
        now = wait_for(lambda: (found := sink(command))["lag_records"] == 0 and found)
        assert (now["lag_seconds"], now["lag_bytes"], now["configured"]) == (0, 0, True)
        assert abs(stats(command)["at"] - now["alive_at"]) < 30
        with stopped(server.children()["worker sqlite"]):
            server.connect(stock_frame("a") + stock_frame("b")).close()
            wait_for(lambda: sink(command)["lag_records"] == 2)
            wait_for(lambda: sink(command)["lag_seconds"] > 1.5)
            assert sink(command)["lag_seconds"] < 60
            assert "sink sqlite: the worker has given no sign of life for " in lines(command)
        wait_for(lambda: sink(command)["lag_seconds"] == 0)
        wait_for(lambda: "no sign of life" not in lines(command))


def test_the_lag_in_seconds_is_the_age_of_the_oldest_record_that_waits(
    tmp_path: Path, command: Run
) -> None:
    """The first record is much older than the second; that is no lag of the second."""
    with Server(tmp_path) as server:
        server.connect(stock_frame("first")).close()
        server.wait_stored(1)
        received = server.records()[0]["received"]
        wait_for(lambda: stats(command)["at"] > received + 3)
        with stopped(server.children()["worker sqlite"]):
            before = time.time()
            server.connect(stock_frame("second")).close()
            found = wait_for(lambda: (now := stats(command))["sinks"][0]["lag_records"] and now)
            assert before <= found["at"] - found["sinks"][0]["lag_seconds"] <= time.time()


def test_a_sink_that_left_the_configuration_is_marked(tmp_path: Path, command: Run) -> None:
    with Server(tmp_path, sinks=["sqlite:", f"ndjson://{tmp_path}/x"]) as server:
        wait_for(lambda: len(stats(command)["sinks"]) == 2)
        server.stop()
    with Server(tmp_path):
        wait_for(lambda: sink(command, "ndjson")["configured"] is False)
        assert sink(command)["configured"] is True
        shown = lines(command)
        assert "sink ndjson: left the configuration; the journal keeps nothing for it" in shown
        assert "sink sqlite" not in shown


def test_failing_handlers_of_a_logging_sink_are_shown(tmp_path: Path, command: Run) -> None:
    (tmp_path / "broken_handler.py").write_text(BROKEN)
    (tmp_path / "logging.toml").write_text(LOGGING)
    sinks = ["sqlite:", f"logging://{tmp_path}/logging.toml"]
    with Server(tmp_path, sinks=sinks, env={"PYTHONPATH": str(tmp_path)}) as server:
        server.connect(stock_frame("a") + stock_frame("b")).close()
        failing = wait_for(lambda: sink(command, "logging")["failing"])
        [(handler, count)] = failing.items()
        assert count == 2
        text = f"sink logging: handler {handler} has failed 2 times since it last worked"
        assert " ".join(text.split()) in lines(command)


def test_a_worker_inside_a_call_of_its_sink_is_shown_as_that(tmp_path: Path, command: Run) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    install(tmp_path / "plugins", {"blocking": BLOCKING})
    env = {"PYTHONPATH": str(tmp_path / "plugins")}
    with Server(tmp_path, sinks=["sqlite:", f"blocking://{fifo}"], env=env) as server:
        server.connect(stock_frame("hello")).close()
        blocked = wait_for(lambda: (found := sink(command, "blocking"))["in_call"] and found)
        assert blocked["in_call"] == "apply"
        assert blocked["in_call_since"] is not None
        text = "sink blocking: the worker is inside the sink's own apply, for "
        wait_for(lambda: text in lines(command))
        with fifo.open("w"):
            wait_for(lambda: not sink(command, "blocking")["in_call"])
        assert "sink blocking" not in lines(command)


def test_drops_of_the_last_minutes_and_the_fill_of_the_journal_are_shown(
    tmp_path: Path, command: Run
) -> None:
    with Server(tmp_path, config=SMALL_JOURNAL) as server:
        with stopped(server.children()["worker sqlite"]):
            client = server.connect()
            frames = stock_frame("x" * 10_000) * 10
            wait_for(lambda: client.sendall(frames) or server.status()["recent_dropped"] > 0)
            client.close()
            found = stats(command)
            assert found["receiver"]["recent_dropped"] > 0
            assert 0.7 < found["journal_fill"] <= 1.1
            assert f"{found['journal_fill']:.1%}"[:1] in lines(command)
        wait_for(lambda: stats(command)["losses"])
        [loss] = wait_for(
            lambda: (
                (found := stats(command))["losses"][0]["recent"]
                == found["receiver"]["recent_dropped"]
                and found["losses"]
            )
        )
        assert loss["count"] == loss["recent"]
        shown = lines(command)
        assert f"dropped {loss['count']}, {loss['count']} in the last 5 minutes" in shown
        assert f"{loss['reason']} {loss['count']} {loss['count']} 20" in shown


def test_an_unreadable_day_file_is_never_zero_records(tmp_path: Path, command: Run) -> None:
    wait_past_midnight()
    with Server(tmp_path) as server:
        server.connect(stock_frame("hello")).close()
        server.wait_stored(1)
        assert server.stop() == 0
        [path] = server.logs.glob("*.db")
    path.write_bytes(b"\x99" * 8192)
    result = command("stats")
    assert result.code == 3
    assert "0 records" not in result.out
    assert "unknown, since 1 day file cannot be read" in result.out
    assert "not counted, or not all of it:" in result.out
    found = stats(command)
    assert (found["records"], found["is_complete"], len(found["unread"])) == (None, False, 1)


# ---- --watch -----------------------------------------------------------------------------------


def test_watch_prints_again_and_again_and_ends_with_0(tmp_path: Path) -> None:
    args = [FASTLOG, "stats", "--json", "--watch=0.1", "--data-dir", tmp_path / "data"]
    with Server(tmp_path) as server:
        server.connect(stock_frame("hello")).close()
        server.wait_stored(1)
        with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stderr is not None
            found = [json.loads(process.stdout.readline()) for _ in range(3)]
            assert [each["records"] for each in found] == [1, 1, 1]
            assert found[0]["at"] < found[1]["at"] < found[2]["at"]
            server.connect(stock_frame("more")).close()
            wait_for(lambda: json.loads(process.stdout.readline())["records"] == 2)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert process.stderr.read() == b""


def in_terminal(args: list[object], rows: int, until: Callable[[bytes], bool]) -> tuple[bytes, int]:
    """Run a command in a terminal until its output fulfils a condition, then press Ctrl-C."""
    pid, terminal = pty.fork()
    if not pid:
        os.environ |= {"TERM": "xterm", "LINES": str(rows), "COLUMNS": "80"}
        os.execv(args[0], [str(arg) for arg in args])
    seen = b""
    while not until(seen):
        seen += os.read(terminal, 4096)
    os.write(terminal, b"\x03")
    try:
        while chunk := os.read(terminal, 4096):
            seen += chunk
    except OSError:  # it has ended
        pass
    os.close(terminal)
    return seen, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("rows", [60, 10])
def test_watch_refreshes_a_terminal_and_says_what_has_no_room(tmp_path: Path, rows: int) -> None:
    args: list[object] = [FASTLOG, "stats", "--watch", "0.1", "--data-dir", tmp_path / "data"]
    with Server(tmp_path) as server:
        server.connect(stock_frame("hello")).close()
        server.wait_stored(1)
        seen, code = in_terminal(args, rows, lambda seen: seen.count(b"\x1b[H") >= 3)
    assert code == 0
    screens = seen.split(b"\x1b[H")[1:3]
    for screen in screens:
        assert b"1 record in" in screen
        assert screen.count(b"\n") <= rows - 1
        assert (b"more lines: enlarge the window" in screen) == (rows == 10)
        assert (b"journal" in screen) == (b"hour" in screen) == (rows == 60)
        assert b"sqlite" in screen  # what an operator watches comes before the counts


@pytest.mark.parametrize("value", ["0", "level=ERROR", "nan", "1e9"])
def test_a_wrong_interval_is_one_line_and_exit_code_2(
    tmp_path: Path, command: Run, value: str
) -> None:
    result = command("stats", f"--watch={value}")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "write --watch=5, or put --watch last" in result.err
