"""The drill's clients, each a process that runs `program`."""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastlog.drill.program import ATTEMPTED, LOGGED
from fastlog.errors import FastlogError

PROGRAM = Path(__file__).with_name("program.py")
TIMEOUT = 20.0
"""Seconds that a client has, at the end of its phase, to get everything acknowledged."""


@dataclass(frozen=True)
class Kind:
    """How a client logs."""

    name: str
    handler: str
    """`stock`, `reconnecting` or `fastlog`."""
    max_bytes: int | None = None
    """The handler's limit of memory; `None`: its default."""
    has_spool: bool = False
    via_proxy: bool = False

    @property
    def is_fastlog(self) -> bool:
        """Whether the client uses the fastlog protocol."""
        return self.handler == "fastlog"


@dataclass
class ClientReport:
    """What a client logged. `sent` and `attempted` are known even when it was killed."""

    sent: int
    """Logging calls that returned."""
    attempted: int
    """Logging calls that began: one more than `sent` if a kill interrupted one."""
    client_id: str | None = None
    connections: int = 0
    unsent: int = 0
    """Records that its handler still held at the end."""
    resent: int = 0
    """Repeated transmissions of records, over later connections."""


class Client:
    """One client process.

    Args:
        name: goes into every record.
        home: a directory for its files.
        spool: the spool directory, for a kind that has one. It may be that of a killed client.
    """

    def __init__(self, kind: Kind, name: str, home: Path, spool: Path | None = None) -> None:
        self.kind, self.name = kind, name
        self.spool = spool or home / f"{name}.spool"
        self._progress = home / f"{name}.progress"
        self._log = home / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.was_killed = False

    def start(self, port: int, rate: float, seed: int) -> None:
        """Start the process, which logs `rate` records a second to this port of 127.0.0.1."""
        self._progress.write_bytes(bytes(16))
        settings = {
            "handler": self.kind.handler,
            "options": self._options(),
            "port": port,
            "client": self.name,
            "progress": str(self._progress),
            "rate": rate,
            "seed": seed,
            "timeout": TIMEOUT,
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", str(PROGRAM), json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,  # Ctrl-C in a terminal must reach the drill only
            )

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self.kind.is_fastlog:
            options["close_timeout"] = 5.0
        if self.kind.max_bytes is not None:
            options["max_bytes"] = self.kind.max_bytes
        if self.kind.has_spool:
            options["spool"] = str(self.spool)
        return options

    def count_logged(self) -> int:
        """Return how many records it has logged so far."""
        return self._read_progress(LOGGED)

    def check(self) -> None:
        """Raise FastlogError if the process has ended by itself."""
        if self._process is not None and self._process.poll() is not None and not self.was_killed:
            raise FastlogError(f"the client {self.name} ended; see {self._log}")

    def kill(self) -> None:
        """Kill the process with SIGKILL, and wait until it has ended."""
        assert self._process is not None
        self.was_killed = True
        self._process.kill()
        self._process.wait()

    def request_stop(self) -> None:
        """Close its stdin: it stops logging, and ends once all records have arrived."""
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def wait(self) -> ClientReport:
        """Wait until the process has ended, and return its report.

        Raises:
            FastlogError: it did not end, or failed.
        """
        assert self._process is not None and self._process.stdout is not None
        try:
            status = self._process.wait(3 * TIMEOUT)
        except subprocess.TimeoutExpired:
            raise FastlogError(
                f"the client {self.name} did not end within {3 * TIMEOUT:.0f} s; see {self._log}"
            ) from None
        values: dict[str, Any] = {}
        for line in self._process.stdout.read().splitlines():
            values |= json.loads(line)
        if not self.was_killed and (status or "unsent" not in values):
            raise FastlogError(f"the client {self.name} failed; see {self._log}")
        return ClientReport(
            sent=self._read_progress(LOGGED),
            attempted=self._read_progress(ATTEMPTED),
            client_id=values.get("id"),
            connections=values.get("connections", 0),
            unsent=values.get("unsent", 0),
            resent=values.get("resent", 0),
        )

    def close(self) -> None:
        """Kill the process if it runs, and close its pipes."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _read_progress(self, offset: int) -> int:
        return int(struct.unpack_from("=Q", self._progress.read_bytes(), offset)[0])


def has_package() -> bool:
    """Return whether a process that is started as the clients are can import fastlog_client."""
    probe = [sys.executable, "-P", "-c", "import fastlog_client"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0  # noqa: S603


def close_all(clients: Iterable[Client]) -> None:
    """Kill the clients that still run, and close their pipes."""
    for client in clients:
        client.close()
