"""The drill's clients: a process each, all of them of a kind."""

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

from fastlog.drill.client import BEGUN, DONE
from fastlog.errors import FastlogError

PROGRAM = Path(__file__).with_name("client.py")
PATIENCE = 20.0
"""Seconds that a client has, at the end of its phase, to get everything acknowledged."""


@dataclass(frozen=True)
class Kind:
    """How a client logs."""

    name: str
    handler: str
    """`stock`, `reconnecting` or `fastlog`."""
    max_bytes: int | None = None
    """Of its memory."""
    spools: bool = False
    by_proxy: bool = False

    @property
    def is_ours(self) -> bool:
        """It speaks the fastlog protocol."""
        return self.handler == "fastlog"


@dataclass
class Report:
    """What a client says of itself; what it logged is known also when it was killed."""

    sent: int
    """Calls of the logging library that returned."""
    begun: int
    """And that were made: one more, where it was killed in the middle of one."""
    client_id: str | None = None
    connections: int = 0
    unsent: int = 0
    """What it still had at the end, by its own account."""
    resent: int = 0
    """Records that it has sent over more than one connection, each time counted."""


class Client:
    """One process.

    Args:
        name: goes into every record.
        home: a directory for its files.
        spool: of a kind that spools: a directory, which it may have from a client that was killed.
    """

    def __init__(self, kind: Kind, name: str, home: Path, spool: Path | None = None) -> None:
        self.kind, self.name = kind, name
        self.spool = spool or home / f"{name}.spool"
        self._marks = home / f"{name}.marks"
        self._log = home / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.was_killed = False

    def start(self, port: int, rate: float, seed: int) -> None:
        """Begin to log to this port of 127.0.0.1, at so many records a second."""
        self._marks.write_bytes(bytes(16))
        settings = {
            "handler": self.kind.handler,
            "options": self._options(),
            "port": port,
            "client": self.name,
            "marks": str(self._marks),
            "rate": rate,
            "seed": seed,
            "patience": PATIENCE,
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", str(PROGRAM), json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,  # Ctrl-C in a terminal is the drill's to hear
            )

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self.kind.is_ours:
            options["close_timeout"] = 5.0
        if self.kind.max_bytes is not None:
            options["max_bytes"] = self.kind.max_bytes
        if self.kind.spools:
            options["spool"] = str(self.spool)
        return options

    def has_logged(self) -> int:
        """How many records, until now."""
        return self._mark(DONE)

    def check(self) -> None:
        """Raises FastlogError when it has ended by itself."""
        if self._process is not None and self._process.poll() is not None and not self.was_killed:
            raise FastlogError(f"the client {self.name} ended; see {self._log}")

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self._process is not None
        self.was_killed = True
        self._process.kill()
        self._process.wait()

    def ask_to_end(self) -> None:
        """It shall log no more, and end once all has arrived."""
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def wait(self) -> Report:
        """Wait until it has ended.

        Raises:
            FastlogError: it did not, or failed.
        """
        assert self._process is not None and self._process.stdout is not None
        try:
            status = self._process.wait(3 * PATIENCE)
        except subprocess.TimeoutExpired:
            raise FastlogError(f"the client {self.name} does not end") from None
        said: dict[str, Any] = {}
        for line in self._process.stdout.read().splitlines():
            said |= json.loads(line)
        if not self.was_killed and (status or "unsent" not in said):
            raise FastlogError(f"the client {self.name} failed; see {self._log}")
        return Report(
            sent=self._mark(DONE),
            begun=self._mark(BEGUN),
            client_id=said.get("id"),
            connections=said.get("connections", 0),
            unsent=said.get("unsent", 0),
            resent=said.get("resent", 0),
        )

    def end(self) -> None:
        """Leave nothing behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _mark(self, at: int) -> int:
        return int(struct.unpack_from("=Q", self._marks.read_bytes(), at)[0])


def has_package() -> bool:
    """Whether a process of this interpreter, started as the clients are, finds fastlog_client."""
    probe = [sys.executable, "-P", "-c", "import fastlog_client"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0  # noqa: S603


def end_all(clients: Iterable[Client]) -> None:
    """Kill those that live."""
    for client in clients:
        client.end()
