"""Export from PostgreSQL, import into it, and a backup of a server whose database is behind."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from conditions import wait_for
from faults import numbers, stopped
from lossless_clients import FAST, Client
from postgres_stores import Database, database, postgres_servers
from servers import Server
from transfers import assert_prefix, killed_when, load, numbers_of_lines, run

from fastlog.search import postgres_parts
from fastlog.transfer import export_file
from fastlog.transfer.export_file import ExportFile

__all__ = ["database", "postgres_servers"]

MANY = 12_000
"""Records that an import adds in several transactions."""


def test_an_export_has_all_records_in_order(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = f'[[sink]]\nname = "pg"\nurl = "{database.url()}"\n'
    with Server(tmp_path, config=f'{sink}[[sink]]\nurl = "sqlite:"\n') as server:
        with Client(server.port, "a") as client:
            for _ in range(5):
                client.log(30)
                client.flush()
        wait_for(lambda: len(server.records()) == 150)
        wait_for(lambda: len(messages(database)) == 150)
        words = ("export", "--data-dir", server.data, "--output")
        of_postgres, of_days = tmp_path / "pg.ndjson", tmp_path / "days.ndjson"
        monkeypatch.setattr(postgres_parts, "WINDOW", 5_000)
        with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
            patched.setattr(export_file, "SAVE_INTERVAL", 0.0)
            reached, left = ExportFile.reached, iter(range(3, -1, -1))

            def failing(self: ExportFile, *at: int) -> None:
                reached(self, *at)
                assert 1 / next(left)

            patched.setattr(ExportFile, "reached", failing)
            run(*words, of_postgres, "--store", database.url())
        assert not of_postgres.exists()
        run(*words, of_postgres, "--store", database.url(), "--resume")
        run(*words, of_days, "--store", f"sqlite://{server.logs}")
        assert lines(of_postgres) == lines(of_days)
        assert numbers_of_lines(of_days) == {"a": [*range(1, 151)]}


def test_an_import_that_is_killed_beside_a_server_is_completed_by_repeating_it(
    tmp_path: Path, database: Database
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    config = f'{FAST}[[sink]]\nname = "pg"\nurl = "{database.url()}"\n'
    with (
        Server(tmp_path / "one", config=FAST) as one,
        Server(tmp_path / "two", config=config) as two,
    ):
        with Client(one.port, "bulk") as bulk:
            bulk.log(MANY)
            bulk.flush()
            wait_for(lambda: one.stored() == MANY)
        run("export", "--data-dir", one.data, "--output", tmp_path / "all.ndjson")
        with load(two) as client:
            wait_for(lambda: len(messages(database)) > 0)
            words = ("import", tmp_path / "all.ndjson", "--config", two.home / "fastlog.toml")
            was_killed = [
                killed_when(partial(has_imported, database, records), *words)
                for records in (0, 1, 5_001)
            ]
            assert any(was_killed)
            run(*words)
        again = run(*words)
        assert again.startswith("added 0 records") and f"{MANY:,} were there already" in again
        wait_for(lambda: numbers_in(database)["load"][-1] == client.sent)
        found = numbers_in(database)
        assert found["bulk"] == [*range(1, MANY + 1)]
        assert_prefix(found["load"], client.sent)
        assert_prefix(found["stock"], 1, first=0)
        checked = run("check", "--deep", *words[2:], "--data-dir", two.data)
        assert "rows and cursors are sound" in checked


def has_imported(database: Database, least: int) -> bool:
    [(made,)] = database.execute("SELECT to_regclass('fastlog.records') IS NOT NULL")
    if not made:
        return False
    [(records,)] = database.execute(
        "SELECT coalesce(sum(records), 0) FROM fastlog.chunks"
        " JOIN fastlog.cursors USING (node) WHERE imported > 0"
    )
    return bool(records >= least)


def numbers_in(database: Database) -> dict[str, list[int]]:
    """Return the numbers of the records in a database, by client."""
    rows = database.execute('SELECT extra::text FROM fastlog.records ORDER BY node, "offset", idx')
    return numbers([{"extra": extra} for (extra,) in rows])


def messages(database: Database) -> list[str]:
    [(made,)] = database.execute("SELECT to_regclass('fastlog.records') IS NOT NULL")
    return database.messages() if made else []


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_restore_stores_what_the_database_had_not(tmp_path: Path, database: Database) -> None:
    config = f'[[sink]]\nname = "pg"\nurl = "{database.url()}"\n'
    with Server(tmp_path, config=config) as server, Client(server.port, "a") as client:
        client.log(20)
        client.flush()
        wait_for(lambda: len(messages(database)) == 20)
        with stopped(server.children()["worker pg"]):
            client.log(30)
            client.flush()
            options = ("--config", tmp_path / "fastlog.toml", "--data-dir", server.data)
            run("backup", tmp_path / "backups", *options)
            server.kill()
    (tmp_path / "empty.toml").write_text("")
    words = ("restore", tmp_path / "backups", tmp_path / "new", "--config")
    error = run(*words, tmp_path / "empty.toml", code=1)
    assert "sink pg (postgresql://" in error and "had not stored all" in error
    run(*words, tmp_path / "fastlog.toml")
    assert len(messages(database)) == 50
    rows = database.execute("SELECT extra->>'number' FROM fastlog.records ORDER BY \"offset\", idx")
    assert [int(number) for (number,) in rows] == [*range(1, 51)]
    new = Server(tmp_path / "home", config=config)
    new.home.mkdir()
    new.data = tmp_path / "new"
    with new:
        with Client(new.port, "b") as client:
            client.log(5)
            client.flush()
        wait_for(lambda: len(messages(database)) == 55)
