"""`fastlog import` into PostgreSQL: exact when repeated or killed, beside sinks of its journals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from builders import DAY, MONDAY, NODE, make_chain
from commands import Result, Run
from exports import OTHER, make_store
from poolers import pooler
from postgres_stores import Database, database, postgres_servers
from queries import parsed

from fastlog.config.urls import public_url
from fastlog.decode import Batch, Decoded
from fastlog.errors import FastlogError
from fastlog.search import Found
from fastlog.search.postgres import PostgresStore
from fastlog.search.postgres_health import examine_partitions
from fastlog.sinks import postgres_chunks
from fastlog.sinks.postgres_connection import connect, parse_url
from fastlog.transfer import additions, postgres_importer
from fastlog.transfer.postgres_importer import PostgresImporter

__all__ = ["database", "postgres_servers"]
pytestmark = pytest.mark.usefixtures("nothing_configured")

CHAIN = make_chain([([f"day {n}", "word"], MONDAY + n * DAY) for n in range(-2, 2)])
"""Blocks of the journal NODE, of four days."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "store")


@pytest.fixture
def exported(command: Run, store: Path) -> Path:
    assert command("export", "--data-dir", store, "--output", "all.ndjson").code == 0
    return Path("all.ndjson")


def import_(command: Run, database: Database, *sources: object) -> Result:
    result = command("import", *sources, "--store", database.url())
    return result._replace(out=result.out.replace(public_url(database.url()), "DB"))


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of an export, by journal. PostgreSQL writes 1e30 in digits."""
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    for each in found:
        each["extra"] = json.loads(json.dumps(each["extra"]), parse_int=float)
    return sorted(found, key=lambda each: (each["node"], each["offset"], each["idx"]))


def assert_sound(database: Database, records: int) -> None:
    """Check that rows, cursors, chunks and counts agree, and that every record can be found."""
    target = parse_url(urlsplit(database.url()))
    with closing(connect(target)) as connection:
        examined = list(examine_partitions(connection, target, deep=True))
    assert [each for each in examined if each.trouble] == []
    store = PostgresStore(urlsplit(database.url()))
    found = [(each.node, *each.record[-2:]) for each in store.search(parsed("message:/./"))]
    assert len(found) == len({*found}) == records


def found_of(chain: Sequence[Decoded], node: str = NODE) -> list[Found]:
    return [Found(record, node) for decoded in chain for record in decoded.records]


@contextmanager
def importing(database: Database) -> Iterator[PostgresImporter]:
    with PostgresImporter(database.url(), (), lambda name, reason: pytest.fail(reason)) as importer:
        yield importer


@pytest.mark.parametrize("kind", ["export", "directory"])
def test_an_import_has_all_columns_of_all_records_and_a_second_adds_nothing(
    command: Run, store: Path, exported: Path, database: Database, kind: str
) -> None:
    source = store if kind == "directory" else exported
    assert import_(command, database, source) == (0, "added 84 records to DB\n", "")
    again = import_(command, database, source, exported)
    assert again == (0, "added 0 records to DB; 168 were there already\n", "")
    words = ("export", "--output", "pg.ndjson", "--store", database.url())
    assert command(*words).code == 0
    assert lines(Path("pg.ndjson")) == lines(exported)
    assert_sound(database, 82)  # two have an empty message
    assert database.execute("SELECT sum(records) FROM fastlog.chunks") == [(84,)]


class Killed(BaseException):
    """What a test raises where a process is killed."""


@pytest.mark.parametrize("at", ["copy_into", "cover_added", "lock_chunks"])
def test_an_import_that_is_killed_anywhere_is_completed_by_repeating_it(
    command: Run, exported: Path, database: Database, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr(additions, "BATCH", 10)
    function = getattr(postgres_importer, at)
    for kills in range(3):
        left = kills

        def killing(*args: Any) -> None:
            nonlocal left
            function(*args)
            left -= 1
            if left < 0:
                raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(postgres_importer, at, killing)
            with pytest.raises(Killed):
                import_(command, database, exported)
    import_(command, database, exported)
    assert_sound(database, 82)
    assert import_(command, database, exported).out.startswith("added 0 ")


def test_lines_of_other_programs_have_no_days_of_their_own(
    command: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("app.log").write_text(f'{{"msg":"no time"}}\n{{"created":{MONDAY},"msg":"old"}}\n')
    for now, new in ((MONDAY + 10 * DAY, 2), (MONDAY + 12 * DAY, 0)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        assert import_(command, database, "app.log").out.startswith(f"added {new} ")
    assert_sound(database, 2)


def test_what_a_sink_will_store_is_left_to_it(database: Database, tmp_path: Path) -> None:
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(CHAIN[:2]))
        with importing(database) as importer:
            assert importer.add(found_of(CHAIN)) == (0, 4, 4, 0, 0)
        sink.apply(Batch.of(CHAIN[2:]))
        with importing(database) as importer:
            assert importer.add(found_of(CHAIN)) == (0, 8, 0, 0, 0)
    assert_sound(database, 8)


def test_what_retention_has_dropped_can_be_found_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies where the chunks of the journal cover everything."""
    monkeypatch.setattr(postgres_chunks, "SPAN", 1)
    with closing(database.sink(tmp_path, clock=lambda: MONDAY + 60)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(CHAIN))
        sink.tick()
        sink._chunks.background.wait(60)
        for table in ("chunks", "counts", "host_counts", "partitions"):
            database.execute(f"DELETE FROM fastlog.{table} WHERE day = '2026-11-22'")
        database.execute("DROP TABLE fastlog.records_20261122")
        with importing(database) as importer:
            assert importer.add(found_of(CHAIN)) == (2, 6, 0, 0, 0)
    assert_sound(database, 8)


@pytest.mark.parametrize("imported", [slice(0, 8, 3), slice(3, 6), slice(8)])
def test_a_sink_that_comes_later_adds_what_an_import_has_not(
    database: Database, tmp_path: Path, imported: slice
) -> None:
    with importing(database) as importer:
        importer.add(found_of(CHAIN)[imported])
    with closing(database.sink(tmp_path)) as sink:
        assert sink.open(NODE) == 0
        sink.apply(Batch.of(CHAIN[:1]))
        sink.apply(Batch.of(CHAIN[1:]))
    assert_sound(database, 8)
    with importing(database) as importer:
        assert importer.add(found_of(CHAIN)) == (0, 8, 0, 0, 0)


def test_a_sink_that_comes_meanwhile_ends_the_import(database: Database, tmp_path: Path) -> None:
    with importing(database) as importer, closing(database.sink(tmp_path)) as sink:
        importer.add(found_of(CHAIN)[:3])
        sink.open(NODE)
        sink.apply(Batch.of(CHAIN[:2]))
        with pytest.raises(FastlogError, match="stores into it now; repeat the import"):
            importer.add(found_of(CHAIN))
    with importing(database) as importer:
        assert importer.add(found_of(CHAIN)) == (0, 4, 4, 0, 0)
    assert_sound(database, 4)


def test_a_journal_that_was_abandoned_gets_what_its_sink_had_not_stored(
    database: Database, tmp_path: Path
) -> None:
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(CHAIN[:2]))
    database.execute("UPDATE fastlog.cursors SET updated = now() - interval '2 hours'")
    with importing(database) as importer:
        assert importer.add(found_of(CHAIN)[5:]) == (3, 0, 0, 0, 0)
    assert_sound(database, 7)
    with closing(database.sink(tmp_path)) as sink:  # it was not
        assert sink.open(NODE) == CHAIN[2].block.offset
        sink.apply(Batch.of(CHAIN[2:]))
    assert_sound(database, 8)


def test_what_the_database_rejects_is_named_and_the_rest_is_added(
    command: Run, exported: Path, database: Database
) -> None:
    first = json.loads(exported.read_text("utf-8").splitlines()[0])
    bad = first | {"offset": 1, "node": OTHER, "extra": {}}
    text = json.dumps(bad).replace('"extra": {}', '"extra": {"n": 1e200000}')
    with exported.open("a") as file:
        file.write(f"{text}\n{json.dumps(bad | {'node': 'ab'})}\n")
    result = import_(command, database, exported)
    assert (result.code, result.out) == (3, "added 84 records to DB; 2 were rejected\n")
    assert re.fullmatch(
        r"fastlog import: ab:1:0: its node is no UUID\n"
        rf"fastlog import: {OTHER}:1:0: .*numeric.*\n",
        result.err,
    )
    assert_sound(database, 82)


def test_two_imports_at_a_time_are_one_line(
    command: Run, exported: Path, database: Database
) -> None:
    with importing(database):
        result = import_(command, database, exported)
    assert (result.code, result.out) == (1, "")
    error = r"fastlog import: another import into postgresql://.* is running\n"
    assert re.fullmatch(error, result.err)


def test_an_import_goes_through_a_pooler_of_transactions(
    command: Run, exported: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(additions, "BATCH", 10)
    with pooler(database.server) as pgbouncer:
        words = ("import", exported, "--store", pgbouncer.url(database.name))
        assert command(*words).out.startswith("added 84 records")
        with importing(database):
            assert "another import into" in command(*words).err
        assert command(*words).out.startswith("added 0 records")
    assert_sound(database, 82)
