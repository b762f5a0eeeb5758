"""The servers of a drill with a cluster: collectors, JetStream, centrals and PostgreSQL."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fastlog.drill.cluster.nats_servers import NatsCluster, stream_url
from fastlog.drill.cluster.network import Network
from fastlog.drill.cluster.postgres_server import PostgresServer, init_data, make_home
from fastlog.drill.cluster.programs import Programs, check_place
from fastlog.drill.interrupts import Interrupts
from fastlog.drill.server import DrillServer
from fastlog.drill.small_disk import NoSmallDiskError, SmallDisk
from fastlog.journal import read_positions
from fastlog.sinks.postgres_connection import psycopg
from fastlog.source.report import read_report
from fastlog.status.data_directory import read_status

STREAM = "LOGS"
_DATABASE = "logs"
_COUNT = 2
"""Of collectors, and of centrals."""


class Fleet:
    """Two collectors, three servers of NATS, two centrals, and a database.

    The first collector and the first central reach the cluster through a network of proxies. The
    second collector has a small disk, if this user may make one.

    Args:
        home: A directory for all files.
    """

    def __init__(self, home: Path, programs: Programs, interrupts: Interrupts) -> None:
        self._home, self._interrupts = home, interrupts
        self._programs = programs
        self._stack = ExitStack()
        (home / "nats").mkdir()
        self.cluster = NatsCluster(home / "nats", program=programs.nats, sync="always")
        self.database = PostgresServer(programs.postgres, home / "postgres")
        self.collectors: list[DrillServer] = []
        self.centrals: list[DrillServer] = []
        self.networks: list[Network] = []
        """Between the first collector and the cluster, and between the first central and it."""
        self.disk: SmallDisk | None = None
        """The disk of the last collector."""
        self.without_disk = ""
        """Why there is no small disk; "" if there is one."""

    @property
    def servers(self) -> list[DrillServer]:
        """Collectors and centrals."""
        return [*self.collectors, *self.centrals]

    # ---- start and stop ----

    def start(self) -> None:
        """Start everything.

        Raises:
            FastlogError: something did not start.
        """
        if os.geteuid() == 0:
            self._home.chmod(0o711)  # PostgreSQL's processes are another user's
        check_place(self._home)
        self._start_programs()
        with self._interrupts.deferred():
            ports = [server.port for server in self.cluster.servers]
            for _ in range(2):
                self.networks.append(self._stack.enter_context(Network(ports)))
        self._make_disk()
        direct = [ports] * (_COUNT - 1)
        for places, servers, make in (
            ([self.networks[0].ports, *direct], self.collectors, self._collector),
            ([self.networks[1].ports, *direct], self.centrals, self._central),
        ):
            for number, place in enumerate(places, 1):
                server = make(number, stream_url(place, STREAM, replicas=3, max_bytes="1GiB"))
                servers.append(server)
                with self._interrupts.deferred():
                    server.start()

    def _start_programs(self) -> None:
        with self._interrupts.deferred():
            for server in self.cluster.servers:
                server.start()
        with self._interrupts.deferred():
            make_home(self.database.home)
            init_data(self._programs.postgres, self.database.data)
            self.database.start()
        self.database.execute(f"CREATE DATABASE {_DATABASE}")
        self.cluster.wait_until_ready()

    def _make_disk(self) -> None:
        data = self._place("collector", _COUNT) / "data"
        data.mkdir(parents=True)
        with self._interrupts.deferred():
            try:
                self.disk = SmallDisk(data)
            except NoSmallDiskError as error:
                self.without_disk = str(error)

    def _place(self, role: str, number: int) -> Path:
        return self._home / f"{role}-{number}"

    def _collector(self, number: int, url: str) -> DrillServer:
        home = self._place("collector", number)
        home.mkdir(exist_ok=True)
        disk = self.disk if number == _COUNT else None
        return DrillServer(home, f"collector {number}", ["--sink", url], disk)

    def _central(self, number: int, url: str) -> DrillServer:
        home = self._place("central", number)
        home.mkdir()
        sink = self.database.url(_DATABASE)
        return DrillServer(home, f"central {number}", ["--source", url, "--sink", sink])

    def stop(self) -> None:
        """Stop collectors and centrals with SIGTERM.

        Raises:
            FastlogError: One did not end, or ended with an error.
        """
        for server in self.servers:
            server.stop()

    def kill_all(self) -> None:
        """Kill everything that runs. Safe to call at any time."""
        with ExitStack() as stack:  # calls each of them, whatever fails
            if self.disk is not None:
                stack.callback(self.disk.close)
            stack.callback(self.database.stop, signal.SIGQUIT)
            stack.callback(self.cluster.stop)
            stack.callback(self._stack.close)
            for server in self.servers:
                stack.callback(server.kill_all)

    # ---- what is shown ----

    def is_released(self, since: float) -> bool:
        """Return whether each collector knows that everything in its journal is stored.

        Args:
            since: The wall clock when the last client had ended.
        """
        for server in self.collectors:
            status = read_status(server.data)
            if status is None or not server.has_journaled(since):
                return False
            positions = read_positions(server.data).values()
            if not positions or any(each.durable < status.durable for each in positions):
                return False
        return True

    def nodes_of(self, central: DrillServer, since: float = 0.0) -> set[str]:
        """Return the nodes whose blocks a central stores, as it last reported.

        Args:
            since: Older reports do not count, by the wall clock.
        """
        report = read_report(central.data)
        if report is None or report.at < since:
            return set()
        return {node.node for node in report.nodes}

    # ---- the store ----

    def read_numbers(self) -> dict[str, list[int]]:
        """Return the numbers of the stored records by client, in the order of each journal."""
        with self.database.connect(_DATABASE) as connection:
            return read_numbers(connection)


def read_numbers(connection: psycopg.Connection[Any]) -> dict[str, list[int]]:
    """Return the numbers of the records in a database by client, in the order of each journal.

    Reads every row without an index, which could hide a duplicate.
    """
    for kind in ("indexscan", "indexonlyscan", "bitmapscan"):
        connection.execute(f"SET enable_{kind} = off")
    numbers: dict[str, list[int]] = defaultdict(list)
    for client, number in connection.execute(
        "SELECT extra->>'client', (extra->>'number')::int FROM fastlog.records"
        ' ORDER BY node, "offset", idx'
    ):
        numbers[client].append(number)
    return numbers
