"""Ledgers of other versions, and damaged ones."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from builders import MONDAY, NODE
from ledger_rows import entry, loss, rejection, table

from fastlog.errors import ConfigError
from fastlog.ledger import SCHEMA, Ledger, limits

VERSION_1 = """
CREATE TABLE rejected (
    node TEXT NOT NULL, offset INTEGER NOT NULL, idx INTEGER NOT NULL, sink TEXT NOT NULL,
    received REAL NOT NULL, peer TEXT NOT NULL, reason TEXT NOT NULL,
    length INTEGER NOT NULL, count INTEGER NOT NULL, raw BLOB NOT NULL,
    PRIMARY KEY (node, offset, idx, sink)
);
CREATE TABLE losses (
    node TEXT NOT NULL, offset INTEGER NOT NULL, idx INTEGER NOT NULL, sink TEXT NOT NULL,
    peer TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
    first REAL NOT NULL, last REAL NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (node, offset, idx, sink)
);
CREATE TABLE entered (
    node TEXT NOT NULL, sink TEXT NOT NULL, offset INTEGER NOT NULL, summed INTEGER NOT NULL,
    PRIMARY KEY (node, sink)
);
CREATE TABLE seconds (
    node TEXT NOT NULL, tab TEXT NOT NULL, second INTEGER NOT NULL, kind TEXT NOT NULL,
    name TEXT NOT NULL, rows INTEGER NOT NULL, shared INTEGER,
    PRIMARY KEY (node, tab, second, kind, name)
);
INSERT INTO losses VALUES ('ab', 0, 0, '', '', 'full', 7, 1.0, 2.0, '');
INSERT INTO losses VALUES ('ab', 0, 1, '', '', 'much', 9e18, 1.0, 2.0, '');
INSERT INTO entered VALUES ('ab', '', 100, 0);
INSERT INTO seconds VALUES ('ab', 'losses', 253402300000, 'all', '', 1, NULL);
"""


def test_a_ledger_of_the_first_version_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    with Ledger(path) as ledger:
        ledger.open()
        assert ledger.record("ab", [entry(50, 0, loss()), entry(100, 0, loss())], 200) == 100
    assert table(path, "PRAGMA user_version") == [(SCHEMA,)]
    counts = "SELECT count FROM losses ORDER BY offset, idx"
    assert table(path, counts) == [(7,), (limits.MAX_COUNT,), (3,)]
    assert table(path, "SELECT DISTINCT second FROM seconds") == [(2,)]


def test_a_ledger_of_a_newer_version_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
        connection.execute("CREATE TABLE news (a)")
    before = path.read_bytes()
    for call in (Ledger(path).open, lambda: Ledger(path).record(NODE, [entry(0, 0, loss())], 1)):
        with pytest.raises(ConfigError, match=r"ledger\.db has layout 3.* install") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def fill(path: Path) -> None:
    with Ledger(path) as ledger:
        for n in range(40):
            notices = [rejection(f"10.0.0.{k}:1", raw=b"r" * 500, at=MONDAY + n) for k in range(9)]
            ledger.record(NODE, [entry(n, k, each) for k, each in enumerate(notices)], n + 1)


DAMAGES = {
    "random bytes": lambda data: random.Random(1).randbytes(len(data)),
    "a header of random bytes": lambda data: random.Random(1).randbytes(100) + data[100:],
    "random bytes behind the first page": lambda data: (
        data[:4096] + random.Random(1).randbytes(len(data) - 4096)
    ),
    "cut in half": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "another database": lambda data: other_database(),
}


def other_database() -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE rejected (something)")
        return connection.serialize()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_ledger_is_set_aside_and_the_new_one_records_that(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.db"
    fill(path)
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    with Ledger(path) as first, Ledger(path) as second:
        first.record(NODE, [entry(100, 0, rejection())], 101)
        second.record(NODE, [entry(100, 0, rejection()), entry(200, 0, loss())], 201)
        first.record(NODE, [entry(200, 0, loss()), entry(300, 0, loss())], 301)
    if broken.strip(b"\0"):  # what SQLite takes for an empty file may be used again
        assert (tmp_path / "ledger.db.damaged").read_bytes() == broken
        damaged = table(path, "SELECT count, reason FROM losses WHERE node = ''")
        assert damaged == [(-1, "the ledger was damaged; it is kept as ledger.db.damaged")]
        assert [len(r.message.splitlines()) for r in caplog.records] == [1]
    counts = "SELECT offset FROM rejected UNION ALL SELECT offset FROM losses WHERE node <> ''"
    assert sorted(table(path, counts)) == [(100,), (200,), (300,)]


def test_a_worker_continues_in_the_new_ledger_after_the_open_one_was_renamed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as holder:
        holder.record(NODE, [entry(0, 0, loss())], 1)
        path.rename(tmp_path / "elsewhere.db")
        holder.record(NODE, [entry(100, 0, loss())], 101)
    assert table(path, "SELECT offset FROM losses") == [(100,)]


SUCCESSOR = """
import sys
from pathlib import Path
from fastlog.ledger import Entry, Ledger
from fastlog.record import Loss

path = Path(sys.argv[1])
old, new = Ledger(path), Ledger(path)
old.record("ab", [Entry(0, 0, Loss("", "old", 1, 1.0, 1.0))], 1)
for part in ("-wal", "-shm", ""):
    path.with_name(path.name + part).rename(path.with_name("aside" + part))
new.record("ab", [Entry(1, 0, Loss("", "new", 1, 1.0, 1.0))], 2)
old.close()
print("closed", flush=True)
sys.stdin.read()
"""


def test_closing_the_old_file_does_not_delete_the_log_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with subprocess.Popen(
        [sys.executable, "-c", SUCCESSOR, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"closed\n"
        log = path.with_name("ledger.db-wal")
        before = log.stat()
        with Ledger(path) as mine:
            mine.record("ab", [entry(2, 0, loss())], 3)
            process.stdin.close()
            assert process.wait(30) == 0
            assert log.stat().st_ino == before.st_ino
            mine.record("ab", [entry(3, 0, loss())], 4)
    assert table(path, "SELECT offset FROM losses") == [(1,), (2,), (3,)]
