"""Measure what TLS costs a server: the same records through tls:// and tcp://, in the same rounds.

    python benchmarks/tls.py [--records 500000] [--rounds 3] [--sink sqlite] [--connections 20]
                             [--handshakes 2000]

A fastlog-server with default settings and a listener of each kind runs all the time. A sample sends
its records from another process, in sends of 64 KiB or of one record, and ends when all are stored.
A cell is the median of the rounds: CPU-seconds of all processes of the server for a million
records, without those of an idle server, and what that gives a core. Then so many clients connect
by TLS one after another.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import trustme
import usage
from bench.frames import make_records, pickled
from bench.output import Output
from bench.places import BUILD
from bench.schedule import home_for_run
from bench.servers import FastlogServer

SENDS = {"64 KiB": 64 * 1024, "a record": 0}
"""Bytes of a send; 0: one record."""
POOL = 16_384
LOOK = 0.02
SETTLED = 0.3
PATIENCE = 120.0


class TlsServer(FastlogServer):
    """Listens on tcp:// and, with a certificate of an authority of its own, on tls://."""

    ports: tuple[int, int] = (0, 0)
    """Of tcp:// and of tls://."""

    def command(self, home: Path) -> Sequence[str | Path]:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(home / "ca.pem")
        server = authority.issue_cert("localhost")
        server.private_key_and_cert_chain_pem.write_to_path(home / "server.pem")
        command = list(super().command(home))
        at = command.index("--listen")
        del command[at : at + 2]
        config = home / "fastlog.toml"
        listen = 'listen = ["tcp://127.0.0.1:0", {url = "tls://127.0.0.1:0", certificate = "'
        config.write_text(f'{listen}server.pem"}}]\n{config.read_text()}')
        return command

    def port(self, process: subprocess.Popen[str], home: Path) -> int:
        assert process.stdout is not None
        urls = process.stdout.readline().partition(" listening on ")[2].partition(";")[0]
        plain, tls = (int(url.rpartition(":")[2]) for url in urls.split())
        self.ports = plain, tls
        return tls


class Sample(NamedTuple):
    """The cost of one run."""

    cpu: dict[str, float]
    """CPU-seconds by role."""
    seconds: float
    """From the first byte until all were stored."""


def chunks(records: int, size: int) -> Iterator[bytes]:
    """Yield what one send has after another."""
    frames = [pickled(record).data for record in make_records(min(POOL, records))]
    chunk = bytearray()
    for number in range(records):
        chunk += frames[number % len(frames)]
        if len(chunk) >= size:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def send(port: int, ca: Path | None, connections: int, records: int, size: int) -> None:
    """Send the records, on each connection in turn. Runs in a process of its own."""
    sockets: list[socket.socket] = []
    context = None if ca is None else ssl.create_default_context(cafile=ca)
    for _ in range(connections):
        one = socket.create_connection(("127.0.0.1", port))
        if context is not None:
            one = context.wrap_socket(one, server_hostname="localhost")
        sockets.append(one)
    for number, chunk in enumerate(chunks(records, size)):
        sockets[number % connections].sendall(chunk)
    for one in sockets:
        one.close()


class Bench:
    """Measures one running server."""

    def __init__(self, pid: int, output: Output) -> None:
        self._pid, self._output = pid, output
        self._stored = 0
        time.sleep(0.5)
        before, began = usage.measure(pid), time.monotonic()
        time.sleep(1.0)
        elapsed = time.monotonic() - began
        idle = usage.measure(pid).since(before)
        self._idle = {role: used / elapsed for role, used in idle.items()}

    def sample(
        self, port: int, ca: Path | None, connections: int, records: int, size: int
    ) -> Sample:
        """Send the records, and measure until all are stored.

        Raises:
            TimeoutError: not all are.
        """
        before, began = usage.measure(self._pid), time.monotonic()
        arguments = (port, ca, connections, records, size)
        sender = multiprocessing.get_context("spawn").Process(target=send, args=arguments)
        sender.start()
        self._stored += records
        while self._output.count() < self._stored:
            if time.monotonic() > began + PATIENCE:
                raise TimeoutError(f"{self._stored - self._output.count()} records are not stored")
            time.sleep(LOOK)
        seconds = time.monotonic() - began
        sender.join()
        time.sleep(SETTLED)
        elapsed = time.monotonic() - began
        used = usage.measure(self._pid).since(before)
        cpu = {role: each - self._idle.get(role, 0.0) * elapsed for role, each in used.items()}
        return Sample(cpu, seconds)

    def handshakes(self, port: int, ca: Path, count: int) -> tuple[float, float]:
        """Connect by TLS so often; return CPU-milliseconds of the server for each, and a second."""
        context = ssl.create_default_context(cafile=ca)
        before, began = usage.measure(self._pid), time.monotonic()
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", port)) as one:
                context.wrap_socket(one, server_hostname="localhost").close()
        elapsed = time.monotonic() - began
        used = sum(usage.measure(self._pid).since(before).values())
        return used * 1e3 / count, count / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sink", default="sqlite", choices=("sqlite", "ndjson"))
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--handshakes", type=int, default=2000)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    BUILD.mkdir(parents=True, exist_ok=True)
    server = TlsServer(f"fastlog {options.sink}", options.sink)
    samples: dict[tuple[str, str], list[Sample]] = {}
    with home_for_run() as home, server.start(home) as running:
        bench = Bench(running.pid, running.output)
        for number in range(options.rounds):
            for name, size in SENDS.items():
                for kind, port in zip(("tcp", "tls"), server.ports, strict=True):
                    ca = home / "ca.pem" if kind == "tls" else None
                    found = bench.sample(port, ca, options.connections, options.records, size)
                    samples.setdefault((name, kind), []).append(found)
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        handshake = bench.handshakes(server.ports[1], home / "ca.pem", options.handshakes)
    print("| sends of | by | CPU-s/M | of that receiver | tls | worker | records/s a core |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for (name, kind), found in samples.items():
        print(f"| {name} | {kind} | {' | '.join(cells(found, options.records))} |")
    print(f"\nA handshake costs the server {handshake[0]:.2f} ms ({handshake[1]:.0f} a second).")


def cells(samples: Sequence[Sample], records: int) -> list[str]:
    """Return the figures of a row."""
    million = 1e6 / records
    total = statistics.median(sum(sample.cpu.values()) for sample in samples) * million
    parts = [
        statistics.median(
            sum(used for role, used in sample.cpu.items() if role.startswith(name))
            for sample in samples
        )
        for name in ("receiver", "tls", "worker")
    ]
    figures = [f"{total:.2f}", *(f"{part * million:.2f}" for part in parts)]
    return [*figures, f"{1e6 / total:,.0f}"]


if __name__ == "__main__":
    main()
