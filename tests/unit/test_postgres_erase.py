"""`fastlog erase` in a PostgreSQL store: what matches is gone, and nothing else."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from builders import MONDAY, NODE, decoded_of, make_block, make_record
from commands import Run, command_for
from postgres_stores import Database, database, postgres_servers
from queries import parsed

from fastlog import zstd
from fastlog.decode import Batch
from fastlog.query import EVERYTHING
from fastlog.search import Grouping, postgres_erasure
from fastlog.search.postgres import PostgresStore
from fastlog.search.postgres_health import examine_partitions
from fastlog.sinks import postgres_chunks
from fastlog.sinks.postgres_connection import connect, parse_url

__all__ = ["database", "postgres_servers"]

CHUNKS = "SELECT text FROM fastlog.chunks"
ROWS = (
    "SELECT levelname, count(*) FROM fastlog.records GROUP BY 1"
    " UNION ALL SELECT host, count(*) FROM fastlog.records GROUP BY 1"
)
TIMES = (MONDAY, MONDAY + 0.25, -60_000_000_000.0, 253_402_300_799.0, 1e10, -7.5)
"""Of the records, over many years."""


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    (tmp_path / "status.json").write_text('{"at": 0.0}')
    return command_for(tmp_path, capsys)


def fill(database: Database, tmp_path: Path) -> None:
    with closing(database.sink(tmp_path)) as sink:
        offset = sink.open(NODE)
        for at in (MONDAY - 86_400, MONDAY):
            messages = [f"{n}" for n in range(60)]
            block = make_block(messages, offset=offset, at=at)
            records = [
                make_record(
                    message, idx=n, offset=offset, received=at, created=TIMES[n % len(TIMES)],
                    extra=f'{{"user":{n % 5}}}',
                )
                for n, message in enumerate(messages)
            ]  # fmt: skip
            sink.apply(Batch.of([decoded_of(block, records)]))
            offset = block.end


def counts(store: PostgresStore) -> Counter[Any]:
    """Return the records by level and by host, from the counts as far as these go."""
    return sum(store.count(EVERYTHING, [Grouping(("level",)), Grouping(("host",))]), Counter())


def counted(database: Database) -> Counter[Any]:
    """Return the same, counted from rows."""
    return Counter({(value,): number for value, number in database.execute(ROWS)})


def test_what_matches_is_erased_from_the_database(
    database: Database, tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_erasure, "BATCH", 7)
    monkeypatch.setattr(postgres_chunks, "AT_ONCE", 1)  # the first block has chunks
    fill(database, tmp_path)
    url = database.url(password="hunter2")
    preview = command("erase", "--store", url, "--dry-run", "user=3")
    assert (preview.code, preview.out.splitlines()[0]) == (0, "24 records in 5 days match")
    assert len(database.messages()) == 120
    with closing(connect(parse_url(urlsplit(url)))) as connection:
        target, node = parse_url(urlsplit(url)), UUID(NODE)
        assert postgres_chunks.cover(connection, target, node, 1000)
        store = PostgresStore(urlsplit(url))
        before = counts(store)
        assert before == counted(database)
    result = command("erase", "--store", url, "--yes", "user=3")
    assert result.code == 0, result
    assert "erased 24 records" in result.out
    assert database.messages() == 2 * [f"{n}" for n in range(60) if n % 5 != 3]
    assert counts(store)["127.0.0.1",] == 96
    assert counts(store) == counted(database)
    with closing(connect(target)) as connection:
        examined = list(examine_partitions(connection, target, deep=True))
        assert [each.trouble for each in examined] == ["", ""]
    texts = b"".join(zstd.decompress(text) for (text,) in database.execute(CHUNKS))
    assert (texts.count(b"\0"), texts.count(b'"user":3'), texts.count(b'"user":2')) == (60, 0, 12)
    assert [each.record.message for each in store.search(parsed("user:3 OR user=3"))] == []
    assert len(list(store.search(parsed("user:2")))) == 24
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        [(store, fields, records)] = ledger.execute("SELECT store, fields, records FROM erasures")
    assert (fields, records) == ("extra.user", 24)
    assert "hunter2" not in store + result.out + result.err
    assert command("erase", "--store", url, "--yes", "user=3").code == 1
