"""Measure what a server costs while few records come, and how long a record waits then.

    python benchmarks/trickle.py [--seconds 15] [--connections 30] [--per-second 300]
                                 [--sinks sqlite,ndjson] [--against VENV] [--pairs 2]

Half of the connections are of `fastlog_client`, half are as of stock handlers; each sends its
records at a steady rate. A run has its own fastlog-server with default settings. With `--against`,
the runs are pairs of this installation and the other one, in the order A B B A.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import signal
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, Protocol

import fastlog_client
import usage
from bench.against import programs_of
from bench.places import BUILD
from bench.schedule import home_for_run
from bench.servers import PROGRAMS, FastlogServer
from flood_latency import Store, frame

LOOK = 0.01
"""Seconds between two looks at what is stored."""
WARM_UP = 2.0
PATIENCE = 30.0
PREFIX = "quiet "
"""Of each message; `flood_latency.Store` looks for it. A number follows."""


class Sent(NamedTuple):
    """What one sender has sent."""

    at: dict[int, float]
    """When each record was emitted, by its number."""
    acknowledged: list[float]
    """Seconds from emitting to the acknowledgement; of a stock connection none."""


class Row(NamedTuple):
    """The result of one run."""

    label: str
    sink: str
    receiver: float
    """Percent of a core."""
    worker: float
    wakeups: float
    """Of the receiver's threads, a second."""
    microseconds: float
    """CPU time of the receiver for a record."""
    acknowledged: list[float]
    stored: list[float]
    missing: int


class Reader(Protocol):
    """Looks for stored records."""

    found: dict[int, float]
    """When each record was seen first, by its number."""

    def poll(self) -> None: ...


class Lines:
    """Reads the new lines of an NDJSON file."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0
        self.found: dict[int, float] = {}

    def poll(self) -> None:
        """Store the time of each new record."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data.rpartition(b"\n")[0]
        self._at += len(whole) + 1 if whole else 0
        now = time.monotonic()
        for line in whole.splitlines():
            message = json.loads(line)["message"]
            if message.startswith(PREFIX):
                number = int(message.removeprefix(PREFIX))
                assert self.found.setdefault(number, now) == now, "a record is stored twice"


# ---- the senders: threads of a process of their own ---------------------------------------------


def send_all(port: int, connections: int, per_second: float, control: Connection) -> None:
    """Send records over all connections until `control` has a message; send `Sent` to it."""
    stop = threading.Event()
    every, results = connections / per_second, [Sent({}, []) for _ in range(connections)]
    began = time.monotonic() + 0.1
    threads = []
    for number, sent in enumerate(results):
        send = make_sender(port, sent) if number % 2 else make_stock_sender(port)
        first = began + every * number / connections
        arguments = (send, number, connections, first, every, sent, stop)
        threads.append(threading.Thread(target=send_steadily, args=arguments))
    for thread in threads:
        thread.start()
    control.recv()
    stop.set()
    for thread in threads:
        thread.join()
    at = {number: when for sent in results for number, when in sent.at.items()}
    control.send(Sent(at, [seconds for sent in results for seconds in sent.acknowledged]))
    logging.shutdown()


def send_steadily(
    send: Callable[[int], None],
    number: int,
    step: int,
    due: float,
    every: float,
    sent: Sent,
    stop: threading.Event,
) -> None:
    while not stop.wait(max(0.0, due - time.monotonic())):
        sent.at[number] = time.monotonic()
        send(number)
        number += step
        due = max(due + every, time.monotonic())


def make_stock_sender(port: int) -> Callable[[int], None]:
    connection = socket.create_connection(("127.0.0.1", port))
    return lambda number: connection.sendall(frame(f"{PREFIX}{number}", number=number))


def make_sender(port: int, sent: Sent) -> Callable[[int], None]:
    """Return a function that emits a record and waits until it is acknowledged."""
    handler = fastlog_client.SocketHandler("127.0.0.1", port)

    def send(number: int) -> None:
        record = logging.LogRecord(
            "app", logging.INFO, "/srv/app.py", 7, f"{PREFIX}{number}", None, None, "run"
        )
        handler.emit(record)
        if handler.flush(PATIENCE):
            sent.acknowledged.append(time.monotonic() - sent.at[number])

    return send


# ---- a run --------------------------------------------------------------------------------------


def measure(label: str, sink: str, programs: Path, options: argparse.Namespace) -> Row:
    """Run a server, send records to it, and measure."""
    server = FastlogServer(f"{label} {sink}", sink, programs=programs)
    with home_for_run() as home, server.start(home) as running:
        reader: Reader = Lines(home / "lines") if sink == "ndjson" else Store(home / "data/logs")
        control, other = multiprocessing.Pipe()
        arguments = (running.port, options.connections, options.per_second, other)
        senders = multiprocessing.Process(target=send_all, args=arguments, daemon=True)
        senders.start()
        try:
            poll_for(reader, WARM_UP)
            [receiver] = usage.children(running.pid, "receiver")
            used, wakeups, began = (
                usage.measure(running.pid), usage.wakeups(receiver), time.monotonic(),
            )  # fmt: skip
            before = len(reader.found)
            poll_for(reader, options.seconds)
            seconds, count = time.monotonic() - began, len(reader.found) - before
            cpu = usage.measure(running.pid).since(used)
            wakeups = usage.wakeups(receiver) - wakeups
            control.send("stop")
            sent: Sent = control.recv()
            senders.join()
        finally:
            senders.kill()
        deadline = time.monotonic() + PATIENCE
        while sent.at.keys() - reader.found.keys() and time.monotonic() < deadline:
            poll_for(reader, LOOK)
    found = reader.found
    return Row(
        label,
        sink,
        100 * cpu["receiver"] / seconds,
        100 * cpu[f"worker {sink}"] / seconds,
        wakeups / seconds,
        1e6 * cpu["receiver"] / max(1, count),
        sent.acknowledged,
        [found[number] - at for number, at in sent.at.items() if number in found],
        len(sent.at.keys() - found.keys()),
    )


def poll_for(reader: Reader, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        reader.poll()
        time.sleep(LOOK)


# ---- the report ---------------------------------------------------------------------------------


def format_row(row: Row) -> str:
    cells = [
        row.label,
        row.sink,
        f"{row.receiver:.1f} %",
        f"{row.microseconds:.0f}",
        f"{row.wakeups:.0f}",
        f"{row.worker:.1f} %",
        *(f"{seconds:.3f}" for seconds in quantiles(row.acknowledged)),
        *(f"{seconds:.3f}" for seconds in quantiles(row.stored)),
        str(row.missing),
    ]
    return f"| {' | '.join(cells)} |"


HEADS = [
    "server",
    "sink",
    "receiver",
    "µs a record",
    "its wakeups/s",
    "worker",
    *(f"acked: {what}" for what in ("median", "p99", "longest")),
    *(f"stored: {what}" for what in ("median", "p99", "longest")),
    "lost",
]


def quantiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the 99th percentile and the greatest."""
    ordered = sorted(seconds) or [0.0]
    return statistics.median(ordered), ordered[len(ordered) * 99 // 100], ordered[-1]


def ratio_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield, for each sink, the median of the ratios within a pair."""
    for sink in dict.fromkeys(row.sink for row in rows):
        this, other = (
            [row for row in rows if (row.label, row.sink) == (label, sink)]
            for label in ("this", "other")
        )
        for name in ("receiver", "worker"):
            pairs = [getattr(a, name) / getattr(b, name) for a, b in zip(this, other, strict=True)]
            yield f"{sink}, CPU of the {name}, this / other: {statistics.median(pairs):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--connections", type=int, default=30)
    parser.add_argument("--per-second", type=float, default=300.0, help="records of all together")
    parser.add_argument("--sinks", default="sqlite,ndjson", help="separated by commas")
    parser.add_argument("--against", type=Path, help="another virtual environment")
    parser.add_argument("--pairs", type=int, default=2, help="of runs, with --against")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    servers: list[tuple[str, Path]] = [("this", PROGRAMS)]
    if options.against:
        servers.append(("other", programs_of(options.against)))
    BUILD.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    print(f"| {' | '.join(HEADS)} |", f"|---|---{'|--:' * (len(HEADS) - 2)}|", sep="\n")
    for number in range(options.pairs if options.against else 1):
        for sink in options.sinks.split(","):
            for label, programs in servers if number % 2 == 0 else reversed(servers):
                rows.append(measure(label, sink, programs, options))
                print(format_row(rows[-1]), flush=True)
    if options.against:
        print("", *ratio_lines(rows), sep="\n")


if __name__ == "__main__":
    main()
