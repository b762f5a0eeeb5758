"""Day files of other versions: older ones are read and migrated, newer ones are rejected."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from builders import NODE, messages_of
from commands import Run, command_for
from day_file_damage import OLD, change
from day_files import write_old_day
from sqlite_sinks import make, make_days, stored, three_days, work

from fastlog.decode import Decoded
from fastlog.errors import SinkUnavailableError
from fastlog.query import COLUMNS
from fastlog.search.rows import COLUMN_LIST
from fastlog.sinks import day_schema
from fastlog.sinks.day_chunks import MinuteBounds
from fastlog.sinks.day_migration import migrate


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return command_for(tmp_path, capsys)


def test_the_current_file_of_a_newer_version_is_rejected_with_one_line(tmp_path: Path) -> None:
    chain = three_days()
    sink = make(tmp_path)
    work(sink, chain[:5])
    sink.close()
    current = tmp_path / "logs" / "2026-11-23.db"
    change(current, "UPDATE meta SET value = 5 WHERE key = 'schema'")
    before = current.read_bytes()

    with pytest.raises(SinkUnavailableError) as caught:
        make(tmp_path).open(NODE)
    assert str(caught.value) == (
        f"{current} has schema version 5, and this fastlog reads versions up to 4: "
        "upgrade fastlog-server, or move the file away"
    )
    assert current.read_bytes() == before


def make_version_1(logs: Path, chain: list[Decoded]) -> None:
    """Friday, Sunday and Monday as version 1 stored them, all but the last block."""
    logs.mkdir()
    names = [OLD, "2026-11-22.db", "2026-11-23.db"]
    for at, name in enumerate(names):
        blocks = chain[2 * at : min(2 * at + 2, 5)]
        write_old_day(logs / name, [r for b in blocks for r in b.records], NODE, version=1)
        successor = (*names, None)[at + 1]
        change(
            logs / name,
            f"INSERT INTO cursor VALUES ('{NODE}', {blocks[-1].block.end}, "
            f"{'NULL' if at == 2 else repr(successor)})",
        )


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [(version,)] = connection.execute("SELECT value FROM meta WHERE key = 'schema'")
    assert isinstance(version, int)
    return version


def test_files_of_version_1_are_read_as_they_are_and_the_current_one_is_migrated(
    tmp_path: Path, command: Run
) -> None:
    chain = three_days()
    logs = tmp_path / "logs"
    make_version_1(logs, chain)
    assert command("query", "--limit", "0")[::2] == (0, "")
    assert version_of(logs / "2026-11-23.db") == 1

    assert work(make(tmp_path), chain) == 0

    versions = [version_of(logs / name) for name in (OLD, "2026-11-22.db", "2026-11-23.db")]
    assert versions == [1, 1, day_schema.VERSION]
    with closing(sqlite3.connect(logs / "2026-11-23.db")) as connection:
        cursor = connection.execute("SELECT offset, sealed, step, frames FROM cursor").fetchone()
    assert cursor == (chain[-1].block.end, None, 0, chain[-1].block.index + 30)
    result = command("query", "--limit", "0", "--json")
    assert len(result.out.splitlines()) == len(messages_of(chain))
    # The cursor then moves on from there, to the next day and back.
    longer = make_days(-3, -3, -1, -1, 0, 0, 1, 0, -1)
    assert work(make(tmp_path), longer) == 0
    assert stored(logs) == messages_of(longer)
    assert version_of(logs / "2026-11-22.db") == day_schema.VERSION


def test_a_migration_that_is_interrupted_anywhere_changes_nothing_and_is_done_later(
    tmp_path: Path,
) -> None:
    chain = three_days()
    logs = tmp_path / "logs"
    make_version_1(logs, chain)
    current = logs / "2026-11-23.db"

    class StopHere(BaseException):
        pass

    class Interrupted(sqlite3.Connection):
        left = 0

        def execute(self, *args: object) -> sqlite3.Cursor:
            Interrupted.left -= 1
            if Interrupted.left < 0 and args[0] != "ROLLBACK":
                raise StopHere
            return super().execute(*args)  # type: ignore[arg-type]

    before = stored(logs)
    bounds = MinuteBounds(0, 0)
    versions = set()
    for length in range(1, 100):
        with closing(sqlite3.connect(current, isolation_level=None, factory=Interrupted)) as file:
            Interrupted.left = length
            try:
                migrate(file, version_of(current), bounds)
            except StopHere:
                versions.add(version_of(current))
                assert stored(logs) == before
            else:
                break
    assert 20 < length < 99
    assert versions == {1, 2, 3}
    assert version_of(current) == day_schema.VERSION
    assert work(make(tmp_path), chain) == 0


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_is_missing_is_an_error_and_never_its_own_name(column: str) -> None:
    """SQLite takes a `"name"` that no column has for a text."""
    rest = ", ".join(f"[{name}]" for name in COLUMNS if name != column)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE records ({rest})")
        with pytest.raises(sqlite3.OperationalError, match="no such column"):
            connection.execute(f"SELECT {COLUMN_LIST} FROM records")
