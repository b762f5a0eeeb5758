"""Compare this installation with another: pairs of runs, in the order A B B A."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from bench import build, machine
from bench.cases import Case
from bench.measure import allow_open_files, measure_run
from bench.results import Results, Run
from bench.schedule import FAILURES, home_for_run
from bench.servers import PROGRAMS, FastlogServer

THIS, OTHER = "this", "other"
SINKS = ("ndjson", "sqlite")
CASE = "64k 100"
"""The default. Saturated, so that a run is short and its processor time is the server's work."""


def programs_of(environment: Path) -> Path:
    """Return the folder with the `fastlog-server` of a virtual environment.

    Raises:
        click.UsageError: there is none.
    """
    for folder in (environment / "bin", environment):
        if (folder / "fastlog-server").is_file():
            return folder.absolute()
    raise click.UsageError(
        f"--against: no fastlog-server in {environment / 'bin'}: install it there"
    )


def make_servers(sink: str, other: Path) -> tuple[FastlogServer, FastlogServer]:
    """Make the two servers of a pair."""
    return (
        FastlogServer(name_of(THIS, sink), sink),
        FastlogServer(name_of(OTHER, sink), sink, programs=other),
    )


def name_of(side: str, sink: str) -> str:
    """Return a server's name in the results."""
    return f"{side} {sink}"


def describe(other: Path) -> dict[str, str]:
    """Describe the installations and the machine. Call it before the first run.

    Raises:
        click.ClickException: the other installation does not work; with its error.
    """
    found = machine.describe(build.build())
    found[THIS], found[OTHER] = (
        f"{_version(programs)} in {programs}" for programs in (PROGRAMS, other)
    )
    return found


def _version(programs: Path) -> str:
    done = subprocess.run(
        [programs / "fastlog-server", "--version"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:]
        raise click.ClickException(f"{programs}/fastlog-server does not start: {' '.join(words)}")
    return done.stdout.strip()


def run_pairs(case: Case, sinks: Sequence[str], other: Path, pairs: int) -> Iterator[Run]:
    """Measure `pairs` pairs for each sink.

    The sinks alternate, so that a slow minute of the machine affects all of them.

    Raises:
        click.ClickException: a server does not run. The pairs so far were yielded.
    """
    for number in range(pairs):
        for sink in sinks:
            this_and_other = make_servers(sink, other)
            for server in this_and_other if number % 2 == 0 else reversed(this_and_other):
                try:
                    with home_for_run() as home:
                        yield measure_run(server, case, home)
                except FAILURES as error:
                    raise click.ClickException(f"{server.name}: {error}") from error


def begin(case: Case, sinks: Sequence[str], other: Path) -> Results:
    """Return results without runs."""
    allow_open_files()
    return Results(
        machine=describe(other),
        servers=[name_of(side, sink) for sink in sinks for side in (THIS, OTHER)],
        cases=[case.name],
    )
