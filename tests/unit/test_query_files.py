"""Searches of files that are being written, protected, deleted, damaged, or not there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from day_files import append, make_record, open_day, write_day
from places import SUPPORT
from searches import messages

from fastlog.errors import FastlogError
from fastlog.search import Unread, day_reader, search


def test_nothing_is_found_where_nothing_is_stored(tmp_path: Path):
    assert messages(tmp_path / "missing") == []
    with closing(open_day(tmp_path / "2026-11-23.db")):
        assert messages(tmp_path) == []
    (tmp_path / "2026-11-24.db").touch()  # a file that its server has just created
    (tmp_path / "notes.db").write_text("another file")
    assert messages(tmp_path) == []


def test_a_search_sees_what_was_committed_while_the_writer_continues(tmp_path: Path):
    with closing(open_day(tmp_path / "2026-11-23.db")) as writer:
        append(writer, [make_record(0), make_record(2)])
        writer.connection.execute("BEGIN IMMEDIATE")
        writer.connection.execute("UPDATE entries SET message = 'not yet'")
        assert messages(tmp_path) == ["message 0", "message 2"]
        writer.connection.execute("ROLLBACK")
        records = search(tmp_path)
        append(writer, [make_record(1)])  # after the search began: not in it
        assert [found.record.message for found in records] == ["message 0", "message 2"]


KILLED = """
import os, sys
from pathlib import Path
from day_files import append, make_record, open_day
append(open_day(Path(sys.argv[1])), [make_record(0)])
os.kill(os.getpid(), 9)
"""


def test_a_file_whose_writer_was_killed_is_read(tmp_path: Path):
    path = tmp_path / "2026-11-23.db"
    env = os.environ | {"PYTHONPATH": str(SUPPORT)}
    subprocess.run([sys.executable, "-c", KILLED, path], env=env, check=False)
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    assert messages(tmp_path) == ["message 0"]


READ_ONLY_USER = """
import os, sys
from pathlib import Path
from fastlog.search import search
if os.geteuid() == 0:  # root may write everywhere
    os.setuid(65534)
assert not os.access(sys.argv[1], os.W_OK)
for found in search(Path(sys.argv[1])):
    print(found.record.message)
"""


@pytest.mark.parametrize("stopped", [True, False])
def test_a_file_is_read_by_a_user_without_write_permission(stopped: bool):
    with tempfile.TemporaryDirectory() as name:  # only its owner can enter tmp_path
        logs = Path(name)
        with closing(open_day(logs / "2026-11-23.db")) as writer:
            append(writer, [make_record(0)])
            if stopped:
                writer.close()
            files = list(logs.iterdir())
            assert len(files) == (1 if stopped else 3)
            for file in files:
                file.chmod(0o644)
            logs.chmod(0o555)
            command = [sys.executable, "-c", READ_ONLY_USER, name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            logs.chmod(0o755)
        assert (done.stdout, done.stderr) == ("message 0\n", "")


def test_a_file_that_retention_deletes_during_the_search_is_skipped(tmp_path: Path):
    for day in range(3):
        write_day(tmp_path / f"2026-11-0{day + 1}.db", [make_record(day)])
    records = search(tmp_path)
    assert next(records).record.message == "message 0"
    (tmp_path / "2026-11-02.db").unlink()
    assert [found.record.message for found in records] == ["message 2"]


def test_a_file_that_is_deleted_after_it_was_listed_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_day(tmp_path / "2026-11-23.db", [make_record(0)])
    listed = [tmp_path / "2026-11-22.db", tmp_path / "2026-11-23.db"]
    monkeypatch.setattr(day_reader, "list_files", lambda logs: listed)
    assert messages(tmp_path) == ["message 0"]


def test_a_file_that_is_no_database_is_an_error_without_unread(tmp_path: Path):
    path = tmp_path / "2026-11-23.db"
    path.write_text("not a database, but long enough to look at" * 30)
    with pytest.raises(FastlogError, match="file is not a database"):
        messages(tmp_path)
    lines: list[str] = []
    unread = Unread(lines.append)
    assert messages(tmp_path, unread=unread) == []
    assert lines == [
        f"{path} is damaged (file is not a database); some or all of its records are left out"
    ]
