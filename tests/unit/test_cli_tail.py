"""`fastlog tail`: the newest records, and those that arrive."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import DEADLINE, Result, Run
from day_files import make_record, write_day

pytestmark = pytest.mark.usefixtures("nothing_configured")


def test_tail_prints_the_newest_in_ascending_order(command: Run, data: Path):
    lines = command("tail", "-n", 3).out.splitlines()
    assert [line.partition(" user=")[2] for line in lines] == ["7", "8", "9"]
    warnings = command("tail", "-n", 2, "--level", "warning").out.splitlines()
    assert [line.partition(" user=")[2] for line in warnings] == ["5", "9"]


def test_tail_prints_twenty_records_by_default(command: Run, data: Path):
    write_day(data / "logs" / "2026-11-23.db", [make_record(i) for i in range(10, 40)])
    assert len(command("tail").out.splitlines()) == 20


def test_tail_of_nothing_ends_with_1(command: Run, tmp_path: Path):
    (tmp_path / "fastlog-data" / "journal").mkdir(parents=True)
    assert command("tail") == Result(1, "", "")


def test_tail_waits_for_a_data_directory_that_appears_later(tmp_path: Path):
    data = tmp_path / "later" / "fastlog-data"
    args = [sys.executable, "-m", "fastlog", "tail", "-f", "-n", "1", "--json"]
    args += ["--data-dir", str(data)]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        line = process.stderr.readline().decode()
        assert line == f"fastlog tail: waiting for {data}, which has no records yet\n"
        write_day(data / "logs" / "2026-11-23.db", [make_record(0), make_record(1)])
        write_day(data / "logs" / "2026-11-24.db", [make_record(2)])
        seen = [json.loads(process.stdout.readline())["message"] for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 0
        assert process.stderr.read() == b""
    assert seen == ["message 0", "message 1", "message 2"]


def test_tail_does_not_wait_with_a_mistake_in_the_query(command: Run, tmp_path: Path):
    result = command("tail", "-f", "--data-dir", tmp_path / "later", "(a")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)


def test_tail_does_not_wait_for_a_directory_that_is_another(command: Run, tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    result = command("tail", "-f", "--data-dir", tmp_path / "other")
    assert (result.code, result.out) == (2, "")
    assert "is no data directory" in result.err


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
