"""The commands search a PostgreSQL store: of the configuration, or of `--store`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from postgres_stores import Database, database, postgres_servers
from senders import stock_frame
from servers import FASTLOG, Server

__all__ = ["database", "postgres_servers"]


@pytest.fixture
def server(tmp_path: Path, database: Database) -> Iterator[Server]:
    """A server that stores in PostgreSQL, with ten records, three of them errors."""
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
