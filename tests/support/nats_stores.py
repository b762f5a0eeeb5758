"""A cluster, a database, collectors and centrals between them, and a load that can be counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from conditions import wait_for
from nats.errors import NoRespondersError
from nats_servers import NatsCluster, nats_cluster
from postgres_stores import Database
from senders import stock_frame
from servers import Server, processes_of

from fastlog.errors import SinkUnavailableError
from fastlog.jetstream.connection import Connection
from fastlog.jetstream.target import parse_url

CONFIG = "[limits]\nlag = 0\n"


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[NatsCluster]:
    """A cluster of three that many tests use, each with streams of its own. Nobody kills it.

    It ends with its module: idle, it takes 1 % of a core, which in the whole suite is thirty times
    what its start takes.
    """
    with nats_cluster() as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "request", waiting_for_leaders(Connection.request))
        yield cluster


def waiting_for_leaders(request: Callable[..., bytes]) -> Callable[..., bytes]:
    """Return a `request` that asks again while nobody answers, as workers do.

    On a loaded machine the servers of a cluster sometimes elect another leader. What was asked
    meanwhile did not arrive, so it can be repeated.
    """

    def wait_for_leader(*arguments: Any) -> bytes:
        failures: list[SinkUnavailableError] = []

        def answer() -> tuple[bytes] | None:
            try:
                return (request(*arguments),)
            except SinkUnavailableError as error:
                if not isinstance(error.__cause__, NoRespondersError):
                    raise
                failures.append(error)
                return None

        try:
            answered = wait_for(answer, seconds=10)
        except AssertionError:
            raise failures[-1] from None
        assert answered is not None
        return answered[0]

    return wait_for_leader


@pytest.fixture
def cluster() -> Iterator[NatsCluster]:
    """A cluster that this test may kill."""
    with nats_cluster() as cluster:
        yield cluster


def connect(url: str) -> Connection:
    connection = Connection(parse_url(urlsplit(url)), "test")
    connection.open()
    return connection


class Fleet:
    """Collectors that publish to a stream, and centrals that store it.

    Args:
        database: Where; None: in the day files of the first central.
    """

    def __init__(self, home: Path, url: str, database: Database | None) -> None:
        self.home, self.url, self._database = home, url, database
        self.collectors: list[Server] = []
        self.centrals: list[Server] = []
        self._stack = ExitStack()
        self.sent: dict[str, int] = {}
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()
        self._stack.close()

    @property
    def database(self) -> Database:
        assert self._database is not None
        return self._database

    def _server(self, name: str, **options: Any) -> Server:
        home = self.home / name
        home.mkdir(exist_ok=True)
        return self._stack.enter_context(Server(home, **options).fixed())

    def collector(self, url: str = "", config: str = CONFIG) -> Server:
        name = f"collector{len(self.collectors)}"
        server = self._server(name, sinks=[url or self.url], config=config)
        self.collectors.append(server)
        return server

    def central(self, url: str = "", sink: str = "", config: str = CONFIG, web: str = "") -> Server:
        config = f'{config}\n[source]\nurl = "{url or self.url}"\n'
        name = f"central{len(self.centrals)}"
        own = self._database.url() if self._database else "sqlite:"
        server = self._server(name, sinks=[sink or own], config=config, web=web)
        self.centrals.append(server)
        return server

    def send(self, count: int = 200, clients: int = 2, text: str = "x" * 200) -> None:
        """Send numbered records to each collector, over connections that stay open."""
        for server in self.senders:
            self.send_to(server, count, clients, text)

    def send_to(self, server: Server, count: int, clients: int = 1, text: str = "x" * 200) -> None:
        at = self.senders.index(server)
        for number in range(clients):
            name = f"{at}-{number}"
            client = self._clients.get(name)
            if client is None:
                client = self._clients[name] = server.connect()
                client.settimeout(120)  # a server that cannot store may not read for a while
            start = self.sent.get(name, 0)
            frames = [
                stock_frame(text, client=name, number=each) for each in range(start, start + count)
            ]
            client.sendall(b"".join(frames))
            self.sent[name] = start + count

    @property
    def senders(self) -> list[Server]:
        """Those that `send` sends to: the collectors, and a central with files of its own."""
        return self.collectors if self._database else [*self.collectors, *self.centrals[:1]]

    def hang_up(self) -> None:
        """Close all connections of the clients; the next `send` opens new ones."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def await_journaled(self) -> None:
        """Wait until the collectors have all that was sent in their journals."""
        for at, server in enumerate(self.senders):
            total = sum(sent for name, sent in self.sent.items() if name.startswith(f"{at}-"))
            wait_for(lambda server=server, total=total: index_of(server) >= total, "journaled")  # type: ignore[misc]

    def stored(self) -> int:
        if self._database is None:
            return self.centrals[0].stored()
        [(exists,)] = self.database.execute("SELECT to_regclass('fastlog.records') IS NOT NULL")
        if not exists:
            return 0
        [(count,)] = self.database.execute("SELECT count(*) FROM fastlog.records")
        return int(count)

    def assert_stored(self, seconds: float = 90) -> None:
        """Wait until all is stored; check that each record is there once, in order per client."""
        total = sum(self.sent.values())
        wait_for(lambda: self.stored() >= total, f"{total} records stored", seconds)
        found: dict[str, list[int]] = {}
        for client, number in self._rows():
            found.setdefault(client, []).append(number)
        assert found == {name: list(range(sent)) for name, sent in self.sent.items()}

    def _rows(self) -> list[tuple[str, int]]:
        """Return client and number of all records, in the order of each journal."""
        if self._database is None:
            extras = [json.loads(row["extra"]) for row in self.centrals[0].records()]
            return [(extra["client"], extra["number"]) for extra in extras]
        return self._database.execute(
            "SELECT extra->>'client', (extra->>'number')::int FROM fastlog.records"
            ' ORDER BY node, "offset", idx'
        )

    def assert_released(self) -> None:
        """Wait until every collector knows that all it has is stored."""
        wait_for(
            lambda: all(
                (found := position_of(each)).get("durable") == durable_of(each)
                and found["cursor"] == found["durable"]
                for each in self.collectors
            ),
            "the collectors know that everything is stored",
        )


def index_of(server: Server) -> int:
    """Return how many frames the journal of a server has durably."""
    return int(server.status().get("index", 0))


def durable_of(server: Server) -> int:
    return int(server.status().get("durable", -1))


def position_of(server: Server, sink: str = "nats") -> dict[str, Any]:
    try:
        return dict(json.loads((server.data / "positions" / f"{sink}.json").read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def nodes_of(server: Server) -> dict[str, dict[str, Any]]:
    """Return what a central reports of its nodes."""
    try:
        report = msgspec.json.decode((server.data / "source.json").read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return {}
    return {node["node"]: node for node in report["nodes"]}


def source_pid(server: Server) -> int:
    """Return the pid of the process of a central that takes blocks from the stream."""
    return next(pid for pid, role in processes_of(server.data) if role == "source")


def node_id(server: Server) -> str:
    return (server.data / "journal" / "node").read_text().strip()


def messages_of(servers: Sequence[Server]) -> str:
    return "\n".join(server.messages() for server in servers)
