"""The command that `make bench` runs.

python -m bench [--quick] [--only fastlog --only rsyslog] [--case "64k 100"]
python -m bench --against OTHER_VENV [--pairs 15] [--records 500000] [--sinks ndjson,sqlite]
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bench import against, build, chart, machine, ratios, report, results
from bench.cases import in_order
from bench.measure import allow_open_files
from bench.places import BUILD
from bench.plan import Pairing, Plan, Size, make_pairing, make_plan
from bench.results import Memory, Results, Run
from bench.schedule import run_case, run_memory

PAIRING = {"other", "pairs", "sinks"}
"""Parameters that are only valid with `--against`, including itself."""
SHARED = {"records", "paced_seconds", "wanted", "patience", "quick", "pin", "json"}
"""Options that are valid with `--against` and without it."""

FILE = click.Path(path_type=Path, dir_okay=False)
OLD_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


def measure(plan: Plan) -> Results:
    """Measure all cases. After each case, `results.json` has the results so far."""
    allow_open_files()
    found = Results(
        machine=machine.describe(build.build()),
        servers=[contender.name for contender in plan.contenders],
        cases=[case.name for case in plan.cases],
        skipped={c.name: reason for c in plan.contenders if (reason := c.missing())},
    )
    present = [c for c in plan.contenders if c.name not in found.skipped]
    for case in in_order(plan.cases):
        for outcome in run_case(case, present, plan.size.repeat, plan.size.budget):
            add(outcome, found)
        results.save(found, BUILD / "results.json")
    if plan.has_memory:
        for measured in run_memory(present, plan.size.idle):
            add(measured, found)
    return found


def compare(pairing: Pairing) -> Results:
    """Measure pairs. After each run, `against.json` has the results so far."""
    found = against.begin(pairing.case, pairing.sinks, pairing.other)
    for run in against.run_pairs(*pairing):
        add(run, found)
        results.save(found, BUILD / "against.json")
    return found


def add(outcome: Run | Memory | tuple[str, str], found: Results) -> None:
    """Add the outcome to the results, and print it to stderr: stdout has the report only."""
    match outcome:
        case Run() as run:
            found.runs.append(run)
            rate = f"{run.records_per_second / 1e3:7.0f} k/s"
            figures = f"{run.cpu_per_million:7.2f} CPU-s/M {rate} {run.faults}"
            line = f"{run.case:11} {run.server:31} {figures}"
        case Memory() as memory:
            found.memory.append(memory)
            line = f"{'memory':11} {memory.server:31} {memory.idle >> 10:7} KiB"
        case (name, reason):
            found.skipped[name] = reason
            line = f"{name}: {reason}"
    click.echo(line, err=True)


def show(found: Results, json: Path | None, charts: Sequence[Path], document: Path | None) -> None:
    """Print the report, and write the files."""
    text = report.report(found)
    click.echo(text, nl=False)
    BUILD.mkdir(parents=True, exist_ok=True)
    for path in [BUILD / "results.json", *([json] if json else [])]:
        results.save(found, path)
    if document:
        document.write_text(report.insert(text, document.read_text("utf-8")), encoding="utf-8")
    paths = [BUILD / "chart.png", BUILD / "chart.svg", *charts]
    try:
        if chart.draw(found, paths):
            click.echo(f"drawn: {', '.join(map(str, paths))}", err=True)
    except ImportError:
        click.echo("no chart: matplotlib not installed (pip install .[bench])", err=True)


def check_options(context: click.Context, allowed: Collection[str]) -> None:
    """Reject options that do not apply to the chosen measurement.

    Raises:
        click.UsageError: one was given.
    """
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if given and parameter.name not in allowed:
            how = "can only" if parameter.name in PAIRING else "cannot"
            raise click.UsageError(f"{parameter.opts[0]} {how} be used with --against")


@click.command(
    help="Measure fastlog and its peers on the same records, and print a table.",
    context_settings={"show_default": True},
)
@click.option(
    "--records", default=500_000, type=click.IntRange(1), help="Records of a saturated case."
)
@click.option(
    "--long",
    "many",
    default=3_000_000,
    type=click.IntRange(0),
    help="Records of the long case; 0: leave it out.",
)
@click.option("--repeat", default=3, type=click.IntRange(1), help="Runs of each server and case.")
@click.option(
    "--budget",
    default=5.0,
    type=click.FloatRange(0),
    help="Seconds of a server in a case after which it is not repeated.",
)
@click.option(
    "--patience",
    default=15.0,
    type=click.FloatRange(0),
    help="Seconds without a new record after which the rest counts as missing.",
)
@click.option(
    "--paced-seconds", default=5.0, type=click.FloatRange(0.1), help="How long a paced case takes."
)
@click.option(
    "--idle",
    default=10_000,
    type=click.IntRange(0),
    help="Idle connections in the memory case.",
)
@click.option("--quick", is_flag=True, help="Few records, one run: test that everything works.")
@click.option(
    "--only",
    multiple=True,
    metavar="TEXT",
    help="Only servers with this text in their name. May be repeated.",
)
@click.option(
    "--case",
    "wanted",
    multiple=True,
    metavar="TEXT",
    help="Only cases with this text in their name. May be repeated; one with --against.",
)
@click.option("--pin", is_flag=True, help="One core for the server in every case.")
@click.option(
    "--cold",
    is_flag=True,
    help="Return free memory to the host of a virtual machine before each run. Needs root.",
)
@click.option(
    "--program",
    "programs",
    multiple=True,
    metavar="NAME=COMMAND",
    help="One more server: {output} is the file it writes; it prints its port.",
)
@click.option("--list", "listing", is_flag=True, help="List servers and cases, and exit.")
@click.option(
    "--from", "source", type=OLD_FILE, help="Report the results of this JSON file; measure nothing."
)
@click.option("--json", type=FILE, help="Write all runs to this file.")
@click.option(
    "--chart",
    "charts",
    multiple=True,
    type=FILE,
    help="Draw the chart to this file, too: .svg or .png.",
)
@click.option(
    "--into",
    "document",
    type=OLD_FILE,
    help="Put the report between the marks of this Markdown file.",
)
@click.option(
    "--against",
    "other",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Compare this installation with that of another virtual environment, and nothing else.",
)
@click.option("--pairs", default=15, type=click.IntRange(1), help="Pairs of runs, with --against.")
@click.option(
    "--sinks",
    default=",".join(against.SINKS),
    metavar="LIST",
    help="Which sinks are compared, with --against.",
)
@click.pass_context
def main(
    context: click.Context,
    quick: bool,
    only: tuple[str, ...],
    wanted: tuple[str, ...],
    programs: tuple[str, ...],
    pin: bool,
    cold: bool,
    listing: bool,
    source: Path | None,
    json: Path | None,
    charts: tuple[Path, ...],
    document: Path | None,
    other: Path | None,
    pairs: int,
    sinks: str,
    **amounts: Any,
) -> None:
    check_options(context, SHARED | PAIRING if other else {*context.params} - PAIRING)
    size = Size(**amounts).quick() if quick else Size(**amounts)
    # As Ctrl-C: the measured server is stopped, and its data removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if other:
        pairing = make_pairing(size, wanted, other, pairs, sinks, pin)
        found = compare(pairing)
        click.echo(ratios.report(found, pairing.sinks), nl=False)
        if json:
            results.save(found, json)
    else:
        plan = make_plan(size, only, wanted, programs, pin=pin, cold=cold)
        if listing:
            click.echo("\n".join(plan.names()))
            return
        found = results.load(source) if source else measure(plan)
        show(found, json, charts, document)
    if any(run.family == "fastlog" for run in found.faulty()):
        sys.exit(1)


if __name__ == "__main__":
    main()
