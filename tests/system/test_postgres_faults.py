"""A server that stores in PostgreSQL, which fails in all ways: nothing lost, nothing twice.

Each fault is one line of the log, and its end is another one.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import psycopg
import pytest
from conditions import wait_for
from faults import small_disk
from poolers import pooler
from postgres_servers import PostgresServer, newest, postgres_server
from postgres_stores import Database, database, postgres_servers
from senders import stock_frame
from servers import FASTLOG, Server, restarted
from users import OTHER_USER

__all__ = ["database", "postgres_servers"]

CONFIG = "[limits]\nlag = 0\n"


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that this test may kill."""
    with postgres_server(newest()) as server:
        yield server


class Load:
    """Numbered records, sent by stock clients on connections that stay open."""

    def __init__(self, server: Server, clients: int = 1) -> None:
        self._clients = {f"c{n}": server.connect() for n in range(clients)}
        self.sent = 0

    def send(self, count: int = 500, size: int = 100) -> None:
        """Send records with a text that cannot be compressed."""
        for number in range(self.sent, self.sent + count):
            for name, client in self._clients.items():
                client.sendall(stock_frame(os.urandom(size // 2).hex(), client=name, number=number))
        self.sent += count

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def assert_stored(self, server: PostgresServer, name: str) -> None:
        """Wait until all is stored, and check that each record is there once."""
        sql = "SELECT extra->>'client', (extra->>'number')::int FROM fastlog.records"
        total = self.sent * len(self._clients)
        wait_for(lambda: count(server, name) >= total, f"{total} records", 90)
        found = Counter(server.execute(sql, name))
        expected = {(client, number) for client in self._clients for number in range(self.sent)}
        assert found.keys() == expected
        assert set(found.values()) == {1}


def count(server: PostgresServer, name: str) -> int:
    try:
        return int(server.execute("SELECT count(*) FROM fastlog.records", name)[0][0])
    except psycopg.Error:
        return -1


def failures(server: Server) -> list[str]:
    """Return the lines in which the worker reports a failure."""
    return re.findall(r"sink pg: (.*); trying again", server.messages())


def wait_for_failure(server: Server) -> None:
    wait_for(lambda: failures(server), "the log has the failure")


def sink_of(url: str) -> str:
    return f'{CONFIG}[[sink]]\nname = "pg"\nurl = "{url}"\n'


def test_the_postmaster_killed_under_load(tmp_path: Path, own_server: PostgresServer) -> None:
    config = sink_of(own_server.url("postgres"))
    with Server(tmp_path, config=config) as server:
        load = Load(server, clients=3)
        for _ in range(2):
            load.send(300)
            wait_for(lambda: count(own_server, "postgres") > 0)
            load.send(300)
            own_server.stop(signal.SIGKILL)
            load.send(300)
            wait_for_failure(server)
            load.send(100)
            own_server.start()
        load.assert_stored(own_server, "postgres")
        [*first] = failures(server)
        assert 1 <= len(first) <= 2
        wait_for(lambda: "sink pg works again, after" in server.messages())
        load.close()
        assert server.stop() == 0


def test_a_failover_to_another_port(tmp_path: Path, own_server: PostgresServer) -> None:
    """The URL names both servers; the second takes over with the data of the first."""
    home = own_server.home
    url = f"postgresql://postgres@/postgres?host={home},{home}&port=5432,5433"
    with Server(tmp_path, config=sink_of(url)) as server:
        load = Load(server)
        load.send()
        wait_for(lambda: count(own_server, "postgres") > 0)
        own_server.stop(signal.SIGKILL)
        load.send()
        wait_for_failure(server)
        own_server.port = 5433
        own_server.start()
        load.assert_stored(own_server, "postgres")
        assert len(failures(server)) == 1
        load.close()


@pytest.mark.long
def test_a_full_disk(tmp_path: Path, own_server: PostgresServer) -> None:
    with small_disk(own_server.home / "disk", "14m") as disk:
        (disk / "space").mkdir()
        os.chown(disk / "space", OTHER_USER, OTHER_USER)
        own_server.execute(f"CREATE TABLESPACE small LOCATION '{disk}/space'")
        own_server.execute("CREATE DATABASE little TABLESPACE small")
        with Server(tmp_path, config=sink_of(own_server.url("little"))) as server:
            load = Load(server)
            while not failures(server):
                load.send(200, size=4000)
                # What a slow sink has not stored yet must not be more than the larger disk takes.
                wait_for(lambda: failures(server) or count(own_server, "little") >= load.sent)
            assert "No space left on device" in failures(server)[0]
            wait_for(lambda: "No space left" in str(stats(server)), "stats show the reason")
            load.send(200)
            subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
            load.assert_stored(own_server, "little")
            assert len(failures(server)) == 1
            load.close()


def stats(server: Server) -> str:
    command = [FASTLOG, "stats", "--data-dir", server.data]
    command += ["--config", server.home / "fastlog.toml"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def connected(url: str) -> psycopg.Connection | None:
    with suppress(psycopg.OperationalError):
        return psycopg.connect(url)
    return None


def test_max_connections(tmp_path: Path) -> None:
    settings = {"max_connections": "4", "superuser_reserved_connections": "1"}
    with postgres_server(newest(), **settings) as own:
        own.execute("CREATE ROLE log LOGIN; GRANT ALL ON DATABASE postgres TO log")
        url = own.url("postgres", "log")
        # The backend of the last command may not have ended yet.
        others = [wait_for(lambda: connected(url)) for _ in range(3)]
        with Server(tmp_path, config=sink_of(url)) as server:
            load = Load(server)
            load.send()
            wait_for_failure(server)
            assert re.search("too many clients|connection slots are reserved", failures(server)[0])
            for other in others:
                other.close()
            load.assert_stored(own, "postgres")
            assert len(failures(server)) == 1
            load.close()


@pytest.mark.long
def test_a_table_locked_and_dropped_under_load(tmp_path: Path, database: Database) -> None:
    with Server(tmp_path, config=sink_of(database.url())) as server:
        load = Load(server)
        load.send()
        wait_for(lambda: count(database.server, database.name) == 500)
        with database.server.connect(database.name) as other, other.transaction():
            other.execute("LOCK TABLE fastlog.records")
            load.send()
            wait_for_failure(server)
            assert "lock timeout" in failures(server)[0]
        load.assert_stored(database.server, database.name)
        wait_for(lambda: "sink pg works again" in server.messages())
        database.execute("DROP TABLE fastlog.records")
        load.send()
        wait_for(lambda: count(database.server, database.name) == 500)
        assert "are made again: records" in server.messages()
        load.close()


def test_timeouts_of_the_role(tmp_path: Path, database: Database) -> None:
    """They end sessions that do nothing, without a line, and none of the sink's transactions."""
    role = f"log_{database.name}"
    settings = {
        "statement_timeout": "1s",
        "lock_timeout": "1ms",
        "idle_in_transaction_session_timeout": "1s",
        "idle_session_timeout": "1500ms",
        "synchronous_commit": "on",
    }
    database.execute(
        f"CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {database.name} TO {role};"
        + "".join(f"ALTER ROLE {role} SET {name} = '{value}';" for name, value in settings.items())
    )
    sessions = f"SELECT 1 FROM pg_stat_activity WHERE usename = '{role}'"
    with Server(tmp_path, config=sink_of(database.url(role))) as server:
        load = Load(server)
        for _ in range(2):
            load.send(2000)
            load.assert_stored(database.server, database.name)
            wait_for(lambda: not database.execute(sessions), "its idle session was ended")
        load.close()
        assert not failures(server)


def test_a_pooler_of_transactions(tmp_path: Path, database: Database) -> None:
    """pgbouncer is killed under load; commands work through it, `tail -f` without notifications."""
    with pooler(database.server) as pgbouncer:
        url = pgbouncer.url(database.name)
        with Server(tmp_path, config=sink_of(url)) as server:
            load = Load(server, clients=2)
            load.send()
            wait_for(lambda: count(database.server, database.name) > 0)
            pgbouncer.stop(signal.SIGKILL)
            load.send()
            wait_for_failure(server)
            pgbouncer.start()
            load.assert_stored(database.server, database.name)
            assert len(failures(server)) == 1
            with tailing(url) as lines:
                assert next(lines) in ("c0 999", "c1 999")
                load.send(1)
                assert sorted(islice(lines, 2)) == ["c0 1000", "c1 1000"]
            load.close()


@contextmanager
def tailing(url: str) -> Iterator[Iterator[str]]:
    """Follow a store, from its newest record on."""
    command = [FASTLOG, "tail", "-f", "-n", "1", "--store", url]
    command += ["--format", "{extra.client} {extra.number}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        try:
            yield (line.rstrip("\n") for line in tail.stdout)
        finally:
            tail.kill()


@pytest.mark.soak
def test_a_database_that_is_down_for_a_minute(tmp_path: Path, own_server: PostgresServer) -> None:
    with Server(tmp_path, config=sink_of(own_server.url("postgres"))) as server:
        load = Load(server, clients=3)
        load.send()
        wait_for(lambda: count(own_server, "postgres") > 0)
        own_server.stop(signal.SIGKILL)
        began = time.monotonic()
        for second in range(60):
            load.send(100)
            wait_for(lambda second=second: time.monotonic() > began + second + 1)
        own_server.start()
        load.assert_stored(own_server, "postgres")
        assert len(failures(server)) == 1
        load.close()


@pytest.mark.parametrize("collectors", [4, pytest.param(12, marks=pytest.mark.soak)])
def test_many_collectors_and_two_workers_of_one_cursor(
    tmp_path: Path, database: Database, collectors: int
) -> None:
    """One of the servers has the same sink twice, so two workers share a cursor."""
    one = sink_of(database.url())
    twice = one + f'[[sink]]\nname = "again"\nurl = "{database.url()}"\nwhen_full = "skip"\n'
    configs = [twice, *[one] * (collectors - 1)]
    servers = [Server(tmp_path / str(n), config=each).fixed() for n, each in enumerate(configs)]
    loads = []
    try:
        for server in servers:
            server.home.mkdir()
            loads.append(Load(server.start()))
        for _ in range(4):
            for load in loads:
                load.send(200)
        restarted(servers[1], "stop")  # a stock client cannot send again what kill -9 loses
        total = sum(load.sent for load in loads)
        wait_for(lambda: count(database.server, database.name) >= total, "all is stored", 90)
        [(rows, distinct, nodes)] = database.execute(
            'SELECT count(*), count(DISTINCT (node, "offset", idx)), count(DISTINCT node)'
            " FROM fastlog.records"
        )
        assert (rows, distinct, nodes) == (total, total, collectors)
    finally:
        for server in servers:
            print(server.messages())
            server.kill()
