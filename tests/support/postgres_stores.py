"""Fixtures: a running PostgreSQL for all tests of a process, and a database for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from builders import NODE, make_context, rest_of
from postgres_servers import (
    Installation,
    PostgresServer,
    installations,
    newest,
    postgres_server,
)

from fastlog.decode import Batch, Decoded
from fastlog.errors import SinkConflictError, SinkUnavailableError
from fastlog.record import Record
from fastlog.sinks.postgres import PostgresSink

NAP = "2min"
"""How often autovacuum looks at each database of a server that has one for each test. At 5 s, as in
servers with one database, it started up to 20 processes a second: an eighth of the
processor time of the suite."""
_numbers = itertools.count()


class Database:
    """A database of its own, on a server that other tests use, too."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server, self.name = server, name

    def url(self, user: str = "postgres", **options: str) -> str:
        return self.server.url(self.name, user, **options)

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        return self.server.execute(sql, self.name)

    def sink(self, data_dir: Path, user: str = "postgres", **options: Any) -> PostgresSink:
        url = self.url(user, **options.pop("url", {}))
        return PostgresSink(make_context(data_dir, url, **options))

    def messages(self) -> list[str]:
        """Return the messages of all journals, in the order of each."""
        sql = 'SELECT message FROM fastlog.records ORDER BY node, "offset", idx'
        return [message for (message,) in self.execute(sql)]


def records_of(database: Database) -> list[Record]:
    """Return all records, in order of arrival."""
    names = ", ".join(f'"{name}"' for name in Record._fields).replace('"extra"', "extra::text")
    sql = f'SELECT {names} FROM fastlog.records ORDER BY node, "offset", idx'
    return [Record._make(row) for row in database.execute(sql)]


def store(sink: Any, chain: list[Decoded]) -> None:
    """Apply what is left of a chain, as a worker does."""
    for _ in range(20):
        try:
            rest = rest_of(chain, sink.open(NODE))
            if rest:
                sink.apply(Batch.of(rest))
            sink.sync()
            return
        except (SinkConflictError, SinkUnavailableError):
            continue
    raise AssertionError("the sink does not recover")


class Servers:
    """The servers of one process: started when first wanted."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[Installation, PostgresServer] = {}

    def get(self, installation: Installation) -> PostgresServer:
        if installation not in self._running:
            started = postgres_server(installation, autovacuum_naptime=NAP)
            server = self._stack.enter_context(started)
            self._running[installation] = server
        return self._running[installation]

    def database(self, installation: Installation) -> Database:
        server = self.get(installation)
        name = f"test{next(_numbers)}"
        server.execute(f"CREATE DATABASE {name}")
        return Database(server, name)


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture
def database(postgres_servers: Servers) -> Database:
    """An empty database of the newest version."""
    return postgres_servers.database(newest())


@pytest.fixture(params=[each.version for each in installations()] or [None])
def every_database(postgres_servers: Servers, request: pytest.FixtureRequest) -> Database:
    """An empty database of each version that is here."""
    newest()  # skips
    [installation] = [each for each in installations() if each.version == request.param]
    return postgres_servers.database(installation)
