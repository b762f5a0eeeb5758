"""The harness of a drill with one server: the server, a bad network, and the faults they get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from fastlog.drill.clients import Kind
from fastlog.drill.harness import ClientRun, Harness, Setting
from fastlog.drill.proxy import Proxy
from fastlog.drill.server import DrillServer
from fastlog.drill.stored import LedgerTotals, read_ledgers, read_numbers
from fastlog.errors import FastlogError


class ServerHarness(Harness):
    """Controls a server, a proxy before it, and the clients."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.server = DrillServer(setting.home)
        self._stack = ExitStack()
        self._proxy: Proxy | None = None

    @property
    def proxy(self) -> Proxy:
        """The bad network; only after the start."""
        assert self._proxy is not None
        return self._proxy

    def start(self) -> None:
        with self.interrupts.deferred():
            self.server.start()
            self._proxy = self._stack.enter_context(Proxy(self.server.port))

    @property
    def servers(self) -> Sequence[DrillServer]:
        return (self.server,)

    def port_for(self, kind: Kind) -> int:
        return self.proxy.port if kind.via_proxy else self.server.port

    def end_faults(self) -> None:
        self.proxy.clear_faults()
        if not self.server.is_running():
            self.start_server()

    def finish(self, runs: Sequence[ClientRun]) -> None:
        self.events["connection reset"] = self.proxy.cuts
        self.events["ack dropped"] = self.proxy.dropped_acks
        self.events["record sent again"] = sum(run.report.resent for run in runs)
        self.server.stop()

    def read_numbers(self) -> Mapping[str, Sequence[int]]:
        return read_numbers(self.server.logs)

    def read_ledger(self) -> LedgerTotals:
        return read_ledgers([self.server.data])

    def kill_all(self) -> None:
        self._stack.close()
        self.server.kill_all()

    # ---- faults ----

    def start_server(self) -> None:
        """Kill what is left of the server, and start it."""
        self.server.kill_all()
        with self.interrupts.deferred():
            self.server.start()

    def reload(self) -> None:
        """Reload the server with SIGHUP.

        Raises:
            FastlogError: the reload was rejected, or did not replace the receiver.
        """
        self.record("reload")
        before = set(self.server.processes("receiver"))
        self.replace_server(self.server)
        if before & set(self.server.processes("receiver")):
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
