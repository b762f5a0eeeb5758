"""`fastlog migrate`: old day files become present ones, with the same records."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from builders import Fuse, in_child
from commands import Run, command_for
from day_files import append, make_record, open_day, write_day, write_old_day

from fastlog.query import COLUMNS
from fastlog.search import examine
from fastlog.sinks import day_chunks, day_file
from fastlog.sinks.day_schema import VERSION

RECORDS = [
    make_record(
        n % 700,
        message=f"message {n} " + "x" * 100,
        name=None if n % 7 == 0 else f"app.{n % 3}",
        lineno=n % 5,
        pathname="/srv/app/a_long_path_that_each_row_repeats.py",
        exc_text="Traceback" if n % 11 == 0 else None,
        offset=n // 10,
        received=make_record(n // 10).received,
        idx=n % 10,
    )
    for n in range(5000)
]


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return command_for(tmp_path, capsys)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def rows_of(path: Path) -> list[Any]:
    """Return all records; a column that the file's version does not have is NULL."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name FROM pragma_table_info('records')")
        known = {name for (name,) in found}
        columns = ", ".join(f"[{name}]" if name in known else "NULL" for name in COLUMNS)
        return connection.execute(f"SELECT {columns} FROM records").fetchall()


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [(version,)] = connection.execute("SELECT value FROM meta WHERE key = 'schema'")
    return int(version)


def test_old_files_of_the_data_directory_are_migrated_and_keep_their_records(
    command: Run, logs: Path
) -> None:
    paths = [
        write_old_day(logs / "2023-11-13.db", RECORDS, version=1),
        write_old_day(logs / "2023-11-14.db", RECORDS, version=2),
        write_day(logs / "2023-11-15.db", RECORDS),
        write_old_day(logs / "2023-11-16.db", RECORDS, version=3),
    ]
    before = [rows_of(path) for path in paths]
    sizes = [path.stat().st_size for path in paths]

    result = command("migrate")

    assert (result.code, result.err) == (0, "")
    assert [line.split("; ")[0] for line in result.out.splitlines()] == [
        f"{paths[0]}: migrated from version 1 to 4, gave unused space back",
        f"{paths[1]}: migrated from version 2 to 4, gave unused space back",
        f"{paths[2]}: is of version 4 already",
        f"{paths[3]}: migrated from version 3 to 4",
    ]
    assert [version_of(path) for path in paths] == [VERSION] * 4
    assert [rows_of(path) for path in paths] == before
    assert all(
        path.stat().st_size < 0.8 * size for path, size in zip(paths[:2], sizes, strict=False)
    )
    assert [health.trouble for health in examine(logs, deep=True)] == [""] * 4
    assert command("migrate").out.splitlines() == [
        f"{path}: is of version 4 already" for path in paths
    ]


def test_only_the_named_files_are_migrated(command: Run, logs: Path, tmp_path: Path) -> None:
    first = write_old_day(logs / "2023-11-13.db", RECORDS[:10])
    other = write_old_day(logs / "2023-11-14.db", RECORDS[:10])
    elsewhere = write_old_day(tmp_path / "copy" / "2023-11-13.1.db", RECORDS[:10])
    assert command("migrate", first, elsewhere).code == 0
    assert [version_of(path) for path in (first, other, elsewhere)] == [4, 2, 4]


def test_a_file_that_cannot_be_migrated_is_one_line_and_the_others_are_migrated(
    command: Run, logs: Path
) -> None:
    sound = write_old_day(logs / "2023-11-20.db", RECORDS[:10])
    (logs / "2023-11-13.db").write_bytes(os.urandom(9000))
    (logs / "2023-11-14.db").touch()
    newer = write_day(logs / "2023-11-15.db", RECORDS[:10])
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("UPDATE meta SET value = 5 WHERE key = 'schema'")
        connection.commit()
    (logs / "2023-11-16.db").mkdir()

    result = command("migrate")

    assert result.code == 1
    assert version_of(sound) == VERSION
    assert [line.split(": ", 1)[0] for line in result.err.splitlines()] == ["fastlog migrate"] * 4
    for line, path, what in zip(
        result.err.splitlines(),
        sorted(logs.glob("2023-11-1*.db")),
        [
            "is damaged (file is not a database)",
            "is empty, and a day file never is",
            "has schema version 5, and this fastlog reads versions up to 4: upgrade fastlog-server,"
            " or move the file away",
            "is a directory, and not a day file",
        ],
        strict=True,
    ):
        assert line == f"fastlog migrate: {path} {what}"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("2023-11-14.db", "does not exist"),
        ("ledger.db", "has not the name of a day file, such as 2026-11-23.db"),
    ],
)
def test_a_name_of_no_day_file_is_an_error_and_makes_no_file(
    command: Run, tmp_path: Path, name: str, what: str
) -> None:
    assert command("migrate", tmp_path / name) == (
        1,
        "",
        f"fastlog migrate: {tmp_path / name} {what}\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_rebuild_makes_the_chunks_of_a_present_file_anew_and_migrates_an_old_one(
    command: Run, logs: Path
) -> None:
    present = write_day(logs / "2023-11-14.db", RECORDS)
    old = write_old_day(logs / "2023-11-13.db", RECORDS)
    with closing(sqlite3.connect(present)) as connection:
        connection.execute("DELETE FROM chunks")
        connection.commit()

    result = command("migrate", "--rebuild")

    assert [line.split("; ")[0] for line in result.out.splitlines()] == [
        f"{old}: migrated from version 2 to 4, gave unused space back",
        f"{present}: made chunks and counts anew",
    ]
    assert [health.trouble for health in examine(logs, deep=True)] == ["", ""]


def test_killed_at_any_statement_of_a_migration_the_file_has_its_records_and_is_sound(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", 40)
    path = write_old_day(logs / "2023-11-14.db", RECORDS[:200], version=1)
    before, old = rows_of(path), path.read_bytes()
    connect = sqlite3.connect

    def migrate_until(length: int) -> None:
        fuse = Fuse(length)

        def fused(*args: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*args, **options)
            connection.set_trace_callback(lambda _: fuse.spark())
            return connection

        with monkeypatch.context() as patched:
            patched.setattr(day_file.sqlite3, "connect", fused)
            with closing(day_file.DayFile(path)) as file:
                file.compact()

    versions: list[int] = []
    length, died = 0, True
    while died:
        path.write_bytes(old)
        died = in_child(lambda n=length: migrate_until(n)) == signal.SIGKILL  # type: ignore[misc]
        versions.append(version_of(path))
        assert rows_of(path) == before
        assert [health.trouble for health in examine(logs, deep=True)] == [""]
        for companion in logs.glob("*.db-*"):
            companion.unlink()
        length += 3
    assert len(versions) > 20
    assert versions == sorted(versions)
    assert {*versions} == {1, 2, 3, 4}


def test_check_names_a_command_that_repairs_what_it_found(command: Run, logs: Path) -> None:
    path = write_day(logs / "2023-11-14.db", RECORDS)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE site_counts SET records = records + 1")
        connection.commit()

    result = command("check", "--deep")

    assert result.code == 1
    [line] = [line for line in result.out.splitlines() if line.startswith("FAILED  day file")]
    assert line.startswith(f"FAILED  day file {path}: is searched and counted wrongly: ")
    [repair] = re.findall(r"`fastlog (migrate .*)`", line)
    assert command(*shlex.split(repair)).code == 0
    sound = f"ok      1 day file in {logs}: pages, chunks and counts are sound\n"
    assert sound in command("check", "--deep").out


def test_a_file_is_migrated_beside_its_reader_and_rebuilt_beside_its_writer(
    command: Run, logs: Path
) -> None:
    path = write_old_day(logs / "2023-11-14.db", RECORDS)
    with closing(sqlite3.connect(path)) as reader:
        messages = reader.execute("SELECT message FROM records ORDER BY created, rowid")
        first = messages.fetchone()
        assert command("migrate").code == 0
        assert [first, *messages] == [
            (record.message,) for record in sorted(RECORDS, key=lambda record: record.created)
        ]
    with closing(open_day(path)) as writer:
        append(writer, RECORDS)
        assert command("migrate", "--rebuild").code == 0
        append(writer, RECORDS)
    assert len(rows_of(path)) == 3 * len(RECORDS)
    assert [health.trouble for health in examine(logs, deep=True)] == [""]
