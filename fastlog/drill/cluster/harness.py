"""The harness of a drill with a cluster: the faults that its servers, networks and disk get."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from fastlog.drill.clients import Kind
from fastlog.drill.cluster.fleet import STREAM, Fleet
from fastlog.drill.cluster.nats_servers import NatsServer
from fastlog.drill.cluster.network import Network
from fastlog.drill.cluster.programs import Programs
from fastlog.drill.harness import ClientRun, Harness, Setting
from fastlog.drill.processes import wait_for
from fastlog.drill.server import DrillServer
from fastlog.drill.stored import LedgerTotals, read_ledgers
from fastlog.errors import FastlogError

DEDUP_WINDOW = 1.0
"""Seconds of the stream's dedup window."""
TAKE_OVER = 60.0
"""Seconds in which a central must take the nodes of another one: it waits for eight, at least."""
STORED = 120.0
"""Seconds after the last fault in which everything must be stored."""
FULL = "cannot write: disk full"
LOST = "which the cluster has lost"
"""Text in the log of a collector that publishes blocks again."""


class ClusterHarness(Harness):
    """Controls collectors, a cluster, centrals, a database, and the clients."""

    def __init__(self, setting: Setting, programs: Programs) -> None:
        super().__init__(setting)
        self.fleet = Fleet(setting.home, programs, setting.interrupts)
        self._turns = itertools.count()

    def start(self) -> None:
        self.progress("start collectors, cluster, centrals and database")
        self.fleet.start()
        if self.fleet.without_disk:
            self.left_out["a collector's full disk"] = self.fleet.without_disk

    @property
    def servers(self) -> Sequence[DrillServer]:
        return self.fleet.collectors

    def port_for(self, kind: Kind) -> int:
        return self.servers[next(self._turns) % len(self.servers)].port

    def end_faults(self) -> None:
        for network in self.fleet.networks:
            network.clear_faults()
        if self.fleet.disk is not None:
            self.fleet.disk.clear()

    def finish(self, runs: Sequence[ClientRun]) -> None:
        self.events["connection to the cluster reset"] = sum(
            network.cuts for network in self.fleet.networks
        )
        self.events["record sent again"] = sum(run.report.resent for run in runs)
        ended = time.time()
        try:
            wait_for(
                partial(self.fleet.is_released, ended),
                "each collector knows that all it has is stored",
                STORED,
                interval=0.05,
            )
        except FastlogError as error:
            self.unfinished = str(error)
        self.events["blocks published again that the cluster had lost"] = sum(
            server.count_in_log(LOST) for server in self.fleet.collectors
        )
        self.fleet.stop()

    def read_numbers(self) -> Mapping[str, Sequence[int]]:
        return self.fleet.read_numbers()

    def read_ledger(self) -> LedgerTotals:
        return read_ledgers(server.data for server in self.fleet.servers)

    def kill_all(self) -> None:
        self.fleet.kill_all()

    # ---- the cluster ----

    def kill_leader(self) -> None:
        """Kill the server that leads the stream, and start it again after a pause."""
        leader = self.fleet.cluster.leader(STREAM)
        self.record("kill -9 of the stream's leader")
        self._restart([leader])

    def kill_majority(self) -> None:
        """Kill two of the three servers, and start them again after a pause."""
        self.record("kill -9 of two of three servers of the cluster")
        self._restart(self.rng.sample(self.fleet.cluster.servers, 2))

    def flip_bit(self) -> None:
        """Kill a server, flip a bit of what it stores of the stream, and start it again.

        The database is away meanwhile, or the stream would be nearly empty. Afterwards the stream
        gets another leader, which may be this server.
        """
        server = self.rng.choice(self.fleet.cluster.servers)
        self.record("flip a bit in the store of a server of the cluster")
        with self.database_away():
            self.pause(0.5, 1.5)
            self.wait_for(lambda: server.messages_of(STREAM), "the server has stored a message")
            server.stop()
            server.flip_bit(STREAM, self.rng)
            self._restart([server])
            leader = self.fleet.cluster.leader(STREAM)
            if leader is not server:
                self._restart([leader])

    def _restart(self, servers: Sequence[NatsServer]) -> None:
        for server in servers:
            server.stop()
        self.pause(0.3, 1.0)
        with self.interrupts.deferred():
            for server in servers:
                server.start()
        self.fleet.cluster.wait_until_ready()

    # ---- networks ----

    def cut(self, network: Network) -> None:
        """Reset connections to the cluster, and new ones at random bytes."""
        self._await_connection(network)
        self.record(f"cut the connections of {self._end_of(network)} to the cluster")
        network.cut_after(lambda: self.rng.randrange(1, 40_000))
        network.cut()
        self.pause(0.5, 1.5)
        network.clear_faults()

    def discard(self, network: Network) -> None:
        """Discard all traffic to the cluster, without an error to either side."""
        self._await_connection(network)
        self.record(f"discard all traffic of {self._end_of(network)} to the cluster")
        before = network.discarded
        network.discard()
        self.wait_for(lambda: network.discarded > before, "a byte is discarded")
        self.pause(0.5, 1.0)
        network.clear_faults()

    def _await_connection(self, network: Network) -> None:
        self.wait_for(lambda: network.forwarding, "there is a connection to the cluster")

    def _end_of(self, network: Network) -> str:
        return "a collector" if network is self.fleet.networks[0] else "a central"

    # ---- collectors ----

    def fill_disk(self) -> None:
        """Fill the disk of a collector, and make room after a pause."""
        disk, server = self.fleet.disk, self.fleet.collectors[-1]
        assert disk is not None
        self.record("fill the disk of a collector")
        disk.fill()
        self.wait_for(lambda: server.failure() == FULL, "the collector reports its full disk")
        self.pause(0.3, 1.0)
        disk.clear()

    # ---- collectors and centrals ----

    def kill(self, server: DrillServer, role: str) -> None:
        """Kill the processes of that role with SIGKILL."""
        self.record(f"kill -9 of the {role} of {_kind_of(server)}")
        server.kill(role)

    def kill_everything(self, server: DrillServer) -> None:
        """Kill all processes of a server with SIGKILL, and start it again after a pause."""
        self.record(f"kill -9 of {_kind_of(server)}")
        server.kill_all()
        self.pause(0.2, 1.0)
        self._start(server)

    def reload(self, server: DrillServer) -> None:
        """Reload a server with SIGHUP.

        Raises:
            FastlogError: The reload was rejected.
        """
        self.record(f"reload {_kind_of(server)}")
        self.replace_server(server)

    def take_over(self) -> None:
        """Kill or freeze a central until the other one stores what it had taken; then continue."""
        began = time.time()

        def busy() -> list[DrillServer]:
            return [each for each in self.fleet.centrals if self.fleet.nodes_of(each, began)]

        central = self.rng.choice(wait_for(busy, "a central stores what a collector publishes"))
        how = self.rng.choice(("kill -9 of", "freeze"))
        self.record(f"{how} a central until the other one takes over")
        if how == "freeze":
            with central.frozen(None):
                self._await_take_over(central)
            return
        central.kill_all()
        self._await_take_over(central)
        self._start(central)

    def _await_take_over(self, central: DrillServer) -> None:
        [other] = [each for each in self.fleet.centrals if each is not central]
        nodes = self.fleet.nodes_of(central)
        wait_for(
            lambda: nodes <= self.fleet.nodes_of(other),
            f"{other.name} takes over from {central.name}",
            TAKE_OVER,
            interval=0.05,
        )

    def _start(self, server: DrillServer) -> None:
        with self.interrupts.deferred():
            server.start()

    # ---- the database ----

    @contextmanager
    def database_away(self) -> Iterator[None]:
        """Stop the database, or kill it, for longer than the dedup window. It may be away
        already."""
        database = self.fleet.database
        if not database.is_running:
            yield
            return
        how = self.rng.choice((signal.SIGINT, signal.SIGKILL))
        self.record(f"{'stop' if how == signal.SIGINT else 'kill -9 of'} the database")
        began = time.monotonic()
        database.stop(how)
        yield
        time.sleep(max(0.0, began + DEDUP_WINDOW + 0.2 - time.monotonic()))
        self.pause(0.0, 0.5)
        with self.interrupts.deferred():
            database.start()

    def lose_database(self) -> None:
        """Take the database away for a while."""
        with self.database_away():
            pass

    def lose_database_during(self, faults: Sequence[Callable[[], None]]) -> None:
        """Take the database away, and inject one of these faults meanwhile."""
        with self.database_away():
            self.rng.choice(faults)()


def _kind_of(server: DrillServer) -> str:
    return f"a {server.name.partition(' ')[0]}"
