"""Measure the CPU time of a server by kind of record, relative to a simple record.

    python benchmarks/kinds.py [--rounds 3] [--sinks sqlite,ndjson] [--kind TEXT]… [--against VENV]

A `fastlog-server` for each sink runs all the time. The kinds alternate: the records of a sample are
sent, and when all are stored, the CPU time of all processes is read, minus that of an idle server.
A cell is the median of the rounds. With `--against`, servers of another virtual environment get the
same records in the same rounds.
"""

from __future__ import annotations

import argparse
import collections
import signal
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import usage
from bench.against import programs_of
from bench.cases import LARGE
from bench.output import Output
from bench.places import BUILD
from bench.schedule import home_for_run
from bench.servers import PROGRAMS, FastlogServer
from record_kinds import LENGTH, POOL, Kind, make_kinds

TRIAL = 0.02
"""CPU-seconds from which a trial determines the number of records of a sample."""
SAMPLE = 0.2
"""Approximate CPU-seconds of a sample."""
SIMPLE_EVERY = 6
"""Kinds between two samples of the simple one."""
MOST = 40_000
"""The most records of a sample."""
LOOK = 0.02
SETTLED = 0.15
"""Seconds to wait after the last record was stored, for work that follows."""
PATIENCE = 120.0


class Served:
    """A running server, with its measurements."""

    def __init__(self, label: str, sink: str, port: int, pid: int, output: Output) -> None:
        self.label, self.sink, self._port, self._pid = label, sink, port, pid
        self._output = output
        self.stored = 0
        self._idle = self._measure_idle()

    def _cpu(self) -> float:
        return sum(usage.measure(self._pid).cpu.values())

    def _measure_idle(self) -> float:
        """Return the CPU-seconds a second of the idle server."""
        time.sleep(0.5)
        cpu, began = self._cpu(), time.monotonic()
        time.sleep(1.0)
        return (self._cpu() - cpu) / (time.monotonic() - began)

    def measure(self, frames: Sequence[bytes], count: int) -> float:
        """Send `count` records, and return the CPU-seconds that they took.

        Raises:
            TimeoutError: not all are stored.
        """
        frames = frames[:count]
        stream = b"".join(LENGTH.pack(len(frame)) + frame for frame in frames)
        ends = [0]
        for frame in frames:
            ends.append(ends[-1] + LENGTH.size + len(frame))
        whole, rest = divmod(count, len(frames))
        cpu, began = self._cpu(), time.monotonic()
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            for _ in range(whole):
                self._send(connection, stream)
            self._send(connection, stream[: ends[rest]])
        self._wait(count)
        time.sleep(SETTLED)
        used = self._cpu() - cpu
        return max(used - self._idle * (time.monotonic() - began), 1e-6)

    def _send(self, connection: socket.socket, data: bytes) -> None:
        for at in range(0, len(data), LARGE):
            connection.sendall(data[at : at + LARGE])

    def _wait(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while self._output.count() < self.stored + count:
            if time.monotonic() > deadline:
                missing = self.stored + count - self._output.count()
                raise TimeoutError(f"{self.label} {self.sink}: {missing} records are not stored")
            time.sleep(LOOK)
        self.stored += count


class Sample(NamedTuple):
    """The median cost of one kind on one server."""

    microseconds: float
    """Per record."""
    nanoseconds: float
    """Per byte of its frames, including lengths."""


class Bench:
    """Measures all kinds on all servers.

    Args:
        kinds: the simple one first.
    """

    def __init__(self, kinds: Sequence[Kind], servers: Sequence[Served]) -> None:
        self.kinds, self.servers = kinds, servers
        self._frames = {kind.name: [kind.make(number) for number in range(POOL)] for kind in kinds}
        self._counts: dict[tuple[str, str, str], int] = {}
        self._costs: dict[tuple[str, str, str], list[float]] = collections.defaultdict(list)

    def bytes_of(self, kind: Kind) -> float:
        return statistics.mean(map(len, self._frames[kind.name])) + LENGTH.size

    def calibrate(self) -> None:
        """Determine the number of records of each sample."""
        for kind in self.kinds:
            for server in self.servers:
                count, cpu = 1, 0.0
                while cpu < TRIAL and count < MOST:
                    cpu = server.measure(self._frames[kind.name], count)
                    count = count if cpu >= TRIAL else min(MOST, count * 10)
                count = max(1, min(MOST, round(count * SAMPLE / max(cpu, TRIAL))))
                self._counts[kind.name, server.label, server.sink] = count

    def round(self) -> None:
        """Take a sample of each kind, and several of the simple one, the reference."""
        simple, *others = self.kinds
        for number, kind in enumerate(others):
            self._take([simple, kind] if number % SIMPLE_EVERY == 0 else [kind])
        self._take([] if others else [simple])

    def _take(self, kinds: Sequence[Kind]) -> None:
        for kind in kinds:
            for server in self.servers:
                key = kind.name, server.label, server.sink
                cpu = server.measure(self._frames[kind.name], self._counts[key])
                self._costs[key].append(cpu / self._counts[key])

    def sample(self, kind: Kind, server: Served) -> Sample:
        cost = statistics.median(self._costs[kind.name, server.label, server.sink])
        return Sample(cost * 1e6, cost * 1e9 / self.bytes_of(kind))


def report(bench: Bench) -> list[str]:
    """Return the tables as lines of Markdown."""
    lines = []
    labels = list(dict.fromkeys(server.label for server in bench.servers))
    for sink in dict.fromkeys(server.sink for server in bench.servers):
        servers = [server for server in bench.servers if server.sink == sink]
        head = ["kind", "bytes"]
        for server in servers:
            head += [f"{server.label}: µs", "ns a byte", "times simple", "a byte"]
        head += [f"{labels[0]} / {labels[1]}"] if len(labels) > 1 else []
        lines += ["", f"To {sink}:", "", f"| {' | '.join([*head, 'target'])} |"]
        lines.append("|---" + "|--:" * len(head) + "|")
        for kind in bench.kinds:
            lines.append(_row(bench, kind, servers))
    return lines


def _row(bench: Bench, kind: Kind, servers: Sequence[Served]) -> str:
    cells = [kind.name, f"{bench.bytes_of(kind):.0f}"]
    ratios = []
    for server in servers:
        own, simple = bench.sample(kind, server), bench.sample(bench.kinds[0], server)
        a_record = own.microseconds / simple.microseconds
        a_byte = own.nanoseconds / simple.nanoseconds
        ratios.append(a_byte if kind.by_byte else a_record)
        cells += [f"{own.microseconds:.1f}", f"{own.nanoseconds:.1f}"]
        cells += [f"{a_record:.1f}", f"{a_byte:.1f}"]
    if len(servers) > 1:
        this, other = (bench.sample(kind, server).microseconds for server in servers)
        cells.append(f"{this / other:.2f}")
    target = ""
    if kind.targets and kind is not bench.kinds[0]:
        most = kind.targets[servers[0].sink == "ndjson"]
        what = "a byte" if kind.by_byte else "a record"
        met = "met" if ratios[0] <= most else "missed"
        target = f"{most:g} {what}, {met}"
    return f"| {' | '.join([*cells, target])} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sinks", default="sqlite,ndjson", help="separated by commas")
    parser.add_argument(
        "--kind", action="append", default=[], help="only kinds with this text in their name"
    )
    parser.add_argument("--engine", default="c", choices=("c", "python"))
    parser.add_argument("--against", type=Path, help="another virtual environment")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    programs = {"this": PROGRAMS}
    if options.against:
        programs["other"] = programs_of(options.against)
    kinds = make_kinds()
    wanted = [kind for kind in kinds[1:] if any(text in kind.name for text in options.kind)]
    kinds = [kinds[0], *wanted] if options.kind else kinds
    BUILD.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        servers = []
        for sink in options.sinks.split(","):
            for label, folder in programs.items():
                server = FastlogServer(f"{label} {sink}", sink, options.engine, folder)
                running = stack.enter_context(server.start(stack.enter_context(home_for_run())))
                servers.append(Served(label, sink, running.port, running.pid, running.output))
        bench = Bench(kinds, servers)
        bench.calibrate()
        for number in range(options.rounds):
            bench.round()
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    print("\n".join(report(bench)))


if __name__ == "__main__":
    main()
