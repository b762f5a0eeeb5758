"""`check --deep` finds where chunks or counts differ from the entries, and a rebuild repairs it."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from builders import Fuse, in_child
from day_files import START_NAME, append, make_record, open_day, write_day, write_old_day

from fastlog import zstd
from fastlog.search import count_totals, examine
from fastlog.sinks import day_chunks, day_file
from fastlog.sinks.day_file import DayFile

FAR = 1e12
"""A time that no minute is counted for."""
RECORDS = [
    make_record(
        7 * n,
        name=f"app.{n % 3}",
        host=f"10.0.0.{n % 2}",
        exc_text=f"error {n}" if n % 5 == 0 else None,
        **({"created": FAR + n} if n % 50 == 0 else {}),
    )
    for n in range(250)
]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a file with four chunks, and entries behind them."""
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", 60)
    return write_day(tmp_path / START_NAME, RECORDS)


def troubles(path: Path) -> list[str]:
    return [health.trouble for health in examine(path.parent, deep=True)]


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement, {"other": zstd.compress(b"other text")})
        connection.commit()


def rebuild(path: Path) -> None:
    with closing(DayFile(path)) as file:
        file.rebuild()


CHUNK = "1 chunks differ from their entries, the first begins at 61"
COUNTS = "site_counts differs from the entries; process_counts differs from the entries"
DIFFERENCES = {
    "UPDATE chunks SET text = x'ff' WHERE first_id = 61": CHUNK,
    "UPDATE chunks SET text = 'no bytes' WHERE first_id = 61": CHUNK,
    "UPDATE chunks SET text = :other WHERE first_id = 61": CHUNK,
    "UPDATE chunks SET min_created = min_created - 1 WHERE first_id = 61": CHUNK,
    "UPDATE entries SET message = 'other' WHERE id = 70": CHUNK,
    "UPDATE entries SET stack_info = 'other' WHERE id = 70": CHUNK,
    "DELETE FROM chunks WHERE first_id = 61": CHUNK.replace("at 61", "at 121"),
    "DELETE FROM chunks WHERE first_id = 181": COUNTS,
    "DELETE FROM chunks": COUNTS,
    "UPDATE site_counts SET records = records + 1 WHERE minute > 0": COUNTS.split("; ")[0],
    "DELETE FROM site_counts WHERE minute = -1": COUNTS.split("; ")[0],
    "UPDATE process_counts SET records = records - 1": COUNTS.split("; ")[1],
}


@pytest.mark.parametrize("statement", DIFFERENCES)
def test_a_difference_is_named_with_its_repair_which_removes_it(path: Path, statement: str) -> None:
    change(path, statement)
    assert troubles(path) == [
        f"is searched and counted wrongly: {DIFFERENCES[statement]}; "
        f"repair it with `fastlog migrate --rebuild {path}`"
    ]
    rebuild(path)
    assert troubles(path) == [""]
    assert count_totals(path.parent).records == len(RECORDS)


FAULTS = {
    "message = x'ff'": "entry 70 has a text of another type",
    "extra = x'ff'": "entry 70 has a text of another type",
    "exc_text = x'ff'": "entry 70 has a text of another type",
    "created = 'x'": "a time of a record is no number",
    "site_id = 99": "entry 70 has no site",
    "process_id = 99": "entry 70 has no process",
    "block_id = 999": "entry 70 has no block",
}


@pytest.mark.parametrize("assignment", FAULTS)
def test_an_entry_with_a_fault_is_damage_and_no_repair_is_named(
    path: Path, assignment: str
) -> None:
    change(path, f"UPDATE entries SET {assignment} WHERE id >= 70")
    assert troubles(path) == [f"is damaged: {FAULTS[assignment]}"]


@pytest.mark.parametrize("number", [0, 59, 60, 61])
def test_a_sound_file_has_no_trouble_whether_its_chunks_cover_all_or_none(
    path: Path, number: int
) -> None:
    path.unlink()
    write_day(path, RECORDS[:number])
    assert troubles(path) == [""]


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_file_has_nothing_to_compare(tmp_path: Path, version: int) -> None:
    path = write_old_day(tmp_path / START_NAME, RECORDS, version=version)
    assert troubles(path) == [""]


def test_two_rows_with_the_same_values_are_counted_as_one_or_as_two(path: Path) -> None:
    """As after a restart, which may choose another one of them to count by."""
    change(
        path,
        "INSERT INTO sites SELECT 100, * FROM (SELECT levelno, levelname, name, pathname, filename,"
        " module, lineno, funcName FROM sites WHERE id = 1)",
        "UPDATE OR IGNORE site_counts SET site_id = 100 WHERE site_id = 1 AND minute % 2",
    )
    assert troubles(path) == [""]
    assert count_totals(path.parent).loggers["app.0"] == sum(r.name == "app.0" for r in RECORDS)


def test_killed_at_every_seventh_statement_of_a_rebuild_the_file_is_as_before_or_repaired(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_rebuilds(path, monkeypatch, step=7)


@pytest.mark.soak
def test_killed_at_any_statement_of_a_rebuild_the_file_is_as_before_or_repaired(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_rebuilds(path, monkeypatch, step=1)


def kill_rebuilds(path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    change(path, "UPDATE site_counts SET records = 5", "UPDATE chunks SET text = x'ff'")
    damaged = path.read_bytes()
    [before] = troubles(path)
    connect = sqlite3.connect

    def rebuild_until(length: int) -> None:
        fuse = Fuse(length)

        def fused(*args: object, **options: object) -> sqlite3.Connection:
            connection = connect(*args, **options)  # type: ignore[call-overload]
            connection.set_trace_callback(lambda _: fuse.spark())
            return connection

        with monkeypatch.context() as patched:
            patched.setattr(day_file.sqlite3, "connect", fused)
            rebuild(path)

    states: list[str] = []
    length, died = 0, True
    while died:
        path.write_bytes(damaged)
        died = in_child(lambda n=length: rebuild_until(n)) == signal.SIGKILL  # type: ignore[misc]
        states += troubles(path)
        for companion in path.parent.glob(f"{path.name}-*"):
            companion.unlink()
        length += step
    assert len(states) > 20
    assert states == [before] * states.count(before) + [""] * states.count("")
    assert states[-1] == ""


def test_a_writer_continues_behind_chunks_that_another_process_has_made_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_day(path)) as writer:
        for chunk_entries in (60, 13, 1000, 50):
            append(writer, RECORDS[:10])
            monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", chunk_entries)
            rebuild(path)
            append(writer, RECORDS)
            assert troubles(path) == [""]
    assert count_totals(path.parent).records == 5 * len(RECORDS) + 40
