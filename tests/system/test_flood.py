"""A flood from one client, and how long the records of others take, with default settings."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from conditions import wait_for
from flood import frames_in_a_megabyte
from places import SUPPORT
from senders import stock_frame
from servers import Server

FLOODING = SUPPORT / "flood.py"
CLIENTS = 5
seconds_of_flood = pytest.mark.parametrize(
    "seconds", [3.0, pytest.param(20.0, marks=pytest.mark.soak)]
)
LATE = 10.0
"""Seconds. Measured are 0.1 on an idle machine, and 60 without rate limits."""


@contextmanager
def flood(
    server: Server, kind: str, megabytes: int = 0, *more: str
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(FLOODING), str(server.port), kind, str(megabytes), *more]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Quiet:
    """Clients that send a few numbered records per second and measure when they are stored."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connections = [server.connect() for _ in range(CLIENTS)]
        self._at: dict[Path, int] = {}
        self.sent: dict[int, float] = {}
        self.stored: list[int] = []
        self.latest = 0.0
        """The longest time that a record took, or is taking now, in seconds."""

    def send(self) -> None:
        """Send one record from each client."""
        for connection in self._connections:
            number = len(self.sent)
            connection.sendall(stock_frame("quiet", kind="quiet", number=number))
            self.sent[number] = time.monotonic()

    def poll(self) -> bool:
        """Read the new records from the store, and return whether all are stored."""
        for path in self._server.logs.glob("*.db"):
            with closing(sqlite3.connect(path, timeout=30)) as day:
                self._read(path, day)
        waiting = self.sent.keys() - self.stored
        for number in waiting:
            self.latest = max(self.latest, time.monotonic() - self.sent[number])
        return not waiting

    def _read(self, path: Path, day: sqlite3.Connection) -> None:
        try:
            (newest,) = day.execute("SELECT max(id) FROM entries").fetchone()
        except sqlite3.OperationalError:
            return  # the file is being created
        found = day.execute(
            "SELECT extra->>'number' FROM entries WHERE id > ? AND id <= ? AND message = 'quiet'",
            [self._at.get(path, 0), newest or 0],
        )
        self.stored += [number for (number,) in found]
        self._at[path] = newest or 0

    def talk(self, seconds: float) -> None:
        """Send for some seconds, polling in between, and wait for the last record."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.send()
            self._poll_for(0.1)
        wait_for(lambda: self.poll() or self.latest > LATE, "the quiet clients' records", 60)

    def _poll_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        wait_for(lambda: self.poll() or time.monotonic() > until)

    def assert_exact(self) -> None:
        assert sorted(self.stored) == list(self.sent), "each record is stored once"


def wait_for_status(server: Server) -> None:
    """Wait for the next status, which the receiver writes once a second."""
    before = server.status()["at"]
    wait_for(lambda: server.status()["at"] > before)


@seconds_of_flood
@pytest.mark.parametrize("kind", ["plain", "fallback", "worst", "empty"])
def test_a_flood_does_not_delay_other_clients(tmp_path: Path, kind: str, seconds: float) -> None:
    with Server(tmp_path) as server:
        quiet = Quiet(server)
        quiet.talk(1.0)
        with flood(server, kind):
            quiet.talk(seconds)
            assert quiet.latest < LATE
            wait_for(lambda: "rate-limiting 127.0.0.1:" in server.messages())
        quiet.assert_exact()
        assert server.losses() == []
        wait_for(lambda: server.status()["throttlings"] > 0)
        expected = {"truncated", "malformed pickle: no STOP"} if kind == "empty" else {"truncated"}
        assert {row["reason"] for row in server.rejected()} <= expected, "the end of the flood"


@seconds_of_flood
def test_a_flood_over_new_connections_does_not_delay_other_clients(
    tmp_path: Path, seconds: float
) -> None:
    with Server(tmp_path, config="[limits]\nconnections = 500\n") as server:
        quiet = Quiet(server)
        quiet.talk(1.0)
        with flood(server, "plain", 0, "new"):
            quiet.talk(seconds)
            assert quiet.latest < LATE
            wait_for(lambda: "rate-limiting 127.0.0.1:" in server.messages())
        quiet.assert_exact()
        assert server.losses() == []
        reasons = {row["reason"] for row in server.rejected()}
        assert reasons <= {"truncated", "too many connections"}, "the flood's own"


def test_a_flood_while_the_sink_is_stopped_does_not_fill_the_journal_and_loses_nothing(
    tmp_path: Path,
) -> None:
    megabytes = 60
    with Server(tmp_path) as server:
        quiet = Quiet(server)
        quiet.talk(1.0)
        worker = server.children()["worker sqlite"]
        os.kill(worker, signal.SIGSTOP)
        with flood(server, "plain", megabytes) as flooder:
            wait_for(lambda: server.status()["throttled"])
            for _ in range(5):
                quiet.send()
                wait_for_status(server)
            assert server.status()["size"] < 50_000_000
            assert flooder.poll() is None, "it is blocked by its own kernel"
            os.kill(worker, signal.SIGCONT)
            assert flooder.wait(60) == 0
        total = megabytes * frames_in_a_megabyte("plain") + len(quiet.sent)
        server.wait_stored(total)
        quiet.poll()
        quiet.assert_exact()
        assert (server.losses(), server.rejected()) == ([], [])
        wait_for(lambda: server.status()["throttled"] == 0 and server.status()["lag"] == 0)
