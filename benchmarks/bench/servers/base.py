"""A measured server: start, readiness, output, and stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.output import Output

STOP = 30.0
"""Seconds that a server has to end after SIGTERM; then it is killed."""


class ServerError(Exception):
    """A server does not start; the message says why."""


class Running(NamedTuple):
    """A server that accepts records."""

    port: int
    pid: int
    """The pid of its main process, the parent of all others."""
    output: Output


class Server(ABC):
    """One contender. Objects have no state of a run."""

    feed = "pickles"
    """The pool that it reads."""
    writes_late = False
    """Whether a timer delays its last lines so long that it would distort the seconds. The run then
    ends when the server has received the last record."""
    holds_idle = False
    """Whether its memory with 10,000 idle connections is measured."""

    def __init__(self, name: str, family: str) -> None:
        self.name = name
        self.family = family
        """`fastlog`, `python`, `syslog` or `floor`."""

    def missing(self) -> str:
        """Return why it cannot be measured here, or ""."""
        return ""

    @abstractmethod
    def command(self, home: Path) -> Sequence[str | Path]:
        """Return the command that starts it. Files of the run go into `home`."""

    @abstractmethod
    def port(self, process: subprocess.Popen[str], home: Path) -> int:
        """Wait until it listens.

        Raises:
            ServerError: it does not.
        """

    @abstractmethod
    def output(self, home: Path) -> Output:
        """Return its output."""

    def environment(self) -> dict[str, str]:
        """Return the environment variables that it needs besides the user's."""
        return {}

    @contextlib.contextmanager
    def start(self, home: Path, cores: Collection[int] = ()) -> Iterator[Running]:
        """Run it, and stop it afterwards.

        Args:
            cores: the cores of all its processes; empty: all.

        Raises:
            ServerError: it does not start.
        """
        log = home / "server.log"
        with log.open("w") as stderr:
            process = subprocess.Popen(
                self.command(home), stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=home,
                env={**os.environ, **self.environment()}, start_new_session=True,
                preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
            )  # fmt: skip
        assert process.stdout is not None
        try:
            try:
                port = self.port(process, home)
            except (ServerError, ValueError) as error:
                words = log.read_text(errors="replace").strip().splitlines()[-3:]
                raise ServerError(
                    f"{self.name} does not start: {error} {' '.join(words)}"
                ) from None
            yield Running(port, process.pid, self.output(home))
        finally:
            stop(process)
            process.stdout.close()


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.kill()  # fastlog's children end with their supervisor; no other has any
        process.wait()


def free_port() -> int:
    """Return a free port, for a server that cannot choose one itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
