"""Text that senders or file names bring along: it controls neither a terminal nor a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest
from commands import Run
from day_files import make_record, write_day
from hypothesis import given
from hypothesis import strategies as st
from journal_blocks import run_of

from fastlog.csv_cells import csv_cell
from fastlog.journal import Journal
from fastlog.query import COLUMNS
from fastlog.terminal import escape_json

pytestmark = pytest.mark.usefixtures("nothing_configured")

EVIL = "[/x] \x1b]0;PWNED\x07\x1b[2J \x9b31m \u202eevil\u2066 \x7f \u2028 \x00 end"
UNSAFE = {"\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\x7f", "\u2028", "\x00"}


@pytest.fixture
def evil_data(tmp_path: Path) -> Path:
    """Make a data directory whose only record has such a text in each field."""
    record = make_record(
        0, name=EVIL, levelname=EVIL, message=EVIL, host=EVIL, exc_text=EVIL, stack_info=EVIL,
        processName=EVIL, extra=msgspec.json.encode({EVIL: [EVIL]}).decode(),
    )  # fmt: skip
    data = tmp_path / "fastlog-data"
    write_day(data / "logs" / "2026-11-24.db", [record])
    return data


@pytest.mark.parametrize(
    "args",
    [
        ["query"], ["tail"], ["query", "--csv"], ["query", "--json"], ["tail", "--json"],
        ["stats"], ["stats", "--json"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_no_output_of_a_record_controls_a_terminal(command: Run, evil_data: Path, args: list[str]):
    result = command(*args)
    assert result.code == 0
    assert not set(result.out) & UNSAFE
    assert "evil" in result.out


def test_json_keeps_the_text_that_it_escapes(command: Run, evil_data: Path):
    record = json.loads(command("query", "--json").out)
    assert record["message"] == record["name"] == EVIL
    assert record["extra"] == {EVIL: [EVIL]}
    assert json.loads(command("stats", "--json").out)["loggers"] == {EVIL: 1}


@given(st.recursive(st.text() | st.integers(), lambda each: st.dictionaries(st.text(), each)))
def test_escaped_json_has_the_same_values(value: object):
    text = escape_json(msgspec.json.encode(value).decode())
    assert json.loads(text) == value
    assert not set(text) & UNSAFE


@pytest.mark.parametrize("first", [*"=+-@\t\n", *map(chr, (0xFF1D, 0xFF0B, 0xFF0D, 0xFF20))])
def test_a_cell_that_a_spreadsheet_would_run_is_marked_as_text(first: str):
    assert csv_cell(f'{first}HYPERLINK("http://x")') == f'\'{first}HYPERLINK("http://x")'


def test_csv_keeps_numbers_and_line_ends(command: Run, data: Path):
    assert (csv_cell(-1.5), csv_cell(None), csv_cell("a-b\nc")) == (-1.5, None, "a-b\nc")
    record = make_record(-5, message="=1+1", exc_text="one\n\ttwo")
    write_day(data / "logs" / "2026-11-23.db", [record])
    rows = csv.reader(io.StringIO(command("query", "--csv", "--grep", "=1+1").out))
    row = dict(zip(COLUMNS, list(rows)[1], strict=True))
    assert (row["message"], row["exc_text"]) == ("'=1+1", "one\n\ttwo")


def evil_path(tmp_path: Path) -> Path:
    return tmp_path / "a\x1b[2J\u202eb"


@pytest.mark.parametrize(
    "args",
    [
        ["query", "--data-dir", "{evil}"],
        ["stats", "--data-dir", "{evil}"],
        ["tail", "--config", "{evil}"],
        ["check", "--data-dir", "{evil}"],
        ["check", "--repair", "--data-dir", "{evil}"],
        ["journal", "dump", "--data-dir", "{evil}"],
        ["migrate", "{evil}"],
        ["send", "--url", "{evil}", "x"],
        ["send", "--url", "unix://{evil}", "x"],
        ["query", 'lineno>"\x1b[2J\u202e"'],
        ["query", "--level", "{evil}"],
        ["query", "--since", "{evil}"],
        ["query", "--regex", "({evil}"],
        ["query", "--{evil}"],
        ["{evil}"],
    ],
    ids=" ".join,
)
def test_errors_and_checks_escape_what_they_quote(command: Run, tmp_path: Path, args: list[str]):
    result = command(*[arg.format(evil=evil_path(tmp_path)) for arg in args])
    assert not set(result.out + result.err) & UNSAFE
    assert "[2J" in result.out + result.err
    assert result.err.count("\n") <= 1


def test_the_dump_of_a_journal_escapes_its_path(command: Run, tmp_path: Path):
    home = evil_path(tmp_path)
    journal = Journal(home / "journal", segment=1 << 16, size=1 << 20, delay=0)
    assert journal.append(run_of(EVIL.encode()), 1) is None
    assert journal.close() == []
    dumped = command("journal", "dump", "--frames", "--data-dir", home)
    assert dumped.code == 0
    assert not set(dumped.out) & UNSAFE
