"""The harness of a drill: its server, its network and its clients, and the faults they get."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastlog.drill.clients import Client, ClientReport, Kind, close_all
from fastlog.drill.interrupts import Interrupts
from fastlog.drill.proxy import Proxy
from fastlog.drill.server import DrillServer
from fastlog.drill.stored import count_stored
from fastlog.errors import FastlogError

SECONDS = 30.0
"""The default length of a drill, without the time to start programs and to empty queues."""
RATE = 200.0
"""Records a second of each client."""
TIMEOUT = 30.0
"""Seconds in which an expected state, such as the last record in the store, must be reached."""


@dataclass(frozen=True)
class Phase:
    """A part of the scenario, with clients of its own."""

    name: str
    share: float
    """The phase's part of the drill's time."""
    kinds: tuple[Kind, ...]
    """The kind of each client."""
    action: Callable[[Harness], None]
    """Injects the faults, until the phase's time is over."""
    only_reloads: bool = False
    """Whether reloads are the only fault."""
    kills_clients: bool = False


@dataclass
class ClientRun:
    """A client after its phase."""

    phase: Phase
    client: Client
    report: ClientReport


class Harness:
    """Controls the server, the proxy and the clients for the phases.

    Args:
        home: the directory for all files.
        rng: chooses faults and times.
        scale: how long phases last, relative to the default.
        interrupts: deferred while a process is being started.
        progress: called with a short text for each step.
    """

    def __init__(
        self,
        home: Path,
        server: DrillServer,
        proxy: Proxy,
        rng: random.Random,
        scale: float,
        interrupts: Interrupts,
        progress: Callable[[str], None],
    ) -> None:
        self.home, self.server, self.proxy, self.rng = home, server, proxy, rng
        self.events: Counter[str] = Counter()
        """How often each event happened."""
        self.clients: list[Client] = []
        """Those of the present phase."""
        self._scale, self._interrupts, self._progress = scale, interrupts, progress
        self._deadline = 0.0

    # ---- phases ----

    def run_phase(self, phase: Phase) -> list[ClientRun]:
        """Start the phase's clients, run its action, and stop the clients.

        Raises:
            FastlogError: the phase could not be carried out.
        """
        before = count_stored(self.server.logs)
        self._start_phase(phase)
        phase.action(self)
        runs = self._end_phase(phase)
        if phase.only_reloads:
            # What a stock client has sent may still be in the kernel. If the next phase lost it,
            # this phase would be blamed.
            sent = sum(run.report.sent for run in runs)
            deadline = time.monotonic() + TIMEOUT
            while count_stored(self.server.logs) < before + sent and time.monotonic() < deadline:
                time.sleep(0.05)
        return runs

    def _start_phase(self, phase: Phase) -> None:
        """Start the clients. The phase's time begins when each of them has logged a record."""
        self._progress(phase.name)
        self.clients = []
        for number, kind in enumerate(phase.kinds, 1):
            self.start_client(kind, f"{phase.name.replace(' ', '-')}-{number}")
        self.wait_for_clients(self.clients)
        self._deadline = time.monotonic() + phase.share * SECONDS * self._scale

    def _end_phase(self, phase: Phase) -> list[ClientRun]:
        """End all faults, let the clients send what they hold, and wait until they have ended."""
        self.proxy.clear_faults()
        if not self.server.is_running():
            self.start_server()
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
        port = self.proxy.port if kind.via_proxy else self.server.port
        with self._interrupts.deferred():
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
        time.sleep(self._scale * self.rng.uniform(shortest, longest))

    def wait_for(self, condition: Callable[[], object], event: str) -> None:
        """Wait until the condition holds.

        Raises:
            FastlogError: it does not hold within `TIMEOUT`.
        """
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            if time.monotonic() > deadline:
                raise FastlogError(f"no {event} within {TIMEOUT:.0f} s")
            time.sleep(0.01)

    def record(self, event: str) -> None:
        """Count the event, and report it as progress."""
        self.events[event] += 1
        self._progress(f"  {event}")

    # ---- faults of the server ----

    def start_server(self) -> None:
        """Kill what is left of the server, and start it."""
        self.server.kill_all()
        with self._interrupts.deferred():
            self.server.start()

    def reload(self) -> None:
        """Reload the server with SIGHUP.

        Raises:
            FastlogError: the reload was rejected, or did not replace the receiver.
        """
        self.record("reload")
        before = set(self.server.processes("receiver"))
        if not self.server.reload() or before & set(self.server.processes("receiver")):
            raise FastlogError(f"the reload did not replace the server; see {self.server.log}")

    def reload_and_kill_receiver(self) -> None:
        """Reload the server, and kill its receiver meanwhile."""

        def kill_receiver() -> None:
            self.pause(0.0, 1.0)
            self.server.kill("receiver")

        self.record("kill -9 of its receiver during a reload")
        self.server.reload(kill_receiver)

    def kill(self, role: str) -> None:
        """Kill the server's process of that role, `receiver` or `worker`, with SIGKILL."""
        self.record(f"kill -9 of its {role}")
        self.server.kill(role)

    def kill_everything(self) -> None:
        """Kill all processes of the server with SIGKILL, and start it again after a pause."""
        self.record("kill -9 of everything")
        self.server.kill_all()
        self.pause(0.2, 1.0)
        self.start_server()

    def stop_server(self) -> None:
        """Stop the server with SIGTERM."""
        self.record("stop the server")
        self.server.stop()

    def freeze(self, role: str | None, shortest: float, longest: float) -> None:
        """Stop processes with SIGSTOP for a random time between the two, in seconds.

        Args:
            role: `receiver` or `worker`; `None`: all processes of the server.
        """
        self.record(f"freeze its {role}" if role else "freeze everything")
        with self.server.frozen(role):
            self.pause(shortest, longest)
