"""`fastlog journal dump`: its lines and its errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Result, Run

pytestmark = pytest.mark.usefixtures("nothing_configured")


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
