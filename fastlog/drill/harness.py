"""The harness of a drill: what it starts, its clients, its phases and its time."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from fastlog.drill.clients import Client, ClientReport, Kind, close_all
from fastlog.drill.interrupts import Interrupts
from fastlog.drill.processes import wait_for
from fastlog.drill.server import TOO_SLOW, DrillServer
from fastlog.drill.stored import LedgerTotals
from fastlog.errors import FastlogError

SECONDS = 30.0
"""The default length of a drill, without the time to start programs and to empty queues."""
RATE = 200.0
"""Records a second of each client."""
RELOADS = 3
"""How often a reload is tried on a machine that is too busy for it."""
LONGEST_SCALE = 4.0
"""Pauses are not longer than in a drill of two minutes. Outages of a longer one are more, and not
longer: the memory of a client is to hold what it logs meanwhile."""


H = TypeVar("H", bound="Harness")


@dataclass(frozen=True)
class Phase(Generic[H]):
    """A part of the scenario, with clients of its own."""

    name: str
    share: float
    """The phase's part of the drill's time."""
    kinds: tuple[Kind, ...]
    """The kind of each client."""
    action: Callable[[H], None]
    """Injects the faults, until the phase's time is over."""
    keeps_connections: bool = False
    """Whether reloads, and faults behind the clients' servers, are the only ones."""
    kills_clients: bool = False


@dataclass
class ClientRun:
    """A client after its phase."""

    phase: Phase[Any]
    client: Client
    report: ClientReport


class Setting(NamedTuple):
    """What every harness is given."""

    home: Path
    """An empty directory for all files."""
    rng: random.Random
    """Chooses faults and times."""
    scale: float
    """How long phases last, relative to the default."""
    interrupts: Interrupts
    """Deferred while a process is being started."""
    progress: Callable[[str], None]
    """Called with a short text for each step."""


class Harness(ABC):
    """Controls the programs of a drill and its clients for the phases."""

    def __init__(self, setting: Setting) -> None:
        self.home, self.rng, self._scale, self.interrupts, self.progress = setting
        self.events: Counter[str] = Counter()
        """How often each event happened."""
        self.left_out: dict[str, str] = {}
        """The faults that cannot be injected here, and why."""
        self.unfinished = ""
        """What has not happened at the end although it must; "" if all has."""
        self.clients: list[Client] = []
        """Those of the present phase."""
        self._deadline = 0.0

    # ---- what differs between harnesses ----

    @abstractmethod
    def start(self) -> None:
        """Start everything but the clients.

        Raises:
            FastlogError: something did not start.
        """

    @abstractmethod
    def port_for(self, kind: Kind) -> int:
        """Return the port to which the next client of this kind connects."""

    @abstractmethod
    def end_faults(self) -> None:
        """End all faults: everything runs afterwards."""

    @property
    @abstractmethod
    def servers(self) -> Sequence[DrillServer]:
        """The servers to which clients connect."""

    @abstractmethod
    def finish(self, runs: Sequence[ClientRun]) -> None:
        """Count what happened in all phases, wait until all is stored, and stop the servers.

        Raises:
            FastlogError: a server did not stop.
        """

    @abstractmethod
    def read_numbers(self) -> Mapping[str, Sequence[int]]:
        """Return the numbers of the stored records by client, in the order of the store."""

    @abstractmethod
    def read_ledger(self) -> LedgerTotals:
        """Return the sums of the ledgers of all servers."""

    @abstractmethod
    def kill_all(self) -> None:
        """Kill everything but the clients that still runs. Safe to call at any time."""

    # ---- phases ----

    def run_phase(self: H, phase: Phase[H]) -> list[ClientRun]:
        """Start the phase's clients, run its action, and stop the clients.

        Raises:
            FastlogError: the phase could not be carried out.
        """
        self._start_phase(phase)
        phase.action(self)
        runs = self._end_phase(phase)
        if phase.keeps_connections:
            # What a stock client has sent may still be in the kernel. If the next phase lost it,
            # this phase would be blamed.
            ended = time.time()
            for server in self.servers:
                self.wait_for(
                    partial(server.has_journaled, ended),
                    f"{server.name} has journaled what its clients have sent",
                )
        return runs

    def _start_phase(self, phase: Phase[Any]) -> None:
        """Start the clients. The phase's time begins when each of them has logged a record."""
        self.progress(phase.name)
        self.clients = []
        for number, kind in enumerate(phase.kinds, 1):
            self.start_client(kind, f"{phase.name.replace(' ', '-')}-{number}")
        self.wait_for_clients(self.clients)
        self._deadline = time.monotonic() + phase.share * SECONDS * self._scale

    def _end_phase(self, phase: Phase[Any]) -> list[ClientRun]:
        """End all faults, let the clients send what they hold, and wait until they have ended."""
        self.end_faults()
        for client in self.clients:
            client.check()
            if not client.was_killed:
                client.request_stop()
        runs = [ClientRun(phase, client, client.wait()) for client in self.clients]
        close_all(self.clients)
        return runs

    # ---- clients ----

    def start_client(self, kind: Kind, name: str, spool: Path | None = None) -> Client:
        """Start a client, and add it to those of the phase."""
        client = Client(kind, name, self.home, spool)
        self.clients.append(client)
        port = self.port_for(kind)
        with self.interrupts.deferred():
            client.start(port, RATE, self.rng.randrange(1 << 32))
        return client

    def wait_for_clients(self, clients: list[Client]) -> None:
        """Wait until each of these has logged a record.

        Raises:
            FastlogError: one has ended by itself.
        """
        while any(not client.count_logged() for client in clients):
            for client in clients:
                client.check()
            time.sleep(0.01)

    def kill_client(self, client: Client) -> None:
        """Kill the client with SIGKILL."""
        self.record("kill -9 of a client")
        client.kill()

    # ---- time ----

    def has_time(self) -> bool:
        """Return whether the phase has time left."""
        return time.monotonic() < self._deadline

    def pause(self, shortest: float, longest: float) -> None:
        """Sleep for a random time between the two, in seconds of a drill of default length."""
        time.sleep(min(self._scale, LONGEST_SCALE) * self.rng.uniform(shortest, longest))

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until the condition holds.

        Raises:
            FastlogError: it does not hold within `processes.TIMEOUT`.
        """
        wait_for(condition, what)

    def record(self, event: str) -> None:
        """Count the event, and report it as progress."""
        self.events[event] += 1
        self.progress(f"  {event}")

    # ---- faults ----

    def replace_server(self, server: DrillServer) -> None:
        """Reload a server with SIGHUP; again, if the machine was too busy for it.

        Raises:
            FastlogError: the reload was rejected for another reason, or too often.
        """
        for _ in range(RELOADS):
            slow = server.count_in_log(TOO_SLOW)
            if server.reload():
                return
            if server.count_in_log(TOO_SLOW) == slow:
                break
            self.record("reload rejected, since the machine was too busy")
        raise FastlogError(f"the reload did not replace {server.name}; see {server.log}")

    def inject(self, faults: Sequence[Callable[[], None]]) -> None:
        """Inject each fault once, in random order, then random ones until the phase's time is
        over."""
        order = self.rng.sample(faults, len(faults))
        while order or self.has_time():
            self.pause(0.2, 0.5)
            (order.pop() if order else self.rng.choice(faults))()
        self.pause(0.2, 0.4)
