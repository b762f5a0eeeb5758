"""Damaged day files, and other files with such a name: commands and servers work with the rest."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest
from commands import Run, command_for
from conditions import wait_for, wait_past_midnight
from day_file_damage import OLD, WAYS, overwrite, write_days
from day_files import make_record, write_day
from senders import stock_frame
from servers import Server

from fastlog.query import EVERYTHING
from fastlog.search import Unread, follow, newest

HEALTHY = ["message 0", "message 1", "message 2"]


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return command_for(tmp_path, capsys)


NOTICED = [way for way in WAYS if way != "a text that is none"]
"""Ways that are noticed without reading a message."""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Write healthy files and one that is damaged in this way; return the name of the way."""
    name: str = request.param
    write_days(tmp_path / "logs", name)
    return name


def test_readers_read_the_healthy_files_and_report_the_damaged_one(
    command: Run, way: str, tmp_path: Path
) -> None:
    what = WAYS[way][1]
    for words in (["query"], ["query", "--since", "@0"], ["tail"], ["query", "--limit", "0"]):
        result = command(*words, "--json")
        found = [msgspec.json.decode(line) for line in result.out.splitlines()]
        assert [record["message"] for record in found] == HEALTHY, words
        assert result.code == 3
        [line] = result.err.splitlines()
        assert str(tmp_path / "logs" / OLD) in line
        assert line.endswith("; some or all of its records are left out")
        assert what in line


@pytest.mark.parametrize("way", NOTICED, indirect=True)
def test_stats_counts_the_healthy_files_and_reports_the_damaged_one(
    command: Run, way: str, tmp_path: Path
) -> None:
    result = command("stats", "--json")
    tree = msgspec.json.decode(result.out)
    assert (result.code, tree["records"], len(result.err.splitlines())) == (3, 3, 1)
    assert list(tree["unread"]) == [str(tmp_path / "logs" / OLD)]


@pytest.mark.parametrize("way", NOTICED, indirect=True)
def test_check_reports_the_damaged_file(command: Run, way: str, tmp_path: Path) -> None:
    result = command("check")
    [line] = [line for line in result.out.splitlines() if OLD in line]
    assert line.startswith(f"FAILED  day file {tmp_path}/logs/{OLD}: ")
    assert result.code == 1
    assert any(
        line.startswith("ok") and f"2 day files in {tmp_path}" in line
        for line in result.out.splitlines()
    )


def test_check_finds_damage_inside_a_file_when_it_reads_all(command: Run, tmp_path: Path) -> None:
    path = tmp_path / "logs" / OLD
    write_day(path, [make_record(n, message="x" * 3000) for n in range(300)])
    assert "ok      1 day file " in command("check", "--deep").out
    overwrite(path, path.stat().st_size // 2 // 4096 * 4096, bytes(4096))

    assert command("check").code == 0
    result = command("check", "--deep")
    assert (result.code, "FAILED" in result.out) == (1, True)
    [line] = [line for line in result.out.splitlines() if OLD in line]
    assert "damaged" in line
    # A reader prints the records before the damage, and reports that some are left out.
    found = command("query", "--limit", "0", "--json")
    assert found.code == 3
    assert 50 < len(found.out.splitlines()) < 300
    assert len(found.err.splitlines()) == 1


def test_a_file_that_is_being_created_is_not_reported(command: Run, tmp_path: Path) -> None:
    write_day(tmp_path / "logs" / OLD, [make_record(0)])
    (tmp_path / "logs" / "2026-11-21.db").touch()
    assert command("query")[::2] == (0, "")


def test_following_continues_beside_a_damaged_file_and_in_its_replacement(
    tmp_path: Path,
) -> None:
    path = tmp_path / OLD
    write_day(path, [make_record(0), make_record(1)])
    lines: list[str] = []
    unread = Unread(lines.append)
    _, position = newest(tmp_path, EVERYTHING, 0, unread)

    def damage() -> None:
        path.unlink()
        path.write_bytes(b"x" * 8192)

    def replace() -> None:
        path.rename(path.with_name(f"{OLD}.damaged"))
        write_day(path, [make_record(2)])

    steps = iter([damage, lambda: None, replace, lambda: None])
    seen: list[str] = []
    stop = RuntimeError()

    def pause(_: float) -> None:
        step = next(steps, None)
        if step is None:
            raise stop
        step()

    with pytest.raises(RuntimeError):
        for batch in follow(tmp_path, EVERYTHING, position, pause, unread):
            seen += [found.record.message for found in batch]
    assert seen == ["message 2"]
    assert len(lines) == 1


QUERY_AS_ANOTHER_USER = """
import os, sys
import fastlog.cli.query  # now: the other user may not read the interpreter's files
from fastlog.cli import fastlog
from fastlog.cli.command import run
if os.geteuid() == 0:  # root may read everything
    os.setuid(65534)
sys.exit(run(fastlog, "fastlog", ["query", "--json", "--data-dir", sys.argv[1]]))
"""


def test_a_file_without_read_permission_is_reported_as_the_others_are() -> None:
    with tempfile.TemporaryDirectory() as name:  # only its owner can enter tmp_path
        logs = Path(name) / "logs"
        write_day(logs / OLD, [make_record(1)])
        write_day(logs / "2026-11-21.db", [make_record(2)])
        (logs / OLD).chmod(0)
        (logs / "2026-11-21.db").chmod(0o644)
        Path(name).chmod(0o755)
        logs.chmod(0o755)
        command = [sys.executable, "-c", QUERY_AS_ANOTHER_USER, name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert [msgspec.json.decode(line)["message"] for line in done.stdout.splitlines()] == [
        "message 2"
    ]
    assert done.stderr == (
        f"fastlog query: {logs / OLD} cannot be read (unable to open database file); "
        "some or all of its records are left out\n"
    )
    assert done.returncode == 3


def send(server: Server, first: int, count: int) -> None:
    payload = "x" * 900
    with server.connect() as client:
        for number in range(first, first + count):
            client.sendall(stock_frame(f"{number} {payload}"))


@pytest.mark.parametrize("name", ["random bytes", "cut in half", "zeroed"])
def test_a_server_continues_without_its_damaged_file_and_counts_the_lost_records(
    tmp_path: Path, name: str
) -> None:
    wait_past_midnight()
    # Segments are released once a second: there is room for all that is sent meanwhile.
    config = '[journal]\nsize = "2MiB"\nsegment = "64KiB"\n'
    server = Server(tmp_path, config=config)
    with server:
        for at in range(0, 600, 100):
            send(server, at, 100)
            server.wait_stored(at + 100)
        wait_for(lambda: server.status().get("oldest", 0) > 0, "a segment was released")
        assert server.stop() == 0
        [current] = server.logs.glob("*.db")
        WAYS[name][0](current)
        server.start()
        send(server, 600, 20)
        aside = current.with_name(f"{current.name}.damaged")
        wait_for(lambda: 619 in numbers(server), "the last record is stored")
        found = numbers(server)
        assert found == list(range(found[0], 620)), "the journal's rest is stored again, once"
        assert aside.exists()
        [loss] = server.losses()
        assert loss["reason"] == "stored, then gone: the store was damaged, removed or set back"
        assert loss["count"] == -1
        assert aside.name in loss["detail"]
        assert "journal offsets 0 to " in loss["detail"]


def numbers(server: Server) -> list[int]:
    try:
        return [int(row["message"].split()[0]) for row in server.records()]
    except sqlite3.DatabaseError:
        return []  # the damaged one is not set aside yet
