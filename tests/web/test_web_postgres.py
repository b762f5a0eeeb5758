"""The page's API over a PostgreSQL that is lost, slow, or hangs: one line, no traceback."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from postgres_servers import PostgresServer, newest, postgres_server
from postgres_stores import Database, database, postgres_servers
from senders import stock_frame
from servers import Server
from store_kinds import PostgresKind
from web_sites import ANY_PORT, connect, numbered, site_of

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")

__all__ = ["database", "postgres_servers"]


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that this test may kill."""
    with postgres_server(newest()) as server:
        yield server


def send(server: Server, *messages: str) -> None:
    with server.connect(b"".join(map(stock_frame, messages))):
        pass


def test_a_lost_database_is_one_line_and_comes_back(
    tmp_path: Path, own_server: PostgresServer
) -> None:
    config = f'[[sink]]\nname = "pg"\nurl = "{own_server.url("postgres")}"\n'
    with Server(tmp_path, config=config, web=ANY_PORT) as server:
        site = site_of(server)
        send(server, "first", "second")
        wait_for(lambda: site.ask("/counts").body.count(b'"total":2'), "both are counted")
        assert site.get("/status")["records"] == 2
        with site.tail() as events:
            send(server, "third")
            assert events.messages(1) == ["third"]
            own_server.stop(signal.SIGKILL)
            for path in ("/records", "/counts", "/histogram", "/problems", "/fields", "/export"):
                answer = site.ask(path)
                assert answer.status == 503
                message = answer.json["error"]["message"]
                assert message.startswith("postgresql:///postgres: ")
                assert "\n" not in message
            wait_for(lambda: site.get("/status")["not_counted"], "the status has it")
            assert site.get("/status")["not_counted"].startswith("postgresql:///postgres: ")
            send(server, "fourth")
            own_server.start()
            assert events.messages(1) == ["fourth"]
        wait_for(lambda: site.get("/status")["not_counted"] is None, "the status is good again")
        assert site.get("/counts")["total"] == 4
        lines = server.messages().splitlines()
        assert not [line for line in lines if "Traceback" in line or "internal error" in line]
        assert len([line for line in lines if "tails: " in line and "trying again" in line]) == 1


def test_a_deadline_and_a_client_that_has_gone_cancel_the_statement(
    tmp_path: Path, database: Database
) -> None:
    kind = PostgresKind(database)
    kind.make(tmp_path, numbered(10))
    database.execute(
        "CREATE FUNCTION store0.slow(int4) RETURNS bool LANGUAGE sql AS"
        " 'SELECT pg_sleep(600) IS NOT NULL';"
        "ALTER TABLE store0.records RENAME TO real;"
        "CREATE VIEW store0.records AS SELECT * FROM store0.real WHERE store0.slow(idx)"
    )
    running = (
        "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
        " AND datname = current_database()"
    )
    with kind.serving(tmp_path) as site:
        answer = site.get("/counts", deadline=0.2)
        assert answer["complete"] is False
        assert not database.execute(running)
        with connect(site, "/counts", {"deadline": "10"}):
            wait_for(lambda: database.execute(running), "the statement runs")
        wait_for(lambda: not database.execute(running), "it is cancelled", 9)


def test_a_server_that_hangs_is_given_up(tmp_path: Path, database: Database) -> None:
    kind = PostgresKind(database)
    kind.make(tmp_path, numbered(10))
    with kind.serving(tmp_path) as site:
        assert site.get("/counts")["total"] == 10
        [(pid,)] = database.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'fastlog'"
            " AND datname = current_database()"
        )
        os.kill(pid, signal.SIGSTOP)
        try:
            answer = site.get("/counts", deadline=0.2)
            assert (answer["total"], answer["complete"]) == (0, False)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert site.get("/counts")["total"] == 10
