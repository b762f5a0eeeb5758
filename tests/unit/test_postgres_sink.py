"""The PostgreSQL sink: what it stores, with whom it shares a database, its schema and its options.

What breaks under it is in `test_postgres_recovery.py`.
"""

from __future__ import annotations

import json
import pickle
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from builders import DAY, MONDAY, NODE, make_chain, make_context, messages_of, numbered, rest_of
from postgres_stores import Database, database, every_database, postgres_servers, records_of, store

from fastlog.block import Block, Kind, make_run
from fastlog.decode import Batch, Decoder
from fastlog.errors import (
    ConfigError,
    NewerSchemaError,
    SinkConflictError,
    SinkUnavailableError,
)
from fastlog.sinks import postgres_schema
from fastlog.sinks.postgres import PostgresSink

__all__ = ["database", "every_database", "postgres_servers"]


def test_records_and_cursor_are_stored(every_database: Database, tmp_path: Path) -> None:
    chain = numbered(3)
    with closing(every_database.sink(tmp_path)) as sink:
        assert (sink.open(NODE), sink.index()) == (0, 0)
        sink.apply(Batch.of(chain[:2]))
        assert (sink.cursor(), sink.index(), sink.sync()) == (chain[1].block.end, 6, sink.cursor())
        sink.apply(Batch.of(chain[2:]))
    with closing(every_database.sink(tmp_path)) as sink:
        assert (sink.open(NODE), sink.index()) == (chain[2].block.end, 9)
    assert records_of(every_database) == [
        record._replace(extra=json.dumps(json.loads(record.extra)))
        for decoded in chain
        for record in decoded.records
    ]
    [(created, at, node)] = every_database.execute(
        "SELECT created, extract(epoch from created_at)::float8, node FROM fastlog.records LIMIT 1"
    )
    assert (created, node.hex) == (at, NODE)


def test_what_c_makes_of_pickles_and_json_is_stored(database: Database, tmp_path: Path) -> None:
    frames = [
        pickle.dumps({"msg": "nul \0 \ud800", "x": [float("nan"), "\0"], "created": 5.25}, 4),
        b'{"msg": "big", "a": 1e200000, "b": 1e308, "c": ' + b"9" * 4000 + b', "a": 2}',
        pickle.dumps({"msg": "", "levelno": None, "name": "\u20ac", "extra": {"k": {"d": ()}}}, 2),
    ]
    payload = make_run(Kind.STOCK, frames, peer="[::1]:5")
    block = Block(0, len(payload), 0, 3, int(MONDAY * 1e6), memoryview(payload))
    decoded = Decoder("c", "copy", bytes.fromhex(NODE)).decode(block)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of([decoded]))
    expected = Decoder("c").decode(block).records
    found = records_of(database)
    assert [record._replace(extra="") for record in found] == [
        record._replace(extra="") for record in expected
    ]
    # A jsonb has decimals, without an exponent.
    assert [json.loads(record.extra, parse_int=float) for record in found] == [
        json.loads(record.extra, parse_int=float) for record in expected
    ]


def test_each_day_has_a_partition_and_the_next_is_made_ahead(
    database: Database, tmp_path: Path
) -> None:
    days = (0, 0.5, 1, -20_779, 0.25)
    chain = make_chain((["x"], MONDAY + day * DAY) for day in days)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(chain))
        sink.tick()
    names = database.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE relkind = 'r'"
        " ORDER BY 1"
    )
    assert names == [("records_19700102",), ("records_20261123",), ("records_20261124",)]
    assert len(database.messages()) == 5


def test_two_workers_with_one_cursor_store_each_block_once(
    database: Database, tmp_path: Path
) -> None:
    chain = numbered(4)
    with closing(database.sink(tmp_path)) as slow, closing(database.sink(tmp_path)) as fast:
        slow.open(NODE)
        fast.open(NODE)
        fast.apply(Batch.of(chain[:2]))
        with pytest.raises(SinkConflictError, match="the cursor has moved"):
            slow.apply(Batch.of(chain[:1]))
        slow.apply(Batch.of(rest_of(chain, slow.open(NODE))[:1]))
        with pytest.raises(SinkConflictError, match="the cursor has moved"):
            fast.sync()
        store(fast, chain)
    assert database.messages() == messages_of(chain)


def test_many_journals_share_a_database(database: Database, tmp_path: Path) -> None:
    chain = numbered(2)
    for n in range(3):
        node = f"{n:032x}"
        own = bytes.fromhex(node)
        with closing(database.sink(tmp_path)) as sink:
            sink.open(node)
            for each in chain:
                sink.apply(
                    Batch.of([each._replace(copy=each.copy.replace(bytes.fromhex(NODE), own))])
                )
    assert database.messages() == messages_of(chain) * 3
    assert database.execute("SELECT count(*) FROM fastlog.cursors") == [(3,)]


def test_a_newer_schema_is_left_alone(database: Database, tmp_path: Path) -> None:
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        database.execute("UPDATE fastlog.meta SET value = '99'")
        for call in (lambda: sink.open(NODE), sink.check):
            with pytest.raises(NewerSchemaError, match="has version 99, and this fastlog knows"):
                call()


def test_an_older_schema_is_migrated(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(numbered(1)))
        version = postgres_schema.VERSION + 1
        monkeypatch.setattr(postgres_schema, "VERSION", version)
        more = "ALTER TABLE {s}.records ADD COLUMN more text"
        monkeypatch.setattr(postgres_schema, "MIGRATIONS", [*postgres_schema.MIGRATIONS, more])
        sink.open(NODE)
        sink.apply(Batch.of(numbered(2)[1:]))
    assert database.execute("SELECT value FROM fastlog.meta") == [(str(version),)]
    assert database.execute("SELECT count(*), count(more) FROM fastlog.records") == [(6, 0)]


def test_the_schema_of_version_2_gets_the_columns_of_later_ones(
    database: Database, tmp_path: Path
) -> None:
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(numbered(1)))
        database.execute("ALTER TABLE fastlog.records DROP COLUMN certificate")
        database.execute("ALTER TABLE fastlog.cursors DROP COLUMN imported")
        database.execute("DROP TABLE fastlog.expiry")
        database.execute("UPDATE fastlog.meta SET value = '2'")
        sink.open(NODE)
        sink.apply(Batch.of(numbered(2)[1:]))
    version = str(postgres_schema.VERSION)
    assert database.execute("SELECT value FROM fastlog.meta") == [(version,)]
    assert database.execute("SELECT count(*), count(certificate) FROM fastlog.records") == [(6, 0)]


def test_a_database_of_another_encoding_is_refused(
    postgres_servers: Any, database: Database, tmp_path: Path
) -> None:
    database.execute(
        f"CREATE DATABASE latin_{database.name} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'"
    )
    database.name = f"latin_{database.name}"
    with pytest.raises(ConfigError, match="make one with ENCODING 'UTF8'"):
        database.sink(tmp_path).open(NODE)


def test_the_schema_is_an_option(database: Database, tmp_path: Path) -> None:
    with closing(database.sink(tmp_path, url={"schema": "logs_2"})) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(numbered(1)))
    assert database.execute("SELECT count(*) FROM logs_2.records") == [(3,)]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"schema": "A"}, "schema is a name of lower-case letters, digits and _, not 'A'"),
        ({"schema": "pg_x"}, "schema is a name"),
        ({"trigrams": "maybe"}, "trigrams is no or yes, not 'maybe'"),
        ({"nonsense": "1"}, 'invalid URI query parameter: "nonsense"'),
    ],
)
def test_a_wrong_url_is_an_error_of_the_configuration(
    database: Database, tmp_path: Path, options: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        database.sink(tmp_path, url=options)
    assert problem in str(raised.value)


def test_no_secret_of_the_url_is_in_an_error(database: Database, tmp_path: Path) -> None:
    url = f"postgresql://me:secret@/{database.name}?host=/nowhere&password=secret"
    with pytest.raises(SinkUnavailableError) as raised:
        PostgresSink(make_context(tmp_path, url)).open(NODE)
    assert str(raised.value).startswith(f"postgresql:///{database.name}: ")
    assert "secret" not in str(raised.value)


def test_a_transaction_notifies_and_waits_for_no_disk(database: Database, tmp_path: Path) -> None:
    with (
        closing(database.sink(tmp_path)) as sink,
        psycopg.connect(database.url(), autocommit=True) as listener,
    ):
        sink.open(NODE)
        listener.execute("LISTEN fastlog")
        sink.apply(Batch.of(numbered(1)))
        [notice] = listener.notifies(timeout=30, stop_after=1)
        assert notice.payload == "fastlog"


def test_a_block_without_records_moves_the_cursor(database: Database, tmp_path: Path) -> None:
    (decoded,) = numbered(1)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of([decoded._replace(copy=b"", block=replace(decoded.block))]))
        assert sink.cursor() == decoded.block.end
    assert database.messages() == []
