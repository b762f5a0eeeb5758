"""The PostgreSQL sink: every block is stored once, whoever else works, and whatever breaks."""

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
from postgres_stores import Database, database, every_database, postgres_servers, records_of

from fastlog.block import Block, Kind, make_run
from fastlog.decode import Decoded, Decoder
from fastlog.errors import (
    ConfigError,
    NewerSchemaError,
    SinkConflictError,
    SinkError,
    SinkUnavailableError,
)
from fastlog.sinks import postgres_connection, postgres_schema
from fastlog.sinks.postgres import PostgresSink

__all__ = ["database", "every_database", "postgres_servers"]


def store(sink: Any, chain: list[Decoded]) -> None:
    """Apply what is left of a chain, as a worker does."""
    for _ in range(20):
        try:
            rest = rest_of(chain, sink.open(NODE))
            if rest:
                sink.apply(rest)
            sink.sync()
            return
        except (SinkConflictError, SinkUnavailableError):
            continue
    raise AssertionError("the sink does not recover")


def test_records_and_cursor_are_stored(every_database: Database, tmp_path: Path) -> None:
    chain = numbered(3)
    with closing(every_database.sink(tmp_path)) as sink:
        assert (sink.open(NODE), sink.index()) == (0, 0)
        sink.apply(chain[:2])
        assert (sink.cursor(), sink.index(), sink.sync()) == (chain[1].block.end, 6, sink.cursor())
        sink.apply(chain[2:])
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
        sink.apply([decoded])
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
        sink.apply(chain)
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
        fast.apply(chain[:2])
        with pytest.raises(SinkConflictError, match="the cursor has moved"):
            slow.apply(chain[:1])
        slow.apply(rest_of(chain, slow.open(NODE))[:1])
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
                sink.apply([each._replace(copy=each.copy.replace(bytes.fromhex(NODE), own))])
    assert database.messages() == messages_of(chain) * 3
    assert database.execute("SELECT count(*) FROM fastlog.cursors") == [(3,)]


def test_a_connection_that_ended_while_idle_is_made_again_without_an_error(
    database: Database, tmp_path: Path
) -> None:
    chain, now = numbered(2), [0.0]
    with closing(database.sink(tmp_path, steady=lambda: now[0])) as sink:
        sink.open(NODE)
        sink.apply(chain[:1])
        terminate(database)
        now[0] += 5
        sink.apply(chain[1:])
    assert database.messages() == messages_of(chain)


def test_a_connection_that_ends_at_work_is_an_error_and_made_again(
    database: Database, tmp_path: Path
) -> None:
    chain = numbered(2)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(chain[:1])
        terminate(database)
        with pytest.raises(SinkUnavailableError, match=r"^postgresql:///test\d+: terminating"):
            sink.apply(chain[1:])
        sink.apply(chain[1:])
    assert database.messages() == messages_of(chain)


def terminate(database: Database) -> None:
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fastlog'"
        " AND datname = current_database()"
    )


def test_a_cursor_that_went_back_is_followed(database: Database, tmp_path: Path) -> None:
    """As after a failover to a standby that lacks the last transactions."""
    chain = numbered(3)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(chain)
        database.execute(
            f'DELETE FROM fastlog.records WHERE "offset" >= {chain[1].block.offset};'
            f'UPDATE fastlog.cursors SET "offset" = {chain[1].block.offset}'
        )
        with pytest.raises(SinkConflictError):
            sink.sync()
        store(sink, chain)
        assert sink.missing().startswith("the database went back")
    assert database.messages() == messages_of(chain)


def test_a_cursor_that_moved_while_there_was_no_connection(
    database: Database, tmp_path: Path
) -> None:
    """The commit arrived, and its answer did not: the block is not stored again."""
    chain = numbered(2)
    with closing(database.sink(tmp_path)) as sink, closing(database.sink(tmp_path)) as other:
        sink.open(NODE)
        other.open(NODE)
        other.apply(chain[:1])
        sink.close()
        with pytest.raises(SinkConflictError, match="the cursor has moved"):
            sink._ready()
        store(sink, chain)
    assert database.messages() == messages_of(chain)


@pytest.mark.parametrize("table", ["records", "partitions", "meta", "cursors"])
def test_a_table_that_was_dropped_is_made_again(
    database: Database, tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    chain = numbered(4)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(chain[:2])
        database.execute(f"DROP TABLE fastlog.{table}")
        store(sink, chain)
        sink._days.clear()
        sink.open(NODE)
    kept = chain[2:] if table == "records" else chain
    assert database.messages() == messages_of(kept)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith(f"are made again: {table}")


def test_a_schema_that_was_dropped_is_made_again(database: Database, tmp_path: Path) -> None:
    chain = numbered(3)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(chain[:1])
        database.execute("DROP SCHEMA fastlog CASCADE")
        with pytest.raises(SinkConflictError, match="does not exist"):
            sink.apply(chain[1:])
        store(sink, chain[1:])  # the worker reports the gap, as far as the journal has one
    assert database.messages() == messages_of(chain[1:])


def test_a_partition_that_was_dropped_is_made_again(database: Database, tmp_path: Path) -> None:
    chain = numbered(2)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(chain[:1])
        database.execute("DROP TABLE fastlog.records_20261123")
        sink.apply(chain[1:])
    assert database.messages() == messages_of(chain[1:])


def test_a_partition_that_somebody_has_detached_is_not_touched(
    database: Database, tmp_path: Path
) -> None:
    chain = numbered(2)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(chain[:1])
        database.execute("ALTER TABLE fastlog.records DETACH PARTITION fastlog.records_20261123")
        with pytest.raises(SinkUnavailableError, match="records_20261123 exists, and is no part"):
            sink.apply(chain[1:])
        database.execute(
            "ALTER TABLE fastlog.records_20261123 RENAME TO kept;"
            "ALTER INDEX fastlog.records_20261123_created_at_idx RENAME TO kept_created;"
            "ALTER INDEX fastlog.records_20261123_offset_idx RENAME TO kept_offset"
        )
        store(sink, chain)
    assert database.messages() == messages_of(chain[1:])


def test_rows_that_a_check_rejects_are_named(database: Database, tmp_path: Path) -> None:
    chain = numbered(2)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        database.execute("ALTER TABLE fastlog.records ADD CHECK (message <> '1')")
        with pytest.raises(SinkError, match="violates check constraint") as raised:
            sink.apply(chain[:1])
        assert "\n" not in str(raised.value)
        reasons = sink.offending(chain[0])
        assert list(reasons) == [1]
        assert "violates check constraint" in reasons[1]
        sink.apply([chain[0].without(reasons), chain[1]])
    assert database.messages() == ["0", "2", "3", "4", "5"]


def test_a_locked_table_is_waited_for_a_few_seconds_only(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "LOCK_SECONDS", 1)
    chain = numbered(2)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(chain[:1])
        with database.server.connect(database.name) as other, other.transaction():
            other.execute("LOCK TABLE fastlog.records")
            with pytest.raises(SinkUnavailableError, match="due to lock timeout"):
                sink.apply(chain[1:])
        sink.apply(chain[1:])
    assert database.messages() == messages_of(chain)


def test_the_timeouts_of_the_role_end_no_block(database: Database, tmp_path: Path) -> None:
    role, chain = f"hasty_{database.name}", numbered(2)
    database.execute(
        f"CREATE ROLE {role} LOGIN; GRANT ALL ON DATABASE {database.name} TO {role};"
        f"ALTER ROLE {role} SET statement_timeout = '300ms';"
        f"ALTER ROLE {role} SET idle_in_transaction_session_timeout = '300ms'"
    )
    with closing(database.sink(tmp_path, role)) as sink:
        store(sink, chain[:1])
        database.execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END';"
            "CREATE TRIGGER slow BEFORE INSERT ON fastlog.records EXECUTE FUNCTION slow()"
        )
        store(sink, chain)
    assert database.messages() == messages_of(chain)


def test_a_role_without_rights_is_told_which_it_needs(database: Database, tmp_path: Path) -> None:
    role = f"poor_{database.name}"
    database.execute(f"CREATE ROLE {role} LOGIN")
    with (
        closing(database.sink(tmp_path, role)) as sink,
        pytest.raises(SinkUnavailableError, match="permission denied for database"),
    ):
        sink.open(NODE)


def test_a_database_that_is_not_there_is_waited_for(database: Database, tmp_path: Path) -> None:
    database.name = "nowhere"
    with (
        closing(database.sink(tmp_path)) as sink,
        pytest.raises(SinkUnavailableError, match=r'^postgresql:///nowhere: .*"nowhere" does not'),
    ):
        sink.open(NODE)


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
        sink.apply(numbered(1))
        version = postgres_schema.VERSION + 1
        monkeypatch.setattr(postgres_schema, "VERSION", version)
        more = "ALTER TABLE {s}.records ADD COLUMN more text"
        monkeypatch.setattr(postgres_schema, "MIGRATIONS", [*postgres_schema.MIGRATIONS, more])
        sink.open(NODE)
        sink.apply(numbered(2)[1:])
    assert database.execute("SELECT value FROM fastlog.meta") == [(str(version),)]
    assert database.execute("SELECT count(*), count(more) FROM fastlog.records") == [(6, 0)]


def test_the_schema_of_version_2_gets_the_columns_of_later_ones(
    database: Database, tmp_path: Path
) -> None:
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(numbered(1))
        database.execute("ALTER TABLE fastlog.records DROP COLUMN certificate")
        database.execute("ALTER TABLE fastlog.cursors DROP COLUMN imported")
        database.execute("DROP TABLE fastlog.expiry")
        database.execute("UPDATE fastlog.meta SET value = '2'")
        sink.open(NODE)
        sink.apply(numbered(2)[1:])
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
        sink.apply(numbered(1))
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
        sink.apply(numbered(1))
        [notice] = listener.notifies(timeout=30, stop_after=1)
        assert notice.payload == "fastlog"


def test_a_block_without_records_moves_the_cursor(database: Database, tmp_path: Path) -> None:
    (decoded,) = numbered(1)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply([decoded._replace(copy=b"", block=replace(decoded.block))])
        assert sink.cursor() == decoded.block.end
    assert database.messages() == []
