"""Measure how late `fastlog tail -f` prints records, from sending to the end of the line.

    python benchmarks/tail_latency.py [--per-second 5000] [--seconds 20] [--connections 20]

A fastlog-server with default settings gets numbered records at a steady rate over several
connections. A thread reads the lines that `fastlog tail -f --json` prints to a pipe. Prints the
median, the 99th percentile and the maximum of the seconds in between, how many records were not
printed or not in order, and the CPU-seconds of `tail` a second.
"""

from __future__ import annotations

import argparse
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO, NamedTuple

from bench.servers import FastlogServer
from flood_latency import frame
from usage import cpu_of

PROGRAMS = Path(sys.executable).parent
PATIENCE = 30.0
"""Seconds to wait for the last line."""
_NUMBER = re.compile(rb'"message":"tail (\d+)"')


class Latency(NamedTuple):
    """How late the lines were, in seconds."""

    median: float
    p99: float
    most: float
    missing: int
    """Records that were not printed."""
    disordered: int
    """Records that were printed after a later one of their connection."""
    cpu: float
    """CPU-seconds of `tail` a second."""


class Reader(threading.Thread):
    """Notes when each record's line arrives."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self.arrived: dict[int, float] = {}
        self.order: list[int] = []

    def run(self) -> None:
        for line in self._stream:
            if match := _NUMBER.search(line):
                number = int(match[1])
                self.arrived[number] = time.monotonic()
                self.order.append(number)


def send(port: int, per_second: int, seconds: float, connections: int) -> list[float]:
    """Send numbered records at a steady rate; return when each was sent."""
    sent: list[float] = []
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(connections)
        ]
        began = time.monotonic()
        while len(sent) < per_second * seconds:
            due = min(int((time.monotonic() - began) * per_second), int(per_second * seconds))
            for number in range(len(sent), due):
                data = frame(f"tail {number}", request=f"{number:016x}", customer=number)
                sent.append(time.monotonic())
                sockets[number % connections].sendall(data)
            time.sleep(1e-3)
    return sent


@contextmanager
def following(data_dir: Path) -> Iterator[tuple[subprocess.Popen[bytes], Reader]]:
    """Run `fastlog tail -f` beside the body."""
    command = [PROGRAMS / "fastlog", "tail", "-f", "-n", "0", "--json", "--data-dir", data_dir]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        reader = Reader(process.stdout)
        reader.start()
        try:
            yield process, reader
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
            reader.join(PATIENCE)


def measure(per_second: int, seconds: float, connections: int) -> Latency:
    """Run the server, `tail` and the clients."""
    server = FastlogServer("fastlog sqlite", "sqlite")
    with (
        tempfile.TemporaryDirectory(prefix="fastlog-tail-") as home,
        server.start(Path(home)) as running,
    ):
        send(running.port, 100, 1.0, 1)  # makes the day file
        with following(Path(home, "data")) as (process, reader):
            wait_until_it_follows(running.port, reader)
            reader.arrived.clear()
            reader.order.clear()
            cpu = cpu_of(process.pid)
            sent = send(running.port, per_second, seconds, connections)
            deadline = time.monotonic() + PATIENCE
            while len(reader.arrived) < len(sent) and time.monotonic() < deadline:
                time.sleep(0.01)
            cpu = cpu_of(process.pid) - cpu
    late = [reader.arrived[n] - at for n, at in enumerate(sent) if n in reader.arrived]
    by_connection = [
        [number for number in reader.order if number % connections == connection]
        for connection in range(connections)
    ]
    disordered = sum(b < a for numbers in by_connection for a, b in pairwise(numbers))
    return Latency(
        statistics.median(late), statistics.quantiles(late, n=100)[98], max(late),
        len(sent) - len(late), disordered, cpu / seconds,
    )  # fmt: skip


def wait_until_it_follows(port: int, reader: Reader) -> None:
    """Send records until `tail` prints one."""
    deadline = time.monotonic() + PATIENCE
    while not reader.arrived and time.monotonic() < deadline:
        send(port, 10, 0.1, 1)
    settled = time.monotonic() + 1.0  # the lines of these records come before the measured ones
    while time.monotonic() < settled:
        time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--per-second", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--connections", type=int, default=20)
    options = parser.parse_args()
    found = measure(options.per_second, options.seconds, options.connections)
    print(
        f"median {found.median:.3f} s, p99 {found.p99:.3f} s, most {found.most:.3f} s;"
        f" {found.missing} missing, {found.disordered} not in order;"
        f" {found.cpu:.2f} CPU-s/s"
    )


if __name__ == "__main__":
    main()
