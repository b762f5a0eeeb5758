"""`fastlog query`: what it prints, and its exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import DEADLINE, Result, Run
from day_files import make_record, write_day

from fastlog.query import COLUMNS

pytestmark = pytest.mark.usefixtures("nothing_configured")


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
    time = "2023-11-14T22:13:23.000000+00:00"
    assert record == {**expected, "time": time, "node": "ab"}
    assert list(record) == ["created", "time", *COLUMNS[1:]]
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
    cut = command("query", "-n", 9, "--json")
    found = [json.loads(line)["message"] for line in cut.out.splitlines()]
    assert found == [f"message {i}" for i in range(1, 10)]
    assert cut.err.startswith(
        "fastlog query: printed the newest 9 records; --limit N prints more; next page: --cursor "
    )
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
        (["--level", "WARNIN"], "--level: there is no level 'WARNIN'; did you mean 'WARNING'?"),
        (["--grep", ""], "--grep: the text is empty, and every record would match"),
        (["--host", "127.0.0"], "--host: 127.0.0 is no whole address; host:127.0.0.* matches"),
        (["lvelno=3"], "there is no field 'lvelno'; did you mean 'levelno'?"),
        (["--where", "x:"], '--where: expected a value after "x:"'),
        (["--regex", "("], "--regex: not a regular expression: '('"),
        (["--since", "soon"], "--since: expected a time such as 1h"),
        (["--since", "1h", "--until", "2h"], "--since must be before --until"),
        (["--json", "--csv"], "--json and --csv exclude each other"),
        (["--limit", "-1"], "Invalid value for '-n' / '--limit'"),
        (["--sinse", "1h"], "there is no option '--sinse'; did you mean '--since'?"),
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
def test_a_missing_data_directory_is_one_line_and_exit_code_2(command: Run, name: str):
    message = "the data directory none does not exist; name it with --data-dir"
    assert command(name, "--data-dir", "none") == Result(2, "", f"fastlog {name}: {message}\n")


def test_without_a_sqlite_sink_there_is_nothing_to_search(command: Run, tmp_path: Path):
    (tmp_path / "fastlog-data").mkdir()
    (tmp_path / "fastlog.toml").write_text('sink = ["ndjson:///x"]')
    message = "the configuration has no sqlite: sink, so there are no records to search; add one"
    assert command("query") == Result(2, "", f"fastlog query: {message}\n")


def test_query_ends_without_an_error_when_the_reader_closes_the_pipe(data: Path):
    write_day(
        data / "logs" / "2026-11-23.db", [make_record(i) for i in range(20_000)], per_block=100
    )
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
