"""The load of a blog post about log servers, and a check that no record of it is lost.

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
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
from blog_fleet import Clients, Load, make_load
from blog_result import Flow, Result
from blog_store import check, count_ledger, count_load, count_rows, stored_rows
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from usage import Sampler, measure

STOP = 60.0
"""Seconds that the server has to stop: more than it gives its own processes."""
EVERY = 0.2
"""Seconds between two counts of the stored rows."""


# ---- the server -------------------------------------------------------------------------------


class Service(NamedTuple):
    """The server under load."""

    url: str
    data_dir: Path
    pid: int
    """The supervisor's."""


@contextlib.contextmanager
def own_server(home: Path, data_dir: Path) -> Iterator[Service]:
    """Run a server for this load; stop it with SIGTERM.

    Raises:
        click.ClickException: it does not start, or its exit status is not 0; with its log.
    """
    log = home / "server.log"
    program = Path(sys.executable).with_name("fastlog-server")
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [program, "--listen", "tcp://127.0.0.1:0", "--data-dir", data_dir],
            stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=home,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        url = process.stdout.readline().partition(" listening on ")[2].partition(";")[0]
        if not url:
            raise click.ClickException(f"the server does not start: {log.read_text()}")
        yield Service(url, data_dir, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()  # its children end with it
            status = process.wait()
        process.stdout.close()
    if status:
        raise click.ClickException(f"the server ended with {status}: {log.read_text()}")


def running_server(url: str, data_dir: Path) -> Service:
    """Return a server that runs already."""
    try:
        pid = int((data_dir / "lock").read_text())
        measure(pid)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{data_dir} is no running server's: {error}") from error
    return Service(url, data_dir, pid)


# ---- the load ---------------------------------------------------------------------------------


def flow(load: Load, service: Service, patience: float, console: Console) -> Flow:
    """Send the load and wait until it is stored, or until nothing more comes.

    Args:
        patience: seconds without a new row after which the rest counts as missing.
    """
    before = count_rows(service.data_dir)
    with _progress(load, console) as progress, Clients(load, service.url) as clients:
        usage = Sampler(service.pid)
        start = advanced = time.monotonic()
        clients_end: float | None = None
        stored = 0
        clients.begin()
        # The cheap count includes rows of other loads, if there are any.
        while (
            clients_end is None
            or stored < load.records
            or count_load(service.data_dir, load.id) < load.records
        ):
            time.sleep(EVERY)
            if clients_end is None and not clients.running():
                clients_end = time.monotonic()
            usage.sample()
            known, stored = stored, count_rows(service.data_dir) - before
            progress.update(
                progress.task_ids[0], completed=stored, clients=clients.running(),
                received=received(service.data_dir),
            )  # fmt: skip
            if stored > known:
                advanced = time.monotonic()
            elif time.monotonic() - advanced > patience:
                break
        usage.sample(now=True)
    end = clients_end or time.monotonic()
    return Flow(
        max(advanced, end) - start, end - start, clients.failed(),
        usage.last.since(usage.first), usage.peak_rss, usage.peak_pss,
    )  # fmt: skip


def received(data_dir: Path) -> int:
    """Return how many frames the receiver has counted; it updates this once a second."""
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
    """Send the load, then compare; a server of our own is stopped before the comparison."""
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
