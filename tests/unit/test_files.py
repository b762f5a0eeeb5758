"""Replacing files: atomically, or in place on a full disk."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from faults import small_disk

from fastlog.files import replace_file, touch


def test_a_file_is_replaced_in_place_on_a_full_disk_if_it_has_the_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        path = disk / "status.json"
        replace_file(path, b'{"a": "long enough"}')
        with (disk / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError):
            while True:
                ballast.write(bytes(4096))
        with pytest.raises(OSError, match="No space"):
            replace_file(path, b'{"a": 1}')
        assert path.read_bytes() == b'{"a": "long enough"}'
        replace_file(path, b'{"a": 1}', in_place_if_full=True)
        assert path.read_bytes() == b'{"a": 1}            '
        replace_file(path, b'{"a": 2, "b": "longer than the file, not than its page"}',
                     in_place_if_full=True)  # fmt: skip
        assert path.read_bytes() == b'{"a": 2, "b": "longer than the file, not than its page"}'
        before = path.read_bytes()
        with pytest.raises(OSError, match="No space"):
            replace_file(path, bytes(5000), in_place_if_full=True)
        with pytest.raises(OSError, match="No space"):
            replace_file(disk / "new", b"x", in_place_if_full=True)
        assert path.read_bytes() == before
        assert {entry.name for entry in disk.iterdir()} == {"status.json", "ballast"}
        (disk / "ballast").unlink()
        replace_file(path, b"{}", in_place_if_full=True)
        assert path.read_bytes() == b"{}"


def test_a_connection_of_sqlite_keeps_its_locks_when_its_file_is_touched(tmp_path: Path) -> None:
    """Without them, a process that closes the database deletes the log that is still written to."""
    path = tmp_path / "ledger.db"
    touch(path)
    look = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        " print(c.execute('SELECT count(*) FROM t').fetchone()[0]); c.close()"
    )

    def count() -> int:
        done = subprocess.run([sys.executable, "-c", look, path], capture_output=True, check=True)
        return int(done.stdout)

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (n)")
        touch(path)
        assert count() == 0
        connection.execute("INSERT INTO t VALUES (1)")
        assert count() == 1
    assert count() == 1
