"""The load of the blog post that fastlog began from, and the check that nothing of it is lost.

200 processes share 1,000 runs, as the workers of a `multiprocessing.Pool(200)` share its tasks.
A run opens a connection with the unmodified `logging.handlers.SocketHandler`, logs 300 to 800
records with a `trace_id` of its own and pauses of 10 to 40 ms, and closes it: about half a million
records in a bit more than a minute. Then every record has to be stored once, in its run's order.

    python benchmarks/blog_load.py
    python benchmarks/blog_load.py --processes 10 --runs 20 --records 30 60 --pause 0 2
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import blog_client
import click
from blog_store import Verdict, check, count_ledger, count_rows, stored_rows
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from usage import Usage, measure

START = 120.0
"""Seconds that the server, and that the clients have to start."""
EVERY = 0.2
MEASURE_EVERY = 1.0


class Load(NamedTuple):
    """What is going to be sent."""

    id: str
    """Begins each trace_id: a store may hold several loads."""
    processes: int
    runs: dict[str, int]
    """How many records each run has, by its trace_id."""
    pause: tuple[float, float]
    """Milliseconds."""
    seed: int

    @property
    def records(self) -> int:
        return sum(self.runs.values())


def make_load(
    processes: int, runs: int, records: tuple[int, int], pause: tuple[float, float], seed: int
) -> Load:
    """A load of a fresh id; the seed decides all the rest."""
    name = os.urandom(4).hex()
    numbers = random.Random(seed)
    counts = {f"{name}-{run}": numbers.randint(*records) for run in range(runs)}
    return Load(name, processes, counts, pause, seed)


# ---- the server -------------------------------------------------------------------------------


class Service(NamedTuple):
    """The server under load."""

    url: str
    data_dir: Path
    pid: int
    """The supervisor's."""


@contextlib.contextmanager
def own_server(home: Path, data_dir: Path) -> Iterator[Service]:
    """A server for this load; it is stopped as a user would, and has to end well.

    Raises:
        click.ClickException: it does not start, or does not stop with 0; its log says why.
    """
    log = home / "server.log"
    command = [Path(sys.executable).with_name("fastlog-server"), "--listen", "tcp://127.0.0.1:0"]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*command, "--data-dir", data_dir],
            stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=home,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        url = process.stdout.readline().partition(" listening on ")[2].partition(";")[0]
        if not url:
            raise click.ClickException(f"the server does not start: {log.read_text()}")
        yield Service(url, data_dir, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(START)
        assert process.stdout is not None
        process.stdout.close()
    if status:
        raise click.ClickException(f"the server ended with {status}: {log.read_text()}")


def running_server(url: str, data_dir: Path) -> Service:
    """A server that somebody else runs."""
    try:
        return Service(url, data_dir, int((data_dir / "lock").read_text()))
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{data_dir} is no running server's: {error}") from error


# ---- the clients ------------------------------------------------------------------------------


class Clients:
    """The client processes: started, then held back until `begin`. None is left behind."""

    def __init__(self, load: Load, url: str) -> None:
        self._load, self._url = load, url
        self.processes: list[subprocess.Popen[bytes]] = []
        self._begin = -1

    def __enter__(self) -> Clients:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self) -> None:
        """Let all of them go at once."""
        os.close(self._begin)
        self._begin = -1

    def running(self) -> int:
        return sum(process.poll() is None for process in self.processes)

    def failed(self) -> int:
        """How many ended with an error, or had to be killed."""
        return sum(process.returncode != 0 for process in self.processes)

    def close(self) -> None:
        if self._begin != -1:
            self.begin()
        for process in self.processes:
            process.kill()  # nothing happens to one that has ended
            process.wait()

    def _start(self) -> None:
        held, self._begin = os.pipe()
        ready, report = os.pipe()
        url = urlsplit(self._url)
        place = [url.path, ""] if url.scheme == "unix" else [url.hostname or "", str(url.port)]
        pauses = [str(pause) for pause in self._load.pause]
        # -I and -S: a client starts in half the time without site-packages, and needs none.
        command = [sys.executable, "-I", "-S", blog_client.__file__]
        command += [*place, *pauses, str(self._load.seed), str(held)]
        try:
            with tempfile.TemporaryFile() as runs:
                runs.writelines(_items(self._load.runs))
                runs.seek(0)
                for _ in range(self._load.processes):
                    self.processes.append(
                        subprocess.Popen(command, stdin=runs, stdout=report, pass_fds=[held])
                    )
            self._await_ready(ready)
        finally:
            for fd in (held, ready, report):
                os.close(fd)

    def _await_ready(self, ready: int) -> None:
        deadline = time.monotonic() + START
        missing = len(self.processes)
        while missing:
            if select.select([ready], [], [], 0.5)[0]:
                missing -= len(os.read(ready, missing))
            elif time.monotonic() > deadline or self.running() < len(self.processes):
                raise click.ClickException(f"{missing} of the clients do not start")


def _items(runs: dict[str, int]) -> Iterator[bytes]:
    for trace_id, count in runs.items():
        yield f"{trace_id} {count}".ljust(blog_client.ITEM - 1).encode() + b"\n"


# ---- the load ---------------------------------------------------------------------------------


class Flow(NamedTuple):
    """How the records went from the clients into the store."""

    seconds: float
    """Until the last record was stored (or until it was given up)."""
    clients_seconds: float
    """Until the last client had ended."""
    failed_clients: int
    cpu: dict[str, float]
    """Seconds of each role, from the clients' beginning until then."""
    peak_rss: int
    peak_pss: int


def flow(load: Load, service: Service, patience: float, console: Console) -> Flow:
    """Send the load and wait until it is stored, or until nothing more comes.

    Args:
        patience: seconds without a new row after which the rest counts as missing.
    """
    before = count_rows(service.data_dir)
    with _progress(load, console) as progress, Clients(load, service.url) as clients:
        usage = Gauge(service.pid)
        start = advanced = time.monotonic()
        clients_end: float | None = None
        stored = 0
        clients.begin()
        while stored < load.records or clients_end is None:
            time.sleep(EVERY)
            if clients_end is None and not clients.running():
                clients_end = time.monotonic()
            usage.look()
            known, stored = stored, count_rows(service.data_dir) - before
            progress.update(
                progress.task_ids[0], completed=stored, clients=clients.running(),
                received=received(service.data_dir),
            )  # fmt: skip
            if stored > known:
                advanced = time.monotonic()
            elif time.monotonic() - advanced > patience:
                break
        usage.look(now=True)
    end = clients_end or time.monotonic()
    return Flow(
        max(advanced, end) - start, end - start, clients.failed(),
        usage.last.since(usage.first), usage.peak_rss, usage.peak_pss,
    )  # fmt: skip


class Gauge:
    """What the server uses, looked at now and then."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.first = self.last = measure(pid)
        self.peak_rss, self.peak_pss = self.first.peak_rss, self.first.pss
        self._looked = time.monotonic()

    def look(self, now: bool = False) -> None:
        if now or time.monotonic() > self._looked + MEASURE_EVERY:
            self._looked = time.monotonic()
            self.last: Usage = measure(self._pid)
            self.peak_rss = max(self.peak_rss, self.last.peak_rss)
            self.peak_pss = max(self.peak_pss, self.last.pss)


def received(data_dir: Path) -> int:
    """How many frames the receiver counts, about once a second."""
    try:
        return int(json.loads((data_dir / "status.json").read_bytes())["frames"])
    except FileNotFoundError:
        return 0


def _progress(load: Load, console: Console) -> Progress:
    progress = Progress(
        TextColumn("stored"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("received {task.fields[received]}, clients {task.fields[clients]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    progress.add_task("", total=load.records, received=0, clients=load.processes)
    return progress


# ---- the result -------------------------------------------------------------------------------


class Result(NamedTuple):
    load: Load
    flow: Flow
    verdict: Verdict
    rejected: int
    lost: int

    @property
    def passed(self) -> bool:
        faults = sum(self.verdict[1:5])
        return not (faults or self.rejected or self.lost or self.flow.failed_clients)

    @property
    def cpu_per_million(self) -> dict[str, float]:
        millions = max(self.load.records, 1) / 1e6
        return {role: seconds / millions for role, seconds in self.flow.cpu.items()}

    def as_json(self) -> dict[str, Any]:
        verdict = self.verdict._asdict()
        return {
            "load": self.load.id,
            "processes": self.load.processes,
            "runs": len(self.load.runs),
            "records": self.load.records,
            "seconds": round(self.flow.seconds, 3),
            "clients_seconds": round(self.flow.clients_seconds, 3),
            "cpu_seconds_per_million": round(sum(self.cpu_per_million.values()), 3),
            "cpu_by_role": {role: round(cpu, 3) for role, cpu in self.cpu_per_million.items()},
            "peak_pss": self.flow.peak_pss,
            "peak_rss": self.flow.peak_rss,
            "failed_clients": self.flow.failed_clients,
            **verdict,
            "rejected": self.rejected,
            "lost": self.lost,
            "passed": self.passed,
        }

    def as_table(self) -> Table:
        table = Table(show_header=False)
        flow, verdict = self.flow, self.verdict
        roles = ", ".join(f"{role} {cpu:.1f}" for role, cpu in self.cpu_per_million.items())
        rows = {
            "load": f"{self.load.processes} processes, {len(self.load.runs):,} runs",
            "records": f"{self.load.records:,}, stored {verdict.stored:,}",
            "seconds": f"{flow.seconds:.1f}, the clients {flow.clients_seconds:.1f}",
            "records a second": f"{self.load.records / max(flow.seconds, 1e-9):,.0f}",
            "CPU-s per million": f"{sum(self.cpu_per_million.values()):.1f} ({roles})",
            "peak memory": f"PSS {_mib(flow.peak_pss)}, sum of VmHWM {_mib(flow.peak_rss)}",
            "missing, doubled": f"{verdict.missing:,}, {verdict.doubled:,}",
            "out of order": f"{verdict.disordered:,}, never sent {verdict.unknown:,}",
            "ledger": f"rejected {self.rejected:,}, lost {self.lost:,}",
            "verdict": "every record stored once, in order" if self.passed else self._faults(),
        }
        for name, value in rows.items():
            table.add_row(name, value)
        return table

    def _faults(self) -> str:
        failed = self.flow.failed_clients
        clients = [f"{failed} clients failed or were ended"] if failed else []
        return "\n".join(["FAILED", *clients, *self.verdict.examples])


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"


# ---- the command ------------------------------------------------------------------------------


@click.command(help=(__doc__ or "").partition("\n\n    ")[0])
@click.option("--processes", type=click.IntRange(1), default=200, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=1000, show_default=True)
@click.option(
    "--records",
    nargs=2,
    type=click.IntRange(0),
    default=(300, 800),
    show_default=True,
    metavar="MIN MAX",
    help="Records of a run.",
)
@click.option(
    "--pause",
    nargs=2,
    type=click.FloatRange(0),
    default=(10, 40),
    show_default=True,
    metavar="MIN MAX",
    help="Milliseconds before a record.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Decides counts and pauses.")
@click.option("--url", help="Use the server that listens there, and has the --data-dir.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Instead of a temporary one.")
@click.option("--keep", is_flag=True, help="Leave the temporary directory, and say where it is.")
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=30,
    show_default=True,
    help="Seconds without a new row after which the rest counts as missing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(
    processes: int,
    runs: int,
    records: tuple[int, int],
    pause: tuple[float, float],
    seed: int,
    url: str | None,
    data_dir: Path | None,
    keep: bool,
    patience: float,
    as_json: bool,
) -> None:
    for name, (least, greatest) in {"--records": records, "--pause": pause}.items():
        if least > greatest:
            raise click.UsageError(f"{name}: {least} is more than {greatest}")
    if url and not data_dir:
        raise click.UsageError("--url needs the --data-dir of that server")
    load = make_load(processes, runs, records, pause, seed)
    home = Path(tempfile.mkdtemp(prefix="blog-load-"))
    data_dir = (data_dir or home / "data").absolute()
    passed = False
    try:
        result = measure_load(load, url, home, data_dir, patience)
        passed = result.passed
    finally:
        if passed and not keep:
            shutil.rmtree(home)
        else:
            click.echo(f"kept {home}; the data is in {data_dir}", err=True)
    if as_json:
        click.echo(json.dumps(result.as_json(), indent=2))
    else:
        Console().print(result.as_table())
    sys.exit(0 if passed else 1)


def measure_load(
    load: Load, url: str | None, home: Path, data_dir: Path, patience: float
) -> Result:
    """Send the load, then compare; with a server of our own, when that has been stopped."""
    rejected, lost = count_ledger(data_dir)
    console = Console(stderr=True)
    patience += load.pause[1] / 1e3
    if url:
        passage = flow(load, running_server(url, data_dir), patience, console)
    else:
        with own_server(home, data_dir) as service:
            passage = flow(load, service, patience, console)
    verdict = check(load.runs, stored_rows(data_dir, load.id))
    now = count_ledger(data_dir)
    return Result(load, passage, verdict, now[0] - rejected, now[1] - lost)


if __name__ == "__main__":
    main()
