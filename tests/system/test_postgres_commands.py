"""The commands search a PostgreSQL store: of the configuration, or of `--store`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conditions import wait_for, wait_past_midnight
from postgres_stores import Database, database, postgres_servers
from senders import stock_frame
from servers import FASTLOG, Server

__all__ = ["database", "postgres_servers"]


@pytest.fixture
def server(tmp_path: Path, database: Database) -> Iterator[Server]:
    """A server that stores in PostgreSQL, with ten records of one day, three of them errors."""
    wait_past_midnight()
    config = f'[[sink]]\nname = "pg"\nurl = "{database.url()}"\n'
    with Server(tmp_path, config=config) as server:
        send(server, range(10))
        counted = "SELECT count(*) FROM fastlog.records"
        wait_for(lambda: stored(database, counted) == 10)
        yield server


def stored(database: Database, sql: str) -> int:
    [(made,)] = database.execute("SELECT to_regclass('fastlog.records') IS NOT NULL")
    return int(database.execute(sql)[0][0]) if made else 0


def send(server: Server, numbers: range) -> None:
    with server.connect() as client:
        for n in numbers:
            client.sendall(stock_frame(f"message {n}", 40 if n % 3 == 1 else 20, user=n))


def run(home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in (FASTLOG, *words)], cwd=home, capture_output=True, text=True,
        check=False, timeout=60, env={**os.environ, "FASTLOG_DATA_DIR": "data"},
    )  # fmt: skip


@pytest.mark.parametrize("is_named", [False, True])
def test_query_and_stats(
    tmp_path: Path, server: Server, database: Database, is_named: bool
) -> None:
    store = ("--store", database.url()) if is_named else ("--config", "fastlog.toml")
    errors = run(tmp_path, "query", *store, "level:error", "--json")
    assert errors.returncode == 0, errors.stderr
    assert [json.loads(line)["extra"] for line in errors.stdout.splitlines()] == [
        {"user": user} for user in (1, 4, 7)
    ]
    by = run(tmp_path, "query", *store, "message", "--by", "level", "--json")
    assert [json.loads(line) for line in by.stdout.splitlines()] == [
        {"level": "INFO", "records": 7}, {"level": "ERROR", "records": 3},
    ]  # fmt: skip
    assert run(tmp_path, "query", *store, "nowhere").returncode == 1
    around = run(tmp_path, "query", *store, "user=4", "-C1", "--format", "{message}")
    assert around.stdout.splitlines() == ["message 3", "message 4", "message 5"]
    bars = run(tmp_path, "query", *store, "--histogram=1d")
    assert bars.returncode == 0
    assert "10" in bars.stdout
    stats = json.loads(run(tmp_path, "stats", *store, "--json").stdout)
    assert (stats["records"], stats["levels"]) == (10, {"INFO": 7, "ERROR": 3})


def test_pages_of_a_query(tmp_path: Path, server: Server, database: Database) -> None:
    store = ("--store", database.url())
    found: list[str] = []
    cursor: tuple[str, ...] = ()
    for _ in range(4):
        page = run(tmp_path, "query", *store, "--limit", 4, "--json", *cursor)
        found = [*(json.loads(line)["message"] for line in page.stdout.splitlines()), *found]
        if "--cursor" not in page.stderr:
            break
        cursor = ("--cursor", page.stderr.split("--cursor ")[1].split()[0])
    assert found == [f"message {n}" for n in range(10)]


def test_tail_follows(tmp_path: Path, server: Server, database: Database) -> None:
    tail = subprocess.Popen(
        [FASTLOG, "tail", "-f", "-n", "1", "--store", database.url(), "--format", "{message}"],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert tail.stdout is not None
    try:
        assert tail.stdout.readline() == "message 9\n"
        send(server, range(10, 13))
        assert [tail.stdout.readline() for _ in range(3)] == [
            f"message {n}\n" for n in range(10, 13)
        ]
    finally:
        tail.kill()
        tail.wait()
        tail.stdout.close()


def test_check_tries_the_database(tmp_path: Path, server: Server, database: Database) -> None:
    good = run(tmp_path, "check", "--config", "fastlog.toml")
    assert f"ok      sink pg: postgresql:///{database.name}" in good.stdout
    bad = run(tmp_path, "check", "--config", "fastlog.toml", "--data-dir", tmp_path / "other")
    assert "sink pg" in bad.stdout
    text = (tmp_path / "fastlog.toml").read_text().replace(database.name, "nowhere")
    (tmp_path / "other.toml").write_text(text)
    lost = run(tmp_path, "check", "--config", "other.toml")
    assert lost.returncode == 1
    assert "FAILED  sink pg: postgresql:///nowhere: " in lost.stdout


def test_errors_are_one_line(tmp_path: Path, server: Server, database: Database) -> None:
    url = database.url().replace(database.name, "nowhere")
    (tmp_path / "other.toml").write_text("")
    for words, code, text in (
        (("query", "--store", url), 1, "postgresql:///nowhere: "),
        (("tail", "--store", url), 1, "postgresql:///nowhere: "),
        (("query", "--store", "mysql://x"), 2, "expected sqlite:///directory or postgresql://"),
        (
            ("query", "--config", "other.toml"),
            2,
            "name the database with --store, or the configuration with --config",
        ),
    ):
        done = run(tmp_path, *words)
        assert (done.returncode, done.stdout) == (code, "")
        [line] = done.stderr.splitlines()
        assert text in line


def test_psycopg_is_imported_only_for_postgresql() -> None:
    code = "import sys, fastlog.cli.query, fastlog.cli.tail, fastlog.cli.stats; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "psycopg" not in done.stdout.split()


def test_top_counts_by_minute(tmp_path: Path, server: Server, database: Database) -> None:
    with server.connect() as client:
        for n in range(4):
            client.sendall(stock_frame(f"now {n}", 50, created=time.time()))
    wait_for(lambda: stored(database, "SELECT count(*) FROM fastlog.records") == 14)
    for store in (("--store", database.url()), ("--config", "fastlog.toml")):
        done = run(tmp_path, "top", *store)
        assert (done.returncode, done.stderr) == (0, "")
        [line] = [line for line in done.stdout.splitlines() if line.startswith("CRITICAL")]
        assert line.split()[2] == "4"


def test_check_reads_the_partitions(tmp_path: Path, server: Server, database: Database) -> None:
    words = ("check", "--config", "fastlog.toml")
    place = f"partitions in postgresql:///{database.name}, schema fastlog"
    assert re.search(rf"ok      \d {place}: no fault found; --deep", run(tmp_path, *words).stdout)
    deep = run(tmp_path, *words, "--deep")
    assert re.search(rf"ok      \d {place}: rows and cursors are sound", deep.stdout), deep.stdout
    today = f"records_{datetime.now(UTC):%Y%m%d}"
    database.execute(
        f"INSERT INTO fastlog.records SELECT * FROM fastlog.{today} LIMIT 1;"
        f"UPDATE fastlog.{today} SET \"offset\" = 1::int8 << 40 WHERE message = 'message 5';"
        f"UPDATE fastlog.{today} SET created_at = now() - interval '1 year'"
        " WHERE message = 'message 6'"
    )
    deep = run(tmp_path, *words, "--deep")
    assert deep.returncode == 1
    assert (
        f"FAILED  partition fastlog.{today}: 1 records are above the cursor of their journal; 1"
        " records have a created_at that differs from created; 1 records are stored more than once"
    ) in deep.stdout


def test_what_retention_would_drop(tmp_path: Path, server: Server, database: Database) -> None:
    database.execute(
        "CREATE TABLE fastlog.records_20200101 (LIKE fastlog.records INCLUDING ALL);"
        "ALTER TABLE fastlog.records ATTACH PARTITION fastlog.records_20200101"
        " FOR VALUES FROM ('2020-01-01Z') TO ('2020-01-02Z');"
        "INSERT INTO fastlog.partitions (name, day, made)"
        " VALUES ('records_20200101', '2020-01-01', '2020-01-01')"
    )
    done = run(tmp_path, "check", "--config", "fastlog.toml", "--retention=days=7")
    assert done.returncode == 0, done.stderr
    first, total = done.stdout.splitlines()
    dropped = "ok      partition fastlog.records_20200101: would be dropped: older than 7 days; "
    assert first.startswith(dropped)
    assert re.search(r"ok      retention of sink pg: would drop 1 of \d partitions, ", total)
    assert database.execute("SELECT to_regclass('fastlog.records_20200101') IS NOT NULL") == [
        (True,)
    ]
