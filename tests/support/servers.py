"""A real fastlog-server for tests: started like a user's, and always stopped at the end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from conditions import wait_for

from fastlog.drill.ports import ReservedPort
from fastlog.drill.processes import dying_with_parent
from fastlog.drill.server import REJECTED, RELOADED, TOO_SLOW

BIN = Path(sys.executable).parent
SERVER = BIN / "fastlog-server"
FASTLOG = BIN / "fastlog"

RELOADS = 5
"""How often a reload is requested until no step takes too long."""
RELOAD_SECONDS = 120.0
"""More than all steps of a reload may take."""


class Server:
    """A `fastlog-server` process with its own directory, by default on a free port."""

    def __init__(
        self,
        home: Path,
        *,
        listen: Sequence[str] = ("tcp://127.0.0.1:0",),
        sinks: Sequence[str] = (),
        config: str = "",
        web: str = "",
        env: dict[str, str] | None = None,
        open_files: int | None = None,
    ) -> None:
        self.home, self.data = home, home / "data"
        self.logs = self.data / "logs"
        """The directory of the day files."""
        self.log = home / "server.log"
        self._config, self._listen, self._sinks = config, listen, sinks
        self._web = web
        self._env = {**os.environ, **(env or {})}
        self._open_files = open_files
        self._reserved: list[ReservedPort] = []
        self.process: subprocess.Popen[str] | None = None
        self.ready_line = ""
        self.has_ended = False
        """Whether its `with` block has ended."""

    def command(self) -> list[str | Path]:
        command: list[str | Path] = [SERVER, "--data-dir", self.data]
        if self._open_files is not None:
            command = ["sh", "-c", f'ulimit -n {self._open_files} && exec "$@"', "sh", *command]
        for url in self._listen:
            command += ["--listen", url]
        for url in self._sinks:
            command += ["--sink", url]
        if self._web:
            command += ["--web", self._web]
        if self._config:
            path = self.home / "fastlog.toml"
            path.write_text(self._config)
            command += ["--config", path]
        return command

    def start(self) -> Server:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                dying_with_parent(self.command()),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._env,
                cwd=self.home,
            )
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()
        assert " listening on " in self.ready_line, self.messages()
        return self

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.has_ended = True
        self.kill()
        for port in self._reserved:
            port.close()
        print(self.messages())  # pytest prints it if the test has failed

    def messages(self) -> str:
        return self.log.read_text()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def urls(self) -> list[str]:
        return self.ready_line.partition(" listening on ")[2].partition(";")[0].split()

    @property
    def port(self) -> int:
        port = urlsplit(self.urls()[0]).port
        assert port is not None
        return port

    def fixed(self) -> Server:
        """Use the same ports after each restart: reserve those that the kernel is to choose.

        Call this before the start. The ports stay reserved until the end of the `with` block.
        """
        assert self.process is None
        self._listen = [self._reserve(url) for url in self._listen]
        self._web = self._reserve(self._web)
        return self

    def _reserve(self, url: str) -> str:
        host, _, port = url.rpartition(":")
        if port != "0":
            return url
        self._reserved.append(ReservedPort())
        return f"{host}:{self._reserved[-1].number}"

    def connect(self, data: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        if data:
            client.sendall(data)
        return client

    def children(self) -> dict[str, int]:
        """Return the pids of its child processes by role: `receiver`, `worker sqlite`."""
        return {
            role: pid for pid, role in processes_of(self.data) if role not in ("supervisor", "")
        }

    def reload(self, outcome: str = RELOADED) -> None:
        """Send SIGHUP, and wait for this text in the log; again, if the machine was too busy."""
        seen = len(self.messages())
        os.kill(self.pid, signal.SIGHUP)
        self.finish_reload(seen, outcome)

    def finish_reload(self, seen: int = 0, outcome: str = RELOADED) -> None:
        """Wait for the outcome of a reload; request it again only if a step took too long.

        Args:
            seen: The length of the log before the reload was requested.
        """

        def end(since: int) -> str:
            new = self.messages()[since:]
            return new if RELOADED in new or REJECTED in new else ""

        for again in range(RELOADS):
            if again:
                seen = len(self.messages())
                os.kill(self.pid, signal.SIGHUP)
            new = wait_for(partial(end, seen), "the reload has ended", RELOAD_SECONDS)
            if not re.search(TOO_SLOW, new):
                break
        assert outcome in new, new

    def stop(self) -> int:
        """Send SIGTERM, wait, and return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self._wait()

    def kill(self) -> None:
        """Kill all its processes with SIGKILL."""
        if self.process is not None:
            for pid, _ in processes_of(self.data):
                kill(pid)
            self._wait()
            wait_for(lambda: not processes_of(self.data), "all processes are gone")

    def _wait(self) -> int:
        assert self.process is not None
        status = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    # ---- stored records and ledger ----

    def records(self) -> list[dict[str, Any]]:
        """Return all rows of the day files, in order of arrival."""
        return sorted(
            (row for path in sorted(self.logs.glob("*.db")) for row in rows(path)),
            key=lambda row: (row["offset"], row["idx"]),
        )

    def stored(self) -> int:
        return sum(count_rows(path) for path in self.logs.glob("*.db"))

    def wait_stored(self, count: int, seconds: float = 60.0) -> None:
        wait_for(lambda: self.stored() >= count, f"{count} records stored", seconds)
        assert self.stored() == count

    def rejected(self) -> list[dict[str, Any]]:
        return self._ledger("rejected")

    def losses(self) -> list[dict[str, Any]]:
        return self._ledger("losses")

    def _ledger(self, table: str) -> list[dict[str, Any]]:
        path = self.data / "ledger.db"
        return list(rows(path, table)) if path.exists() else []

    def status(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.data / "status.json").read_text()))
        except FileNotFoundError:
            return {}


def rows(path: Path, table: str = "records") -> Iterator[dict[str, Any]]:
    """Yield the rows of a table; none while the file is being made."""
    with closing(sqlite3.connect(path, timeout=30)) as database:
        database.row_factory = sqlite3.Row
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [table]).fetchone():
            yield from map(dict, database.execute(f"SELECT * FROM {table}"))


def count_rows(path: Path) -> int:
    """Return the number of records of a day file; 0 while it is being made.

    Its entries are counted, not the view `records`, which joins three tables to each of them.
    """
    with closing(sqlite3.connect(path, timeout=30)) as day:
        found = day.execute("SELECT name FROM sqlite_master WHERE name IN ('entries', 'records')")
        names = sorted(name for (name,) in found)
        if "records" not in names:
            return 0
        return int(day.execute(f"SELECT count(*) FROM {names[0]}").fetchone()[0])


def processes_of(data: Path) -> list[tuple[int, str]]:
    """Return pid and role of the processes that have this data directory's lock open."""
    lock = os.path.realpath(data / "lock")
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - it is called often
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:  # noqa: PTH123
                words = file.read()
            # The files of other programs are not listed: that takes long.
            if b"fastlog" in words and lock in _open_files(name):
                found.append((int(name), _role(words.decode().split("\0"))))
        except OSError:
            continue  # it has just ended, or belongs to another user
    return found


def _open_files(pid: str) -> Iterator[str]:
    for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            yield os.readlink(f"/proc/{pid}/fd/{name}")  # noqa: PTH115


def _role(words: list[str]) -> str:
    if "fastlog.receiver" in words:
        return "receiver"
    if "fastlog.web" in words:
        return "web"
    if "fastlog.source" in words:
        return "source"
    if "fastlog.tls" in words:
        return "tls"
    if "fastlog.worker" in words:
        return f"worker {words[words.index('--sink') + 1]}"
    return "supervisor"


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def restarted(server: Server, how: str) -> None:
    """Restart the receiver, or everything, after `kill -9`; or the server after a `stop`."""
    if how == "receiver":
        before = server.children()["receiver"]
        kill(before)
        wait_for(lambda: server.children().get("receiver", before) != before)
    elif how == "everything":
        server.kill()
        server.start()
    elif how == "stop":
        server.stop()
        server.start()
