"""`fastlog drill`: test on this machine that records survive faults."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from fastlog.cli.command import FAILED, OK, Command
from fastlog.cli.options import colour_option, wants_colour
from fastlog.cli.safe_text import print_json, print_line
from fastlog.drill import SECONDS, Interrupts, Outcome, has_package, run
from fastlog.drill.cluster.programs import find_programs
from fastlog.drill.report import print_outcome, to_tree
from fastlog.errors import FastlogError

_WIDTH = 132
"""Columns of the table if the output is not a terminal."""


Run = Callable[[Path, int, float, Interrupts, Callable[[str], None]], Outcome]


@click.command(cls=Command)
@click.option(
    "--cluster",
    is_flag=True,
    help="Run two collectors, a JetStream cluster, two centrals and PostgreSQL instead.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("--keep", is_flag=True, help="Keep the drill's directory, and print its path.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    help="Make the same random choices as the drill that printed this seed.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 3600),
    default=SECONDS,
    metavar="N",
    help=f"How long the clients log, in total (default: {SECONDS:.0f}).",
)
@colour_option
def drill(
    cluster: bool, as_json: bool, keep: bool, seed: int | None, seconds: float, colour: bool | None
) -> int:
    """Test on this machine that faults lose no record.

    Runs a server and clients, injects faults, and compares what was sent with what is stored.
    All files are in a temporary directory, and all sockets on 127.0.0.1. Other servers are not
    affected.
    """
    run_drill = _find_run(cluster)
    if seed is None:
        seed = random.randrange(1 << 32)  # noqa: S311 - no secret
    home = Path(tempfile.mkdtemp(prefix="fastlog-drill-"))
    interrupts = Interrupts()
    with interrupts.handled():
        try:
            outcome = run_drill(home, seed, seconds, interrupts, _progress_printer(seed))
            keep = keep or not outcome.holds
            _report(outcome, home if keep else None, as_json=as_json, colour=colour)
        except FastlogError as error:
            keep = True
            raise FastlogError(f"{error}; the files are in {home}, the seed was {seed}") from None
        finally:
            with interrupts.deferred():
                if not keep:
                    shutil.rmtree(home, ignore_errors=True)
    return OK if outcome.holds else FAILED


def _find_run(cluster: bool) -> Run:
    """Return what runs a drill.

    Raises:
        FastlogError: Something that it needs is missing.
    """
    if cluster:
        programs = find_programs(has_package)
        try:
            from fastlog.drill.cluster.scenario import run as run_with_cluster  # needs psycopg
        except ImportError as error:
            raise FastlogError(str(error)) from None
        return partial(run_with_cluster, programs)
    if not has_package():
        raise FastlogError(
            "the drill needs fastlog-client: pip install fastlog-client, or ./client in a checkout"
        )
    return run


def _progress_printer(seed: int) -> Callable[[str], None]:
    """Return a function that prints steps of the drill to stderr, with the time of each."""
    began = time.monotonic()

    def print_step(step: str) -> None:
        print_line(f"{time.monotonic() - began:5.1f} s  {step}", err=True)

    print_step(f"seed {seed}")
    return print_step


def _report(
    outcome: Outcome, directory: Path | None, *, as_json: bool, colour: bool | None
) -> None:
    if as_json:
        print_json(to_tree(outcome, directory))
        return
    console = Console(no_color=not wants_colour(colour), highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    print_outcome(outcome, console)
    if directory is not None:
        print_line(f"the files are in {directory}")
