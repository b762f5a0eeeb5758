"""Measure how a flooding client delays the records of fifty others, from sending to storing.

    python benchmarks/flood_latency.py [--seconds 10] [--clients 50] [--per-second 10]
                                       [--flood none plain fallback empty worst] [--over one new]
                                       [--config F]

Each kind of flood has its own fastlog-server with default settings. The clients send records at a
steady rate. Another process sends the flood as fast as the server reads it: over one connection, a
megabyte a call, or over a new connection for every 64 KiB. A record counts as stored when a reader
of the day file finds it; the reader polls every 5 ms.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from itertools import product
from logging.handlers import SocketHandler
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

import usage

SERVER = Path(sys.executable).parent / "fastlog-server"
FLOODS = ("none", "plain", "fallback", "empty", "worst")
POLL_EVERY = 0.005
PATIENCE = 60.0
MEGABYTE = 1 << 20
WAYS = ("one", "new")
EACH = 64 << 10
"""Bytes on each connection of a flood over new connections."""

_maker = SocketHandler("localhost", 0)


def frame(message: str, **extra: object) -> bytes:
    """Return the frame that a stock SocketHandler sends for one record."""
    record = logging.LogRecord("app", logging.INFO, "/srv/app.py", 7, message, None, None, "run")
    record.__dict__.update(extra)
    return _maker.makePickle(record)


def worst_frame() -> bytes:
    """Make 637 bytes: nested tuples, each twice the previous, as the arguments of an object."""
    tuples = b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(120))
    pickle = b"\x80\x02}(X\x03\0\0\0msgX\x02\0\0\0hiX\x01\0\0\0xcapp\nC\n" + tuples + b"\x85Ru."
    return len(pickle).to_bytes(4, "big") + pickle


def flood_of(kind: str, size: int) -> bytes:
    """Return whole frames of about `size` bytes."""
    one = {
        "plain": frame("one of very many " * 5, request=7, customer=12345),
        "fallback": frame("one of very many", odd=1 << 70),
        "empty": bytes(4),
        "worst": worst_frame(),
    }[kind]
    return one * (size // len(one))


def flood(kind: str, way: str, port: int, begin: Any, sent: Any) -> None:
    """Send without a pause, until killed."""
    if way == "new":
        flood_anew(flood_of(kind, EACH), port, begin, sent)
    stream = flood_of(kind, MEGABYTE)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        begin.wait()
        while True:
            connection.sendall(stream)
            sent.value += len(stream)


def flood_anew(stream: bytes, port: int, begin: Any, sent: Any) -> NoReturn:
    """Send this over one connection after the other."""
    begin.wait()
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(stream)  # rejected at the server's limit of connections
            sent.value += len(stream)


class Row(NamedTuple):
    """The result of one kind of flood."""

    flood: str
    records: int
    median: float
    p99: float
    most: float
    cpu: dict[str, float]
    """CPU-seconds a second, by process."""
    flood_bytes: float
    """Bytes a second that the flooding client sent."""
    throttlings: int
    missing: int
    """Records that are not stored a minute later."""


class Quiet:
    """The other clients, all in one thread. Each sends `per_second` numbered records a second."""

    def __init__(self, count: int, per_second: float, port: int) -> None:
        self._connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        self._step = 1 / (count * per_second)
        self._next_at = time.monotonic()
        self.sent: dict[int, float] = {}

    def begin(self, store: Store) -> None:
        """Send a record on each connection, and wait until they are stored."""
        for _ in self._connections:
            self._send()
        while len(store.found) < len(self.sent):
            time.sleep(POLL_EVERY)
            store.poll()
        self._next_at = time.monotonic()

    def send_due(self) -> None:
        """Send the records that are due."""
        while time.monotonic() >= self._next_at:
            self._send()
            self._next_at += self._step

    def _send(self) -> None:
        number = len(self.sent)
        data = frame(f"quiet {number}", number=number)
        self.sent[number] = time.monotonic()
        self._connections[number % len(self._connections)].sendall(data)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


class Store:
    """Polls the day files for new records."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._seen: dict[Path, int] = {}
        self.found: dict[int, float] = {}

    def poll(self) -> None:
        """Store the time of each new record of the quiet clients."""
        for path in self._logs.glob("*.db"):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as day:
                self._poll_day(path, day)

    def _poll_day(self, path: Path, day: sqlite3.Connection) -> None:
        try:
            newest = day.execute("SELECT max(id) FROM entries").fetchone()[0] or 0
        except sqlite3.OperationalError:
            return  # its tables do not exist yet
        after = self._seen.get(path, 0)
        rows = day.execute(
            "SELECT substr(message, 7) FROM entries"
            " WHERE id > ? AND id <= ? AND message GLOB 'quiet *'",
            (after, newest),
        ).fetchall()
        now = time.monotonic()
        self._seen[path] = newest
        for (number,) in rows:
            assert self.found.setdefault(int(number), now) == now, "a record is stored twice"


def measure(kind: str, way: str, options: argparse.Namespace) -> Row:
    """Start a server, flood it, and measure."""
    with tempfile.TemporaryDirectory(prefix="fastlog-flood-") as home:
        data = Path(home, "data")
        command = [SERVER, "--data-dir", data, "--listen", "tcp://127.0.0.1:0"]
        if options.config:
            command += ["--config", options.config]
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=options.stderr, text=True, cwd=home
        )
        assert server.stdout is not None
        try:
            url = server.stdout.readline().partition(" listening on ")[2].partition(";")[0]
            return run(kind, way, options, server.pid, urlsplit(url.split()[0]).port or 0, data)
        finally:
            server.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                server.wait(30)
            server.kill()
            server.wait()
            server.stdout.close()


def run(kind: str, way: str, options: argparse.Namespace, pid: int, port: int, data: Path) -> Row:
    begin, sent = multiprocessing.Event(), multiprocessing.Value("Q", 0, lock=False)
    flooder = None
    if kind != "none":
        flooder = multiprocessing.Process(
            target=flood, args=(kind, way, port, begin, sent), daemon=True
        )
        flooder.start()
    quiet, store = Quiet(options.clients, options.per_second, port), Store(data / "logs")
    try:
        quiet.begin(store)
        began, before = time.monotonic(), usage.measure(pid)
        poll_at = began
        begin.set()
        while time.monotonic() < began + options.seconds:
            quiet.send_due()
            if time.monotonic() >= poll_at:
                poll_at = time.monotonic() + POLL_EVERY
                store.poll()
            time.sleep(0.001)
        seconds = time.monotonic() - began
        cpu, flooded = usage.measure(pid).since(before), sent.value
    finally:
        if flooder is not None:
            flooder.kill()
            flooder.join()
    deadline = time.monotonic() + PATIENCE
    while len(store.found) < len(quiet.sent) and time.monotonic() < deadline:
        time.sleep(POLL_EVERY)
        store.poll()
    quiet.close()
    status = json.loads((data / "status.json").read_bytes())
    late = sorted(store.found.get(n, deadline) - at for n, at in quiet.sent.items())
    return Row(
        f"{kind} {way}",
        len(late),
        statistics.median(late),
        late[len(late) * 99 // 100],
        late[-1],
        {role: used / seconds for role, used in cpu.items()},
        flooded / seconds,
        status.get("throttlings", 0),
        len(quiet.sent.keys() - store.found.keys()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--per-second", type=float, default=10.0, help="records of each client")
    parser.add_argument("--flood", nargs="+", choices=FLOODS, default=FLOODS)
    parser.add_argument("--over", nargs="+", choices=WAYS, default=WAYS, help="connections")
    parser.add_argument("--config", help="of the server")
    parser.add_argument("--log", action="store_true", help="show the log of the server")
    options = parser.parse_args()
    options.stderr = None if options.log else subprocess.DEVNULL
    print(
        "flood         records  median     p99     max   receiver  worker   flood MB/s"
        "   waits  lost"
    )
    for kind, way in product(options.flood, options.over):
        if kind == "none" and way != options.over[0]:
            continue
        row = measure(kind, way, options)
        worker = row.cpu.get("worker sqlite", 0.0)
        print(
            f"{row.flood:12} {row.records:8} {row.median:7.3f} {row.p99:7.3f} {row.most:7.3f}"
            f" {row.cpu.get('receiver', 0.0):10.2f} {worker:7.2f} {row.flood_bytes / 1e6:12.2f}"
            f" {row.throttlings:7} {row.missing:5}",
            flush=True,
        )


if __name__ == "__main__":
    main()
