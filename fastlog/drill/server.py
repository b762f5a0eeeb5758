"""A fastlog-server of the drill: of this installation, with its own directory and port.

The lock of its data directory, which all its processes hold, distinguishes them from all others.
Only processes that hold it are sent signals.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fastlog.drill.processes import TIMEOUT, last_line, wait_for
from fastlog.drill.small_disk import SmallDisk
from fastlog.errors import FastlogError
from fastlog.status.data_directory import read_status

KEEPALIVE = 1.0
"""Seconds; a client takes the server for dead after three times as long. The default of five would
take a drill too long."""
RELOADED, REJECTED = "reload: done", "the old server continues"
"""Texts in the log of a reload that succeeded, and of one that failed."""
TOO_SLOW = r"reload: the new .* after \d+ s\b"
"""What the log has of a reload of which a step took too long; a regular expression."""

_PROGRAM = "from fastlog.cli.serve import main; main()"
"""The same as the console script `fastlog-server`, for this interpreter."""
_CONFIG = f"[clients]\nkeepalive = {KEEPALIVE}\n"


class DrillServer:
    """A server that is not started yet.

    Args:
        home: a directory for its data, its configuration and its log.
        name: what errors call it.
        options: more of its command line.
        disk: mounted at `home / "data"` for its processes; `None`: there is none.
    """

    def __init__(
        self,
        home: Path,
        name: str = "the server",
        options: Sequence[str] = (),
        disk: SmallDisk | None = None,
    ) -> None:
        self.name = name
        self.data = home / "data" if disk is None else disk.path
        """The directory of its data, as this process sees it."""
        self.logs = self.data / "logs"
        self.log = home / "server.log"
        self.port = 0
        """On 127.0.0.1; 0 before the first start, then the same after each."""
        self._home, self._out, self._options = home, home / "server.out", options
        self._prefix = [] if disk is None else disk.command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready.

        Raises:
            FastlogError: it did not become ready.
        """
        config = self._home / "drill.toml"
        config.write_text(_CONFIG)
        arguments = ["--config", str(config), "--data-dir", str(self._home / "data")]
        arguments += ["--listen", f"tcp://127.0.0.1:{self.port}", *self._options]
        env = {name: value for name, value in os.environ.items() if not name.startswith("FASTLOG_")}
        with self._out.open("wb") as out, self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*self._prefix, sys.executable, "-P", "-c", _PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=env,
                cwd=self._home,
                process_group=0,  # Ctrl-C in a terminal must reach the drill only
            )
        self._wait_for(lambda: b"\n" in self._out.read_bytes(), "start")
        line = self._out.read_text()
        url = line.partition(" listening on ")[2].partition(";")[0]
        port = urlsplit(url).port
        assert port is not None
        self.port = port

    def stop(self) -> None:
        """Send SIGTERM, and wait until the server has ended.

        Raises:
            FastlogError: it did not end, or ended with an error.
        """
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise FastlogError(
                f"{self.name} did not stop within {TIMEOUT:.0f} s; see {self.log}"
            ) from None
        if status:
            raise FastlogError(f"{self.name} ended with {status}; see {self.log}")

    def reload(self, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """Send SIGHUP, and wait for the result in the log.

        Args:
            meanwhile: called after the signal has been sent.

        Returns:
            Whether the log says that the server was replaced.
        """
        assert self._process is not None
        done, rejected = self.count_in_log(RELOADED), self.count_in_log(REJECTED)
        self._process.send_signal(signal.SIGHUP)
        meanwhile()
        self._wait_for(
            lambda: self.count_in_log(RELOADED) > done or self.count_in_log(REJECTED) > rejected,
            "reload",
        )
        return self.count_in_log(RELOADED) > done

    def kill(self, role: str) -> None:
        """Kill its processes of that role (`receiver`, `worker`, `source`), and wait for new ones.

        Raises:
            FastlogError: no new one was started.
        """
        self._wait_for(lambda: self.processes(role), f"have a {role}")
        killed = self.processes(role)
        for pid in killed:
            self._signal(pid, signal.SIGKILL)
        self._wait_for(lambda: set(self.processes(role)) - set(killed), f"start its {role} again")

    def kill_all(self) -> None:
        """Kill all its processes.

        Raises:
            FastlogError: some still run after `TIMEOUT`.
        """
        deadline = time.monotonic() + TIMEOUT
        while pids := self.processes():
            for pid in pids:
                self._signal(pid, signal.SIGKILL)
            if self._process is not None:
                self._process.poll()  # reaps it
            if time.monotonic() > deadline:
                raise FastlogError(f"processes {pids} of {self.name} cannot be killed")
            time.sleep(0.01)
        if self._process is not None:
            self._process.kill()  # it may not hold the lock yet
            self._process.wait()

    @contextlib.contextmanager
    def frozen(self, role: str | None) -> Iterator[None]:
        """Stop its processes of that role, or all, with SIGSTOP; send SIGCONT afterwards."""
        pids = self.processes(role)
        try:
            for pid in pids:
                self._signal(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                self._signal(pid, signal.SIGCONT)

    def is_running(self) -> bool:
        """Return whether its supervisor runs."""
        return self._process is not None and self._process.poll() is None

    def failure(self) -> str | None:
        """Return why its journal cannot be written now; `None`: it can."""
        status = read_status(self.data)
        return None if status is None else status.failure

    def has_journaled(self, since: float) -> bool:
        """Return whether no client is connected, and all that came is in the journal durably.

        Args:
            since: the wall clock when the last client had ended.
        """
        status = read_status(self.data)
        return (
            status is not None
            and status.at > since
            and not status.connections
            and status.durable == status.oldest + status.size
        )

    def processes(self, role: str | None = None) -> list[int]:
        """Return the pids of its processes: `supervisor`, `receiver`, `worker`, `source`;
        `None`: all."""
        return [
            pid
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and (found := _role(pid := int(entry.name)))
            if role in (None, found) and self._owns(pid)
        ]

    def _signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal, unless the pid belongs to another process by now."""
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
            try:
                if self._owns(pid):
                    signal.pidfd_send_signal(fd, number)
            finally:
                os.close(fd)

    def _owns(self, pid: int) -> bool:
        lock = os.path.realpath(self._home / "data" / "lock")
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # it has just closed this one
                    # Not realpath, which looks at each folder of the path, for all descriptors.
                    if str(fd.readlink()) == lock:
                        return True
        return False

    def count_in_log(self, pattern: str) -> int:
        """Return how often its log matches the regular expression."""
        return len(re.findall(pattern, self.log.read_text(errors="replace")))

    def _wait_for(self, condition: Callable[[], object], what: str) -> None:
        def holds() -> bool:
            if not self.is_running():
                raise FastlogError("it has ended")
            return bool(condition())

        try:
            wait_for(holds, what)
        except FastlogError:
            raise FastlogError(f"{self.name} did not {what}: {last_line(self.log)}") from None


def _role(pid: int) -> str:
    """Return what a process does for a fastlog-server; "" for other programs."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    if b"fastlog" not in line:
        return ""  # looking at the files of every program would take long
    roles = {
        b"fastlog.receiver": "receiver",
        b"fastlog.worker": "worker",
        b"fastlog.source": "source",
    }
    return next((roles[word] for word in line.split(b"\0") if word in roles), "supervisor")
