"""What breaks under the PostgreSQL sink: every block is stored once all the same."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from builders import NODE, messages_of, numbered
from postgres_stores import Database, database, postgres_servers, store

from fastlog.decode import Batch
from fastlog.errors import (
    SinkConflictError,
    SinkError,
    SinkUnavailableError,
)
from fastlog.sinks import postgres_connection

__all__ = ["database", "postgres_servers"]


def test_a_connection_that_ended_while_idle_is_made_again_without_an_error(
    database: Database, tmp_path: Path
) -> None:
    chain, now = numbered(2), [0.0]
    with closing(database.sink(tmp_path, steady=lambda: now[0])) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(chain[:1]))
        terminate(database)
        now[0] += 5
        sink.apply(Batch.of(chain[1:]))
    assert database.messages() == messages_of(chain)


def test_a_connection_that_ends_at_work_is_an_error_and_made_again(
    database: Database, tmp_path: Path
) -> None:
    chain = numbered(2)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(chain[:1]))
        terminate(database)
        with pytest.raises(SinkUnavailableError, match=r"^postgresql:///test\d+: terminating"):
            sink.apply(Batch.of(chain[1:]))
        sink.apply(Batch.of(chain[1:]))
    assert database.messages() == messages_of(chain)


def test_a_connection_that_ends_during_a_copy_has_no_second_line_of_psycopg(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    target = postgres_connection.parse_url(urlsplit(database.url()))
    database.execute("CREATE TABLE texts (text text)")
    with (
        closing(postgres_connection.connect(target)) as connection,
        pytest.raises(psycopg.OperationalError),
        connection.cursor().copy("COPY texts FROM STDIN") as copy,
    ):
        terminate(database)
        while True:
            copy.write(b"text\n" * 1000)
    assert caplog.records == []


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
        sink.apply(Batch.of(chain))
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
        other.apply(Batch.of(chain[:1]))
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
        sink.apply(Batch.of(chain[:2]))
        database.execute(f"DROP TABLE fastlog.{table}")
        store(sink, chain)
        sink._days.clear()
        sink.open(NODE)
    kept = chain[2:] if table == "records" else chain
    assert database.messages() == messages_of(kept)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith(f"are made again: {table}")


@pytest.mark.parametrize("table", ["meta", "chunks", "counts", "host_counts", "expiry"])
def test_a_table_that_storing_does_not_need_is_made_again_within_a_minute(
    database: Database, tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    now, chain = 0.0, numbered(2)
    with closing(database.sink(tmp_path, steady=lambda: now)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(chain[:1]))
        sink.tick()
        database.execute(f"DROP TABLE fastlog.{table}")
        sink.apply(Batch.of(chain[1:]))
        now = 61.0
        sink.tick()
        assert database.execute(f"SELECT to_regclass('fastlog.{table}') IS NULL") == [(False,)]
    assert database.messages() == messages_of(chain)
    [line] = caplog.messages
    assert line.endswith(f"are made again: {table}")


def test_a_running_sink_leaves_a_newer_schema_to_newer_servers(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now, chain = 0.0, numbered(2)
    with closing(database.sink(tmp_path, steady=lambda: now)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(chain[:1]))
        database.execute("UPDATE fastlog.meta SET value = '99'; DROP TABLE fastlog.expiry")
        now = 61.0
        sink.tick()
        sink.apply(Batch.of(chain[1:]))
    assert database.messages() == messages_of(chain)
    assert caplog.messages == []


def test_a_schema_that_was_dropped_is_made_again(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain = numbered(3)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(chain[:1]))
        database.execute("DROP SCHEMA fastlog CASCADE")
        with pytest.raises(SinkConflictError, match="does not exist"):
            sink.apply(Batch.of(chain[1:]))
        store(sink, chain[1:])  # the worker reports the gap, as far as the journal has one
    assert database.messages() == messages_of(chain[1:])
    [line] = caplog.messages
    assert "all tables of the schema fastlog were dropped and are made again" in line


def test_a_sink_without_records_follows_a_schema_that_was_dropped(
    database: Database, tmp_path: Path
) -> None:
    """The journal still has what was stored, and nothing else comes."""
    now, chain = 0.0, numbered(2)
    with closing(database.sink(tmp_path, steady=lambda: now)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(chain))
        sink.tick()
        database.execute("DROP SCHEMA fastlog CASCADE")
        now = 61.0
        with pytest.raises(SinkConflictError, match="the cursor has moved"):
            sink.tick()
        assert sink.open(NODE) == 0
        sink.tick()


def test_a_partition_that_was_dropped_is_made_again(database: Database, tmp_path: Path) -> None:
    chain = numbered(2)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(chain[:1]))
        database.execute("DROP TABLE fastlog.records_20261123")
        sink.apply(Batch.of(chain[1:]))
    assert database.messages() == messages_of(chain[1:])


def test_a_partition_that_somebody_has_detached_is_not_touched(
    database: Database, tmp_path: Path
) -> None:
    chain = numbered(2)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(chain[:1]))
        database.execute("ALTER TABLE fastlog.records DETACH PARTITION fastlog.records_20261123")
        with pytest.raises(SinkUnavailableError, match="records_20261123 exists, and is no part"):
            sink.apply(Batch.of(chain[1:]))
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
            sink.apply(Batch.of(chain[:1]))
        assert "\n" not in str(raised.value)
        reasons = sink.offending(chain[0])
        assert list(reasons) == [1]
        assert "violates check constraint" in reasons[1]
        sink.apply(Batch.of([chain[0].without(reasons), chain[1]]))
    assert database.messages() == ["0", "2", "3", "4", "5"]


def test_a_locked_table_is_waited_for_a_few_seconds_only(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "LOCK_SECONDS", 1)
    chain = numbered(2)
    with closing(database.sink(tmp_path)) as sink:
        sink.open(NODE)
        sink.apply(Batch.of(chain[:1]))
        with database.server.connect(database.name) as other, other.transaction():
            other.execute("LOCK TABLE fastlog.records")
            who = (
                rf"process {other.info.backend_pid} \(user postgres\) has a lock on fastlog.records"
            )
            with pytest.raises(SinkUnavailableError, match=f"due to lock timeout; {who}$"):
                sink.apply(Batch.of(chain[1:]))
        sink.apply(Batch.of(chain[1:]))
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


def test_a_timeout_between_two_statements_ends_no_transaction(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    role, chain = f"hasty_{database.name}", numbered(3)
    database.execute(
        f"CREATE ROLE {role} LOGIN; GRANT ALL ON DATABASE {database.name} TO {role};"
        f"ALTER ROLE {role} SET idle_in_transaction_session_timeout = '10ms'"
    )
    execute = psycopg.Connection.execute

    def slowly(self: psycopg.Connection[Any], *args: Any, **options: Any) -> Any:
        time.sleep(0.05)  # as on a machine with much to do
        return execute(self, *args, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", slowly)
    with closing(database.sink(tmp_path, role)) as sink:
        sink.open(NODE)
        for decoded in chain:
            sink.apply(Batch.of([decoded]))
        sink.sync()
        assert sink.offending(chain[0]) == {}
    assert database.messages() == messages_of(chain)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            'connection failed: connection to server at "::1", port 1 failed: Connection refused\n'
            "\tIs the server running on that host and accepting TCP/IP connections?",
            'connection to server at "::1", port 1 failed: Connection refused; '
            "Is the server running on that host and accepting TCP/IP connections?",
        ),
        (
            "consuming input failed: server closed the connection unexpectedly\n"
            "\tThis probably means the server terminated abnormally\n"
            "\tbefore or while processing the request.",
            "server closed the connection unexpectedly",
        ),
        (
            'connection failed: connection to server at "1.2.3.4", port 2 failed: session is '
            "read-only\nMultiple connection attempts failed. All failures were:\n"
            "- host: 'a', port: '1', hostaddr: '1.2.3.4': connection failed: connection to server "
            'at "1.2.3.4", port 1 failed: Connection refused\n'
            "\tIs the server running on that host and accepting TCP/IP connections?\n"
            "- host: 'b', port: '2', hostaddr: '1.2.3.4': connection failed: connection to server "
            'at "1.2.3.4", port 2 failed: session is read-only',
            'connection to server at "1.2.3.4", port 1 failed: Connection refused; '
            "Is the server running on that host and accepting TCP/IP connections?; "
            'connection to server at "1.2.3.4", port 2 failed: session is read-only',
        ),
        ("the connection is lost", "the connection is lost"),
        ("", "OperationalError"),
    ],
)
def test_an_error_of_libpq_is_one_line_without_repetitions(text: str, line: str) -> None:
    assert postgres_connection.one_line(psycopg.OperationalError(text)) == line


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
