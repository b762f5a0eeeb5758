"""The commands: their output, their exit codes, and one line for each error."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pickle
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pytest
from day_files import make_record, write_day

from fastlog.cli import fastlog
from fastlog.cli.command import run
from fastlog.cli.serve import server
from fastlog.config import Config
from fastlog.journal import SinkPosition, write_position
from fastlog.ledger import Entry, Ledger
from fastlog.query import COLUMNS
from fastlog.record import Loss, Rejection
from fastlog.version import __version__

DEADLINE = 20.0


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("FASTLOG_") or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a `fastlog` command line."""

    def run_it(*args: object) -> Result:
        code = run(fastlog, "fastlog", [str(arg) for arg in args])
        return Result(code, *capsys.readouterr())

    return run_it


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Make a data directory with ten records, three of them warnings."""
    logs = tmp_path / "fastlog-data" / "logs"
    records = [
        make_record(
            at,
            levelno=30 if at % 4 == 1 else 20,
            levelname="WARNING" if at % 4 == 1 else "INFO",
            name=f"app.{'db' if at % 2 else 'web'}",
            extra=f'{{"user":{at}}}',
        )
        for at in range(10)
    ]
    write_day(logs / "2026-11-22.db", records[:6])
    write_day(logs / "2026-11-23.db", records[6:])
    return logs.parent


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the condition does not hold in time"
        time.sleep(0.01)


@contextmanager
def running(data: Path) -> Iterator[None]:
    """Hold the lock of the data directory, as a supervisor does."""
    data.mkdir(exist_ok=True)
    with (data / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- query -----------------------------------------------------------------------------------


def test_query_prints_the_records_that_match_oldest_first(command: Run, data: Path):
    found = command("query", "--level", "WARNING", "--logger", "app.db", "extra.user>1")
    lines = found.out.splitlines()
    assert [line.partition(" message ")[2] for line in lines] == ["5 user=5", "9 user=9"]
    assert (found.code, found.err) == (0, "")
    assert "\x1b" not in found.out


def test_query_without_a_match_exits_with_1(command: Run, data: Path):
    assert command("query", "--grep", "nothing like it") == Result(1, "", "")


def test_query_json_is_one_object_a_line_with_the_names_of_the_record(command: Run, data: Path):
    found = command("query", "--json", "--where", "extra.user=3")
    record = json.loads(found.out)
    expected = make_record(
        3, levelno=20, levelname="INFO", name="app.db", extra={"user": 3}
    )._asdict()
    assert record == {**expected, "node": "ab"}
    assert list(record) == list(COLUMNS)
    assert found.out.count("\n") == 1


def test_query_csv_has_a_header_and_one_row_a_record(command: Run, data: Path):
    rows = list(csv.reader(io.StringIO(command("query", "--csv", "levelno=30").out)))
    assert rows[0] == list(COLUMNS)
    assert [row[COLUMNS.index("message")] for row in rows[1:]] == [
        f"message {i}" for i in (1, 5, 9)
    ]


def test_query_prints_the_newest_within_the_limit_and_reports_that_there_are_more(
    command: Run, data: Path
):
    cut = command("query", "--limit", 9, "--json")
    found = [json.loads(line)["message"] for line in cut.out.splitlines()]
    assert found == [f"message {i}" for i in range(1, 10)]
    assert cut.err == "fastlog query: printed the newest 9 records; --limit N prints more\n"
    for limit in (10, 0):
        whole = command("query", "--limit", limit)
        assert (len(whole.out.splitlines()), whole.err, whole.code) == (10, "", 0)


def test_query_prints_a_hundred_records_by_default(command: Run, data: Path):
    write_day(data / "logs" / "2026-11-23.db", [make_record(i) for i in range(10, 111)])
    assert len(command("query").out.splitlines()) == 100


def test_query_reads_where_the_sqlite_sink_stores(command: Run, tmp_path: Path):
    write_day(tmp_path / "elsewhere" / "2026-11-23.db", [make_record(0)])
    (tmp_path / "fastlog.toml").write_text(f'sink = ["sqlite://{tmp_path}/elsewhere"]')
    assert "message 0" in command("query").out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--level", "WARNIN"], "there is no level 'WARNIN'; did you mean 'WARNING'?"),
        (["lvelno=3"], "there is no field 'lvelno'; did you mean 'levelno'?"),
        (["--where", "x"], "expected field=value, got 'x'"),
        (["--regex", "("], "not a regular expression: '('"),
        (["--since", "soon"], "expected a time such as 1h"),
        (["--since", "1h", "--until", "2h"], "--since must be before --until"),
        (["--json", "--csv"], "--json and --csv exclude each other"),
        (["--limit", "-1"], "Invalid value for '--limit'"),
        (["--sinse", "1h"], "No such option '--sinse'"),
        (["--config", "missing.toml"], "missing.toml: cannot be read: No such file or directory"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    command: Run, data: Path, args: list[str], message: str
):
    wrong = command("query", *args)
    assert (wrong.code, wrong.out, wrong.err.count("\n")) == (2, "", 1)
    assert wrong.err.startswith(f"fastlog query: {message}")


@pytest.mark.parametrize("name", ["query", "tail", "stats"])
def test_a_missing_data_directory_is_one_line_and_exit_code_1(command: Run, name: str):
    message = "the data directory none does not exist; name it with --data-dir"
    assert command(name, "--data-dir", "none") == Result(1, "", f"fastlog {name}: {message}\n")


def test_without_a_sqlite_sink_there_is_nothing_to_search(command: Run, tmp_path: Path):
    (tmp_path / "fastlog-data").mkdir()
    (tmp_path / "fastlog.toml").write_text('sink = ["ndjson:///x"]')
    message = "the configuration has no sqlite: sink, so there are no records to search; add one"
    assert command("query") == Result(1, "", f"fastlog query: {message}\n")


def test_query_ends_without_an_error_when_the_reader_closes_the_pipe(data: Path):
    write_day(data / "logs" / "2026-11-23.db", [make_record(i) for i in range(20_000)])
    args = [sys.executable, "-m", "fastlog", "query", "--limit", "0"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert b"message 0" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(DEADLINE) == 0


def test_text_that_the_terminal_cannot_show_is_escaped(data: Path):
    write_day(data / "logs" / "2026-11-23.db", [make_record(50, message="größer ✓")])
    env = os.environ | {"PYTHONIOENCODING": "ascii"}

    def output(*args: str) -> bytes:
        command = [sys.executable, "-m", "fastlog", "query", "message=größer ✓", *args]
        return subprocess.check_output(command, env=env)

    assert rb"gr\xf6\xdfer \u2713" in output()
    assert "größer ✓".encode() in output("--json")


def test_colour_is_used_on_terminals_by_default(
    command: Run, data: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\x1b[" in command("tail").out
    assert "\x1b[" not in command("tail", "--no-color").out
    assert "\x1b[" not in command("tail", "--json").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in command("tail").out
    assert "\x1b[" in command("tail", "--color").out


# --- tail ------------------------------------------------------------------------------------


def test_tail_prints_the_newest_in_ascending_order(command: Run, data: Path):
    lines = command("tail", "-n", 3).out.splitlines()
    assert [line.partition(" user=")[2] for line in lines] == ["7", "8", "9"]
    warnings = command("tail", "-n", 2, "--level", "warning").out.splitlines()
    assert [line.partition(" user=")[2] for line in warnings] == ["5", "9"]


def test_tail_prints_twenty_records_by_default(command: Run, data: Path):
    write_day(data / "logs" / "2026-11-23.db", [make_record(i) for i in range(10, 40)])
    assert len(command("tail").out.splitlines()) == 20


def test_tail_of_nothing_ends_with_1(command: Run, tmp_path: Path):
    (tmp_path / "fastlog-data").mkdir()
    assert command("tail") == Result(1, "", "")


def test_tail_follows_into_the_next_day_until_interrupted(data: Path):
    args = [sys.executable, "-m", "fastlog", "tail", "-f", "-n", "1", "--json"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        seen = [json.loads(process.stdout.readline())["message"]]
        write_day(data / "logs" / "2026-11-23.db", [make_record(10)])
        seen.append(json.loads(process.stdout.readline())["message"])
        write_day(data / "logs" / "2026-11-24.db", [make_record(11)])
        (data / "logs" / "2026-11-22.db").unlink()
        seen.append(json.loads(process.stdout.readline())["message"])
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 0
        assert process.stderr.read() == b""
    assert seen == ["message 9", "message 10", "message 11"]


# --- stats -----------------------------------------------------------------------------------


STATUS = {
    "at": 0.0, "durable": 5000, "oldest": 0, "index": 100, "size": 5000, "limit": 1 << 30,
    "connections": 3, "accepted": 7, "frames": 100, "dropped": 2, "rejected": {"http": 4},
    "failure": None,
}  # fmt: skip


@pytest.fixture
def used_data(data: Path) -> Path:
    """Make a data directory with a status, a lagging sink, rejections and losses."""
    now = time.time()
    (data / "status.json").write_text(json.dumps({**STATUS, "at": now}))
    position = SinkPosition(cursor=4000, durable=3000, index=90, at=now, error="disk full")
    write_position(data, "sqlite", position)
    ledger = Ledger(data / "ledger.db")
    ledger.record(
        "ab",
        [
            Entry(
                0,
                0,
                Rejection("h:1", "malformed pickle: truncated", 5, b"hello", count=3, received=1.0),
            ),
            Entry(
                0,
                1,
                Rejection("h:1", "malformed pickle: truncated", 5, b"hello", count=1, received=2.0),
            ),
            Entry(0, 2, Loss("", "journal full", 8, 1.0, 2.0)),
            Entry(0, 3, Loss("", "journal full", -1, 1.0, 3.0)),
            Entry(0, 4, Loss("", "journal damage", -1, 1.0, 3.0)),
            Entry(0, 5, Loss("", "journal damage", -2, 1.0, 3.0)),
        ],
        100,
    )
    ledger.close()
    return data


def test_stats_json_counts_records_losses_and_lags(command: Run, used_data: Path):
    result = command("stats", "--json")
    stats = json.loads(result.out)
    assert result.code == 0
    assert stats["records"] == 10
    assert stats["levels"] == {"INFO": 7, "WARNING": 3}
    assert stats["loggers"] == {"app.web": 5, "app.db": 5}
    assert stats["hosts"] == {"127.0.0.1": 10}
    assert sum(stats["hours"].values()) == 10
    assert stats["rejected"] == [
        {"reason": "malformed pickle: truncated", "count": 4, "unknown": 0, "last": 2.0}
    ]
    assert stats["losses"] == [
        {"reason": "journal full", "count": 8, "unknown": 1, "last": 3.0},
        {"reason": "journal damage", "count": 0, "unknown": 3, "last": 3.0},
    ]
    [sink] = stats["sinks"]
    assert (sink["name"], sink["cursor"], sink["lag_bytes"], sink["lag_records"]) == (
        "sqlite", 4000, 1000, 10,
    )  # fmt: skip
    assert sink["error"] == "disk full"
    assert stats["receiver"]["connections"] == 3
    assert stats["receiver"]["rejected"] == {"http": 4}


def test_stats_tables_show_the_same_as_json(command: Run, used_data: Path):
    shown = command("stats", "--level", "WARNING").out
    assert "3 records in fastlog-data" in shown
    for line in (
        "WARNING 3",
        "app.db 3",
        "truncated 4",
        "connections 3",
        "journal full 8 + unknown (1 span)",
        "journal damage unknown (3 spans)",
    ):
        assert line in " ".join(shown.split()), line
    assert "rejected: http" in shown
    assert "█" in shown
    assert "disk full" in " ".join(shown.split())


@pytest.mark.parametrize(("cursor", "behind"), [(4000, None), (5000, 0)])
def test_stats_does_not_guess_how_many_records_a_sink_is_behind(
    command: Run, used_data: Path, cursor: int, behind: int | None
):
    write_position(used_data, "sqlite", SinkPosition(cursor=cursor, durable=0, index=None, at=1.0))
    [sink] = json.loads(command("stats", "--json").out)["sinks"]
    assert sink["lag_records"] == behind
    assert command("stats").code == 0


def test_stats_of_a_new_directory_shows_no_records_and_no_receiver(command: Run, tmp_path: Path):
    (tmp_path / "fastlog-data").mkdir()
    shown = command("stats")
    assert shown.code == 0
    assert shown.out.splitlines() == [
        "0 records in fastlog-data",
        "rejected: none",
        "lost: none",
        "receiver: has not run in this data directory",
    ]


ODD_NAMES = ("[/foo]", "[red]x", "a\x1b]0;PWNED\x07\x1b[2Jb", "\u202eevil", "line\nbreak", "\\[b]")


def test_stats_escapes_text_of_senders(command: Run, data: Path):
    records = [make_record(n, name=name, levelname=name, host=name)
               for n, name in enumerate(ODD_NAMES)]  # fmt: skip
    write_day(data / "logs" / "2026-11-24.db", records)
    with Ledger(data / "ledger.db") as ledger:
        notes = [Rejection("h", f"no key {name!r}: {name}", 0) for name in ODD_NAMES]
        ledger.record("ab", [Entry(0, idx, note) for idx, note in enumerate(notes)], 1)
    (data / "status.json").write_text(json.dumps({**STATUS, "failure": "[/x]\x1b[2J"}))
    position = SinkPosition(cursor=0, durable=0, index=0, at=1.0, error="[/y]\x1b[2J")
    write_position(data, "sqlite", position)
    result = command("stats")
    assert (result.code, result.err) == (0, "")
    assert not set(result.out) & {"\x1b", "\x07", "\u202e"}
    shown = "".join(result.out.split())
    for text in ("[/foo]", "[red]x", "\\u202eevil", "line\\nbreak", "[/x]", "[/y]"):
        assert text in shown, text


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Set the time zone of the process."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_stats_shows_times_that_are_out_of_range(command: Run, data: Path):
    moments = (-62135596800.0, 253402300799.5, -1e18, 1e300)
    records = [make_record(n)._replace(created=moment) for n, moment in enumerate(moments[:2])]
    write_day(data / "logs" / "2026-11-24.db", records)
    with Ledger(data / "ledger.db") as ledger:
        notes = [Loss("", f"reason {n}", 1, m, m) for n, m in enumerate(moments)]
        ledger.record("ab", [Entry(0, idx, note) for idx, note in enumerate(notes)], 1)
    for args in (["stats"], ["stats", "--json"], ["query"]):
        result = command(*args)
        assert (result.code, result.err) == (0, ""), args
    assert "1e+300" in command("stats").out


def damage(path: Path) -> None:
    path.write_bytes(b"\x99" * path.stat().st_size)


def make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize("change", [damage, make_newer])
def test_stats_and_check_report_an_unreadable_ledger_in_one_line(
    command: Run, used_data: Path, change: Callable[[Path], None]
):
    change(used_data / "ledger.db")
    result = command("stats")
    assert result.code == 3
    assert result.err.startswith("fastlog stats: ledger fastlog-data/ledger.db ")
    assert len(result.err.splitlines()) == 1
    assert "10 records" in result.out
    assert "rejected: unknown\nlost: unknown\n" in result.out
    result = command("stats", "--json")
    assert result.code == 3
    stats = json.loads(result.out)
    assert (stats["records"], stats["rejected"], stats["losses"]) == (10, None, None)
    checked = command("check")
    assert checked.code == 1
    (line,) = [line for line in checked.out.splitlines() if "ledger" in line]
    assert line.startswith("FAILED")


# --- send ------------------------------------------------------------------------------------


def receive(listener: socket.socket) -> dict[str, Any]:
    listener.settimeout(DEADLINE)
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as stream:
        (length,) = struct.unpack(">L", stream.read(4))
        fields = pickle.loads(stream.read(length))
        assert stream.read() == b""
    return dict(fields)


def test_send_sends_one_record_as_the_stock_handler_does(command: Run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        sent = command("send", "--url", url, "--level", "error", "--logger", "a.b", "100% ü")
        fields = receive(listener)
    assert sent == Result(0, f"sent to {url}\n", "")
    assert (fields["msg"], fields["levelno"], fields["name"]) == ("100% ü", 40, "a.b")


def test_send_uses_the_first_listener_of_the_configuration(command: Run, tmp_path: Path):
    path = tmp_path / "s"
    (tmp_path / "fastlog.toml").write_text(f'listen = ["unix://{path}", "tcp://127.0.0.1:1"]')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert command("send", "hello").code == 0
        assert receive(listener)["msg"] == "hello"


def test_send_uses_a_listener_that_admits_stock_clients(command: Run, tmp_path: Path):
    closed = '[[listen]]\nurl = "tcp://127.0.0.1:1"\nstock = false\n'
    path = tmp_path / "s"
    (tmp_path / "fastlog.toml").write_text(f'{closed}[[listen]]\nurl = "unix://{path}"')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert command("send", "hello").code == 0
        assert receive(listener)["msg"] == "hello"
    (tmp_path / "fastlog.toml").write_text(closed)
    rejected = command("send", "hello")
    assert rejected.code == 1
    assert rejected.err.startswith("fastlog send: all listeners of the configuration reject stock")


def test_send_reports_that_no_server_listens(command: Run, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    reason = f"cannot send to {url}: Connection refused; is fastlog-server running there?"
    rejected = command("send", "--url", url, "x")
    assert rejected == Result(1, "", f"fastlog send: {reason}\n")
    missing = command("send", "--url", f"unix://{tmp_path}/none", "x")
    assert missing.code == 1
    assert command("send", "--url", "tcp://h", "x").code == 2


# --- check -----------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a configuration whose listener is free."""

    def write(text: str) -> Path:
        path = tmp_path / "fastlog.toml"
        path.write_text('listen = ["tcp://127.0.0.1:0"]\n' + text)
        return path

    return write


def line_of(result: Result, subject: str) -> str:
    [line] = [line for line in result.out.splitlines() if line[8:].startswith(subject)]
    return line


def test_check_of_a_working_configuration_succeeds_and_changes_nothing(
    command: Run, config: Callable[[str], Path], tmp_path: Path
):
    log = tmp_path / "logging.toml"
    log.write_text('[handlers.h]\nclass = "logging.NullHandler"\n[root]\nhandlers = ["h"]')
    config(f'sink = ["sqlite:", "ndjson://{tmp_path}/out/x", "logging://{log}", "console:"]')
    before = sorted(tmp_path.iterdir())
    result = command("check")
    assert (result.code, result.err) == (0, "")
    states = {line[8:].split(":")[0]: line[:8].strip() for line in result.out.splitlines()}
    assert {states[f"sink {name}"] for name in ("sqlite", "ndjson", "logging", "console")} == {"ok"}
    assert "FAILED" not in states.values()
    assert sorted(tmp_path.iterdir()) == before


def test_check_reports_the_error_of_each_sink(
    command: Run, config: Callable[[str], Path], tmp_path: Path
):
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.toml").write_text('[handlers.h]\nclass = "no.such.Handler"')
    config(
        f'sink = ["sqlite://{tmp_path}/file/x", "ndjson://{tmp_path}/file/y", "ndjso:///z",'
        f' "logging://{tmp_path}/bad.toml", "logging://{tmp_path}/none.toml"]'
    )
    result = command("check")
    assert result.code == 1
    assert (
        line_of(result, "sink sqlite") == f"FAILED  sink sqlite: {tmp_path}/file is not a directory"
    )
    assert (
        line_of(result, "sink ndjson") == f"FAILED  sink ndjson: {tmp_path}/file is not a directory"
    )
    assert "did you mean 'ndjson'?" in line_of(result, "sink ndjso:")
    assert "no" in line_of(result, "sink logging:") and "handler 'h'" in line_of(
        result, "sink logging:"
    )
    assert "No such file" in line_of(result, "sink logging-2")


def test_check_reports_a_wrong_configuration(command: Run, config: Callable[[str], Path]):
    config("[journal]\nsise = 1")
    message = "fastlog.toml:3: [journal] has no key 'sise'; did you mean 'size'?"
    assert command("check") == Result(2, "", f"fastlog check: {message}\n")


def test_check_distinguishes_its_own_server_from_other_programs(command: Run, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        (tmp_path / "fastlog.toml").write_text(f'listen = ["{url}"]')
        taken = command("check")
        assert taken.code == 1
        assert line_of(taken, "listen") == f"FAILED  listen {url}: in use by another program"
        with running(tmp_path / "fastlog-data"):
            own = command("check")
    assert own.code == 0
    assert "in use; a server runs in this data directory" in line_of(own, "listen")


def test_check_distinguishes_a_socket_from_other_files(command: Run, tmp_path: Path):
    path = tmp_path / "s"
    (tmp_path / "fastlog.toml").write_text(f'listen = ["unix://{path}"]')
    assert line_of(command("check"), "listen").endswith(": free")
    path.write_text("")
    assert line_of(command("check"), "listen").endswith("exists and is not a socket")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert line_of(command("check"), "listen").endswith("in use by another program")
    assert line_of(command("check"), "listen").endswith("left from a server that was killed")


def test_check_estimates_how_long_the_journal_lasts_at_the_present_rate(
    command: Run, config: Callable[[str], Path], data: Path
):
    config("")
    stop = threading.Event()
    start = time.time()

    def write_status() -> None:
        while not stop.is_set():
            at = time.time()
            status = {**STATUS, "at": at, "durable": int((at - start) * (1 << 20)), "size": 0}
            (data / "new").write_text(json.dumps(status))
            (data / "new").replace(data / "status.json")
            stop.wait(0.1)

    writer = threading.Thread(target=write_status)
    writer.start()
    try:
        wait_for((data / "status.json").exists)
        with running(data):
            line = line_of(command("check"), "journal")
    finally:
        stop.set()
        writer.join()
    assert line.startswith("ok      journal: 0 bytes of 1 GiB used; at the present ")
    assert "it lasts 17" in line and "minutes if no sink stores anything" in line  # 1024 s


def test_repair_is_rejected_while_a_server_runs(command: Run, data: Path):
    with running(data):
        rejected = command("check", "--repair")
    message = "fastlog-data is in use; stop fastlog-server before a repair"
    assert rejected == Result(1, "", f"fastlog check: {message}\n")
    (data / "journal").mkdir()
    assert command("check", "--repair").out == "there is no journal to repair\n"


def test_a_repair_of_a_mistyped_directory_fails_and_makes_nothing(command: Run, tmp_path: Path):
    (tmp_path / "there").mkdir()
    for name in ("there", "not-there"):
        message = f"{name} holds no journal to repair; name the data directory with --data-dir"
        failed = command("check", "--repair", "--data-dir", name)
        assert failed == Result(1, "", f"fastlog check: {message}\n")
    assert [path for path in tmp_path.rglob("*") if path.name != "there"] == []


# --- journal dump ----------------------------------------------------------------------------


def test_journal_dump_of_a_missing_directory_is_one_line_and_exit_code_1(
    command: Run, tmp_path: Path
):
    message = "none holds no journal; name the data directory with --data-dir"
    failed = command("journal", "dump", "--data-dir", "none")
    assert failed == Result(1, "", f"fastlog journal dump: {message}\n")
    assert list(tmp_path.iterdir()) == []


def test_journal_dump_rejects_a_negative_offset(command: Run, data: Path):
    wrong = command("journal", "dump", "--from", "-1")
    assert (wrong.code, wrong.out, wrong.err.count("\n")) == (2, "", 1)
    assert wrong.err.startswith("fastlog journal dump: Invalid value for '--from'")


def test_journal_dump_prints_the_lines_of_the_dump(
    command: Run, data: Path, monkeypatch: pytest.MonkeyPatch
):
    (data / "journal").mkdir()
    calls: list[tuple[Path, int, bool]] = []

    def dump(directory: Path, *, start: int = 0, frames: bool = False) -> Iterator[str]:
        calls.append((directory, start, frames))
        yield from ["one", "two"] if start < 9 else []

    monkeypatch.setattr("fastlog.journal.dump", dump)
    assert command("journal", "dump") == Result(0, "one\ntwo\n", "")
    assert command("journal", "dump", "--from", "9", "--frames") == Result(0, "", "")
    directory = Path("fastlog-data/journal")
    assert calls == [(directory, 0, False), (directory, 9, True)]


# --- the programs ----------------------------------------------------------------------------


def test_both_programs_print_the_version(capsys: pytest.CaptureFixture[str]):
    assert run(fastlog, "fastlog", ["--version"]) == 0
    assert run(server, "fastlog-server", ["--version"]) == 0
    assert capsys.readouterr().out == f"fastlog {__version__}\nfastlog-server {__version__}\n"


def test_without_a_command_the_help_is_shown(command: Run):
    result = command()
    assert result.code == 2
    assert "Commands:" in result.err


def test_the_server_is_started_with_the_configuration(monkeypatch: pytest.MonkeyPatch):
    configs: list[Config] = []

    def serve(config: Config) -> int:
        configs.append(config)
        return 7

    replacement = ModuleType("fastlog.server")
    vars(replacement).update(vars(SimpleNamespace(serve=serve)))
    monkeypatch.setitem(sys.modules, "fastlog.server", replacement)
    args = ["--data-dir", "d", "--listen", "tcp://127.0.0.1:0", "--sink", "console:"]
    assert run(server, "fastlog-server", args) == 7
    assert configs[0].data_dir == Path("d")
    assert [configs[0].listen[0].url, configs[0].sinks[0].url] == ["tcp://127.0.0.1:0", "console:"]


def test_a_mistake_in_a_flag_of_the_server_is_one_line(capsys: pytest.CaptureFixture[str]):
    assert run(server, "fastlog-server", ["--listen", "udp://x:1"]) == 2
    message = "--listen: listen: expected tcp://host:port or unix:///path, got 'udp://x:1'"
    assert capsys.readouterr().err == f"fastlog-server: {message}\n"
