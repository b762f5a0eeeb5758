"""Parts of a store in order of arrival, with what chunks and counts say of a query: from any
position on, the same records as those that the evaluator chooses of all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from builders import NODE, decoded_of, make_chain
from day_files import START, START_NAME, make_record, write_day
from postgres_stores import Database, database, postgres_servers
from queries import parsed

from fastlog.decode import Batch, Decoded
from fastlog.query import COLUMNS, EVERYTHING, compile_query
from fastlog.search import Found, Progress, Unread, parts, postgres_parts
from fastlog.search.day_store import DayStore
from fastlog.search.postgres import PostgresStore
from fastlog.search.store import RecordStore
from fastlog.sinks import day_chunks, postgres_chunks

__all__ = ["database", "postgres_servers"]

COUNT = 400
QUERIES = (
    "", "needle", "needle level:error", "level:critical", "logger:rare", "extra.n=7", "nowhere",
    "message:/needle|pin/", "host:10.0.0.2", "needle OR level:critical", "NOT needle",
    f"created>={START + 100} created<{START + 300}", f"needle created<{START + 150}",
)  # fmt: skip


@pytest.fixture
def day_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DayStore:
    """Records of which a chunk covers 16, and the last few none. Their times are out of order."""
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", 16)
    monkeypatch.setattr(parts, "WINDOW", 50)
    records = [
        make_record(
            n,
            created=START + (n * 37 % COUNT),
            message=f"{'needle' if n % 41 == 0 else 'hay'} {n}",
            levelno=50 if n == 222 else 40 if n % 50 == 0 else 20,
            levelname="CRITICAL" if n == 222 else "ERROR" if n % 50 == 0 else "INFO",
            name="rare" if 60 < n < 63 else "app",
            host="10.0.0.2" if n > 390 else "10.0.0.1",
            extra=f'{{"n":{n}}}' if n % 7 == 0 else "{}",
        )
        for n in range(COUNT)
    ]
    for at in range(0, COUNT, 40):
        write_day(tmp_path / "logs" / START_NAME, records[at : at + 40], per_block=5)
    with closing(sqlite3.connect(tmp_path / "logs" / START_NAME)) as connection:
        [(chunks, covered)] = connection.execute("SELECT count(*), max(last_id) FROM chunks")
        assert chunks > 10 and covered <= COUNT
    return DayStore(tmp_path / "logs")


def failing(line: str) -> None:
    pytest.fail(line)


def assert_parts_have(store: RecordStore, text: str, expected: list[Found]) -> None:
    """Check the matches of a part, read from its start and from after each of its batches."""
    query, unread, progress = parsed(text), Unread(failing), Progress()
    [part] = store.parts(EVERYTHING, unread)
    batches = list(store.read_part(part, 0, query, progress, unread))
    assert (batches[-1].position, progress.read) == (part.end, part.end)
    assert [each for batch in batches for each in batch.found] == expected
    left = expected
    for batch in batches:
        left = left[len(batch.found) :]
        rest = store.read_part(part, batch.position, query, Progress(), unread)
        assert flat(rest) == left


def flat(batches: Iterator[parts.Batch]) -> list[Found]:
    return [each for batch in batches for each in batch.found]


def matching(some: list[Found], text: str) -> list[Found]:
    is_wanted = compile_query(parsed(text), COLUMNS)
    return [each for each in some if is_wanted((*each.record, each.node))]


def all_of(store: RecordStore) -> list[Found]:
    [part] = store.parts(EVERYTHING, Unread(failing))
    return flat(store.read_part(part, 0, EVERYTHING, Progress(), Unread(failing)))


@pytest.mark.parametrize("text", QUERIES)
def test_a_day_file_from_any_position_on(day_store: DayStore, text: str) -> None:
    some = all_of(day_store)
    assert [each.record.message.split()[1] for each in some] == [str(n) for n in range(COUNT)]
    assert_parts_have(day_store, text, matching(some, text))


@pytest.mark.parametrize("text", ["needle", "level:critical", "extra.n=7"])
def test_few_entries_of_a_day_file_are_looked_at(
    day_store: DayStore, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    looked_at = 0
    checked = parts.checked

    def counting(rows: Iterator[object]) -> Iterator[object]:
        nonlocal looked_at
        for row in checked(rows):
            looked_at += 1
            yield row

    monkeypatch.setattr(parts, "checked", counting)
    [part] = day_store.parts(EVERYTHING, Unread(failing))
    found = flat(day_store.read_part(part, 0, parsed(text), Progress(), Unread(failing)))
    assert 0 < len(found) <= looked_at < 40


def test_a_chunk_that_changes_meanwhile_is_read_entry_by_entry(
    day_store: DayStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = matching(all_of(day_store), "needle")
    [part] = day_store.parts(EVERYTHING, Unread(failing))
    batches = day_store.read_part(part, 0, parsed("needle"), Progress(), Unread(failing))
    found = next(batches).found
    with closing(sqlite3.connect(day_store.logs / START_NAME)) as connection, connection:
        connection.execute("DELETE FROM chunks WHERE rowid % 2 = 0")
    assert [*found, *flat(batches)] == some


def chain_of(count: int) -> list[Decoded]:
    """Return blocks, a minute each; the last record of every ninth is CRITICAL."""
    chain = make_chain(
        ([f"{'needle' if n % 7 == 0 else 'hay'} {n} {k}" for k in range(5)], START + 60 * n)
        for n in range(count)
    )
    return [
        decoded_of(
            each.block,
            [
                record._replace(
                    created=record.received,
                    levelname="CRITICAL" if n % 9 == 0 and record.idx == 4 else "INFO",
                )
                for record in each.records
            ],
        )
        for n, each in enumerate(chain)
    ]


JOURNAL_QUERIES = (
    "", "needle", "message:/needle .* 3/", "nowhere", "NOT needle", "level:info", "level:critical",
    "level:critical needle", "name=x",
)  # fmt: skip


@pytest.mark.parametrize("window", [postgres_chunks.SPAN, 1_000])
def test_a_journal_from_any_position_on(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(postgres_parts, "WINDOW", window)
    chain = chain_of(40)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(chain[:30]))
        monkeypatch.setattr(postgres_chunks, "SPAN", 700)
        sink.tick()
        sink._chunks.background.wait(60)
        sink.apply(Batch.of(chain[30:]))
    store = PostgresStore(urlsplit(database.url()))
    some = all_of(store)
    assert len(some) == 200
    for text in JOURNAL_QUERIES:
        assert_parts_have(store, text, matching(some, text))
