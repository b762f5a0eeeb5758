"""Chunks and counts of a PostgreSQL store: made soon after the rows, dropped with their day."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from builders import DAY, MONDAY, NODE, decoded_of, make_chain
from postgres_stores import Database, database, every_database, postgres_servers
from queries import parsed

from fastlog.cli.checks import State
from fastlog.cli.postgres_checks import check_partitions
from fastlog.config import RetentionConfig, SinkConfig, format_size
from fastlog.decode import Batch
from fastlog.search import postgres_health
from fastlog.search.postgres import PostgresStore
from fastlog.search.postgres_health import examine_partitions
from fastlog.sinks import postgres_chunks, postgres_summaries
from fastlog.sinks.postgres import PostgresSink
from fastlog.sinks.postgres_background import Background
from fastlog.sinks.postgres_connection import Connection, connect, own_transaction, parse_url
from fastlog.sinks.postgres_summaries import OffsetSummaries

__all__ = ["database", "every_database", "postgres_servers"]

CONTENTS = [([f"day {n}", "word"], MONDAY + n * DAY) for n in range(-2, 1)]
CHAIN = make_chain(CONTENTS)


@pytest.fixture(autouse=True)
def small_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_chunks, "SPAN", 1)


def make(database: Database, tmp_path: Path, **options: Any) -> PostgresSink:
    sink = database.sink(tmp_path, clock=lambda: MONDAY + 60, **options)
    sink.open(NODE)
    sink.apply(Batch.of(CHAIN))
    return sink


def cover(sink: PostgresSink) -> None:
    sink.tick()
    sink._chunks.background.wait(60)


def sums(database: Database) -> list[int]:
    return [
        int(database.execute(f"SELECT coalesce(sum(records), 0) FROM fastlog.{table}")[0][0])
        for table in ("chunks", "counts", "host_counts")
    ]


def troubles(database: Database) -> list[str]:
    target = parse_url(urlsplit(database.url()))
    with closing(connect(target)) as connection:
        return [
            each.trouble
            for each in examine_partitions(connection, target, deep=True)
            if each.trouble
        ]


def test_a_sink_covers_what_it_has_stored(every_database: Database, tmp_path: Path) -> None:
    with closing(make(every_database, tmp_path)) as sink:
        cover(sink)
        cover(sink)  # nothing twice
    assert sums(every_database) == [6, 6, 6]
    assert troubles(every_database) == []
    store = PostgresStore(urlsplit(every_database.url()))
    assert [each.record.message for each in store.search(parsed("DAY"))] == [
        f"day {n}" for n in range(-2, 1)
    ]


@pytest.mark.parametrize("busy", [5, 6])
def test_a_busy_sink_makes_chunks_with_pauses(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: int
) -> None:
    monkeypatch.setattr(postgres_chunks, "BUSY", busy)
    monkeypatch.setattr(postgres_chunks, "SHARE", 0.01)
    with closing(make(database, tmp_path)) as sink:
        pauses: list[float] = []
        pause = sink._chunks.background.pause
        monkeypatch.setattr(
            sink._chunks.background, "pause", lambda each: pauses.append(each) or pause(0)
        )
        cover(sink)
    assert sums(database) == [6, 6, 6]
    assert {each > 0 for each in pauses} == {busy == 5}


def test_many_spans_are_covered_at_once(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In spans of one byte, each block is one; the last is not complete at first."""
    with closing(make(database, tmp_path)) as sink:
        node, connection = UUID(NODE), sink._ready()
        monkeypatch.setattr(postgres_chunks, "AT_ONCE", 100_000)
        assert postgres_chunks.cover(connection, sink._target, node)
        assert not postgres_chunks.cover(connection, sink._target, node)
        sql = 'SELECT "begin", "end", records FROM fastlog.chunks ORDER BY 1'
        offsets = [each.block.offset for each in CHAIN]
        assert database.execute(sql) == [(offset, offset + 1, 2) for offset in offsets]
    assert troubles(database) == []


def test_ranges_of_pages_get_summaries_as_soon_as_they_are_full(
    every_database: Database, tmp_path: Path
) -> None:
    """Of the partition that is stored into, and without that of tomorrow."""
    pages = "pg_relation_size('fastlog.records_20261123') / 8192"
    every_database.execute("CREATE EXTENSION pageinspect")
    sql = (
        "SELECT blknum::int"
        " FROM brin_page_items(get_raw_page('fastlog.records_20261123_offset_idx', 2),"
        " 'fastlog.records_20261123_offset_idx') WHERE NOT placeholder ORDER BY 1"
    )
    with closing(make(every_database, tmp_path)) as sink:
        summaries, connection = OffsetSummaries(sink._target), sink._ready()
        summaries.complete(connection)
        assert every_database.execute(sql) == [(0,)]
        sink.apply(Batch.of(make_chain([*CONTENTS, (["x" * 1500] * 1200, MONDAY)])[3:]))
        assert every_database.execute(f"SELECT {pages} > 256") == [(True,)]
        assert every_database.execute(sql) == [(0,)]
        summaries.complete(connection)
        assert every_database.execute(sql) == [(0,), (128,)]


def test_the_rows_of_one_journal_are_found_among_those_of_others(
    every_database: Database, tmp_path: Path
) -> None:
    """Journals at very different offsets share the pages of a partition."""
    with closing(every_database.sink(tmp_path)) as sink:
        sink.open(NODE)
        chain = make_chain([(["x" * 1500] * 20, MONDAY)] * 80)
        for number, decoded in enumerate(chain):  # six journals in turns
            sink._ready().execute(
                'UPDATE fastlog.cursors SET "offset" = 0 WHERE node = %s', (NODE,)
            )
            sink._cursor = 0
            at = (number % 6) * 10**9 + number
            block = replace(decoded.block, offset=at, end=at + 1)
            rows = [record._replace(offset=at) for record in decoded.records]
            sink.apply(Batch.of([decoded_of(block, rows)]))
        OffsetSummaries(sink._target).complete(sink._ready())
    with every_database.server.connect(every_database.name) as connection:
        connection.execute("ANALYZE fastlog.records; SET enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM fastlog.records_20261123"
            ' WHERE "offset" >= 3000000040 AND "offset" < 3000000050'
        )
        [[[found]]] = plan.fetchall()
    scan = found["Plan"]
    assert scan["Actual Rows"] == 20
    assert scan["Rows Removed by Index Recheck"] + 20 < 800


def test_summaries_are_left_out_where_they_are_being_made_or_the_role_may_not(
    database: Database, tmp_path: Path
) -> None:
    with closing(make(database, tmp_path)) as sink:
        summaries = OffsetSummaries(sink._target)
        with database.server.connect(database.name) as vacuum, vacuum.transaction():
            vacuum.execute("LOCK TABLE fastlog.records_20261123 IN SHARE UPDATE EXCLUSIVE MODE")
            summaries.complete(sink._ready())
            assert summaries._done == {}
        summaries.complete(sink._ready())
        assert len(summaries._done) == 2
    role = f"other_{database.name}"
    database.execute(
        f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA fastlog TO {role};"
        f"GRANT ALL ON ALL TABLES IN SCHEMA fastlog TO {role}"
    )
    target = parse_url(urlsplit(database.url(role)))
    with closing(connect(target)) as connection:
        summaries = OffsetSummaries(target)
        summaries.complete(connection)
        assert not summaries._is_allowed
        summaries.complete(connection)


def test_a_partition_that_is_dropped_at_this_moment_gets_no_summaries(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalogue as the transaction sees it still has it; its size is not known any more."""

    @contextmanager
    def dropping(connection: Connection, *args: Any, **settings: Any) -> Iterator[None]:
        with own_transaction(connection, *args, **settings):
            database.execute("DROP TABLE fastlog.records_20261123")
            yield

    monkeypatch.setattr(postgres_summaries, "own_transaction", dropping)
    with closing(make(database, tmp_path)) as sink:
        sink._ready().execute("SET default_transaction_isolation TO 'repeatable read'")
        summaries = OffsetSummaries(sink._target)
        summaries.complete(sink._ready())
        assert len(summaries._done) == 1, "that of tomorrow"


def test_an_error_of_the_work_in_the_background_is_logged_once(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    background = Background("pg", parse_url(urlsplit(database.url())), "make chunks")
    for _ in range(2):
        background.begin(lambda connection: [].pop())
        background.wait(30)
    [record] = caplog.records
    text = "sink pg: cannot make chunks: IndexError: pop from empty list"
    assert (record.getMessage(), bool(record.exc_info)) == (text, True)


def test_chunks_and_counts_go_with_their_partition(database: Database, tmp_path: Path) -> None:
    now = 0.0
    sink = make(database, tmp_path, steady=lambda: now, retention=RetentionConfig(age=0.5 * DAY))
    with closing(sink):
        cover(sink)
        database.execute("UPDATE fastlog.partitions SET made = day")
        sink._retention.retire(sink._ready(), MONDAY + 3600, None)
    assert len(database.messages()) == 4
    assert sums(database) == [4, 4, 4]
    assert troubles(database) == []


def test_chunks_and_counts_go_when_a_dropped_partition_is_made_again(
    database: Database, tmp_path: Path
) -> None:
    chain = make_chain([*CONTENTS, (["later"], MONDAY)])
    with closing(make(database, tmp_path)) as sink:
        cover(sink)
        database.execute("DROP TABLE fastlog.records_20261123")
        sink.apply(Batch.of(chain[-1:]))
        assert sums(database) == [4, 4, 4]
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        cover(sink)
    assert len(database.messages()) == 5
    assert troubles(database) == []


def test_a_connection_that_is_lost_in_the_background_is_reported_by_the_sink_only(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(make(database, tmp_path)) as sink:
        sink._chunks.background.begin(
            lambda connection: connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        )
        sink._chunks.background.wait(60)
    assert caplog.messages == []


def test_the_journal_of_a_server_that_is_gone_is_covered_by_another(
    database: Database, tmp_path: Path
) -> None:
    make(database, tmp_path).close()
    database.execute("UPDATE fastlog.cursors SET updated = now() - interval '2 hours'")
    with closing(database.sink(tmp_path)) as other:
        other.open("cd" * 16)
        cover(other)
    assert sums(database) == [6, 6, 6]


def test_what_differs_from_the_rows_is_reported(database: Database, tmp_path: Path) -> None:
    with closing(make(database, tmp_path)) as sink:
        cover(sink)
    database.execute("DELETE FROM fastlog.records WHERE message = 'day 0'")
    [trouble] = troubles(database)
    assert trouble.startswith(
        "is searched and counted wrongly: of 1 records, chunks have 2, counts have 2,"
    )


def test_tables_of_version_1_are_migrated(database: Database, tmp_path: Path) -> None:
    make(database, tmp_path).close()
    database.execute(
        "DROP TABLE fastlog.chunks, fastlog.counts, fastlog.host_counts, fastlog.expiry;"
        "DELETE FROM fastlog.cursors;"
        "UPDATE fastlog.meta SET value = '1' WHERE key = 'schema'"
    )
    with closing(database.sink(tmp_path)) as sink:
        sink.open("cd" * 16)
        assert len(database.execute("SELECT 1 FROM fastlog.cursors")) == 2
    assert sums(database) == [0, 0, 0]


def test_check_warns_while_searches_read_all_rows(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SinkConfig(url=database.url(), name="central", when_full="hold")

    def warnings() -> list[str]:
        some = check_partitions(settings, deep=False)
        return [f"{each.subject}: {each.text}" for each in some if each.state is State.WARNING]

    assert warnings() == [], "there are no tables"
    with closing(make(database, tmp_path)) as sink:
        assert warnings() == []
        monkeypatch.setattr(postgres_health, "UNCOVERED", 200)
        size = format_size(sink.cursor())
        assert warnings() == [
            f"chunks of sink central: {size} of the journals have none yet: searches read all rows"
        ]
        cover(sink)
        assert warnings() == []
