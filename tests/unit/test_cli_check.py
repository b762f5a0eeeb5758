"""`fastlog check`: what it reports, and when it rejects a repair."""

from __future__ import annotations

import fcntl
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import DEADLINE, STATUS, Result, Run

pytestmark = pytest.mark.usefixtures("nothing_configured")


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
    (tmp_path / "out").mkdir()
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
    for sink in ("sqlite", "ndjson"):
        fault = f"{tmp_path}/file is not a directory; remove it"
        assert line_of(result, f"sink {sink}") == f"FAILED  sink {sink}: {fault}"
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
