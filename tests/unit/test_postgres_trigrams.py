"""Indexes of trigrams: made on closed partitions, and used by searches."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from builders import DAY, MONDAY, NODE, make_chain
from postgres_stores import Database, database, every_database, postgres_servers
from queries import parsed

from fastlog.decode import Batch
from fastlog.search.postgres import PostgresStore
from fastlog.sinks.postgres import PostgresSink
from fastlog.sinks.postgres_narrowing import PostgresNarrowing

__all__ = ["database", "every_database", "postgres_servers"]

VALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE indisvalid AND indexrelid::regclass::text LIKE '%trigrams'"  # noqa: E501


def filled(database: Database, tmp_path: Path, *, trigrams: str) -> PostgresSink:
    """Return a sink that has stored records of Saturday, Sunday and Monday."""
    chain = make_chain(
        ([f"connection {day} to peer {n} lost" for n in range(300)], MONDAY + day * DAY)
        for day in (-2, -1, 0)
    )
    sink = database.sink(
        tmp_path, url={"trigrams": trigrams}, clock=lambda: MONDAY + 4000, steady=lambda: 0.0
    )
    sink.open(NODE)
    sink.apply(Batch.of(chain))
    return sink


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Any]:
    sinks: list[PostgresSink] = []

    def run_it(database: Database, trigrams: str = "yes") -> PostgresSink:
        sinks.append(filled(database, tmp_path, trigrams=trigrams))
        sinks[-1].tick()
        sinks[-1]._trigrams.background.wait(60)
        return sinks[-1]

    yield run_it
    for sink in sinks:
        sink.close()


def test_closed_partitions_get_an_index_that_searches_use(
    every_database: Database, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run(every_database)
    assert sorted(every_database.execute(VALID)) == [
        ("fastlog.records_20261121_trigrams",),
        ("fastlog.records_20261122_trigrams",),
    ]
    assert len([each for each in caplog.messages if "made an index of trigrams" in each]) == 2
    query = parsed('"peer 123 lo"')
    condition = PostgresNarrowing(query).condition
    with every_database.server.connect(every_database.name) as connection:
        connection.execute("ANALYZE fastlog.records; SET enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT * FROM fastlog.records WHERE received_at < '2026-11-23' AND "
            + condition.sql,
            condition.parameters,
        )
        assert "Bitmap Index Scan on records_20261121_trigrams" in str(plan.fetchall())
    store = PostgresStore(urlsplit(every_database.url()))
    found = [each.record.message for each in store.search(query)]
    assert sorted(found) == [f"connection {day} to peer 123 lost" for day in (-1, -2, 0)]


def test_no_index_is_made_without_the_option(database: Database, run: Any) -> None:
    run(database, "no")
    assert database.execute(VALID) == []


def test_an_index_that_was_broken_off_is_made_again(database: Database, run: Any) -> None:
    sink = run(database)
    database.execute(
        "UPDATE pg_index SET indisvalid = false"
        " WHERE indexrelid = 'fastlog.records_20261121_trigrams'::regclass"
    )
    sink._trigrams._looked_at = float("-inf")
    sink._care_at = float("-inf")
    sink.tick()
    sink._trigrams.background.wait(60)
    assert len(database.execute(VALID)) == 2


def test_a_role_without_the_right_is_reported_once(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    role = f"plain_{database.name}"
    database.execute(f"CREATE ROLE {role} LOGIN; CREATE SCHEMA fastlog AUTHORIZATION {role}")
    sink = database.sink(tmp_path, role, url={"trigrams": "yes"}, clock=lambda: MONDAY + 4000)
    with closing(sink):
        sink.open(NODE)
        sink.apply(Batch.of(make_chain([(["x"], MONDAY - 2 * DAY)])))
        for _ in range(2):
            sink._trigrams._looked_at = sink._care_at = float("-inf")
            sink.tick()
            sink._trigrams.background.wait(60)
    [line] = [each for each in caplog.messages if "trigrams" in each]
    assert line.startswith("sink postgresql: cannot make an index of trigrams: permission denied")
