"""The command behind `make bench`.

python -m bench [--quick] [--only fastlog --only rsyslog] [--case "64k 100"]
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from bench import build, chart, machine, report, results
from bench.cases import Case, make_cases
from bench.places import BUILD
from bench.results import Results, Run
from bench.schedule import Contender, make_contenders, run_case, run_memory
from bench.servers import Program

QUICK = {"records": 20_000, "long": 0, "repeat": 1, "paced_seconds": 1.0, "idle": 500}


def chosen(names: Sequence[str], wanted: Sequence[str]) -> set[str]:
    """The names that are one of the wanted texts, else contain it; all where none is wanted."""
    found = set() if wanted else set(names)
    for text in wanted:
        found |= {text} & set(names) or {n for n in names if text.lower() in n.lower()}
    return found


def read_programs(texts: Sequence[str]) -> list[Program]:
    """Servers of the user's own, from `NAME=COMMAND`."""
    programs = []
    for text in texts:
        name, equals, command = text.partition("=")
        if not equals or not command:
            raise click.UsageError(f"--program: expected NAME=COMMAND, got {text!r}")
        programs.append(Program(name, shlex.split(command)))
    return programs


def tell(run: Run) -> None:
    """One line on stderr, so that standard output holds the report only."""
    click.echo(
        f"{run.case:11} {run.server:31} {run.cpu_per_million:7.2f} CPU-s/M"
        f" {run.records_per_second / 1e3:7.0f} k/s {run.faults}",
        err=True,
    )


def measure(
    contenders: Sequence[Contender],
    cases: Sequence[Case],
    found: Results,
    repeat: int,
    budget: float,
    idle: int,
) -> None:
    """Do all the work, and put into `found` what comes of it."""
    for case in cases:
        for outcome in run_case(case, contenders, repeat, budget):
            if isinstance(outcome, Run):
                found.runs.append(outcome)
                tell(outcome)
            else:
                name, reason = outcome
                found.skipped[name] = reason
                click.echo(f"{name}: {reason}", err=True)
        results.save(found, BUILD / "results.json")
    if idle:
        found.memory.extend(run_memory(contenders, idle))


def show(found: Results, json_path: Path | None, charts: Sequence[Path]) -> None:
    """Print the report, and write the files."""
    click.echo(report.report(found), nl=False)
    paths = [BUILD / "chart.png", BUILD / "chart.svg", *charts]
    for path in [BUILD / "results.json", *([json_path] if json_path else [])]:
        results.save(found, path)
    (BUILD / "report.md").write_text(report.report(found), encoding="utf-8")
    try:
        if chart.draw(found, paths):
            click.echo(f"charts: {', '.join(map(str, paths))}", err=True)
    except ImportError:
        click.echo("no chart: matplotlib not installed (pip install .[bench])", err=True)


@click.command(help="Measure fastlog and its peers on the same records, and print a table.")
@click.option("--records", type=click.IntRange(1), default=500_000, show_default=True)
@click.option("--long", "many", type=click.IntRange(0), default=3_000_000, show_default=True,
              help="Records of the long case; 0: leave it out.")  # fmt: skip
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True)
@click.option("--budget", type=click.FloatRange(0), default=6.0, show_default=True,
              help="Seconds of a server in a case after which it is not repeated.")  # fmt: skip
@click.option("--paced-seconds", type=click.FloatRange(0.1), default=5.0, show_default=True)
@click.option("--idle", type=click.IntRange(0), default=10_000, show_default=True,
              help="Idle connections of which the memory is measured; 0: not.")  # fmt: skip
@click.option("--quick", is_flag=True, help="Few records, once: only to see that all works.")
@click.option("--only", multiple=True, metavar="TEXT", help="Only servers with it in their name.")
@click.option("--case", "wanted", multiple=True, metavar="TEXT", help="Only such cases.")
@click.option("--pin", is_flag=True, help="One core for the server in every case.")
@click.option("--program", "programs", multiple=True, metavar="NAME=COMMAND",
              help="One more server: {output} is the file it writes; it prints its port.",
)  # fmt: skip
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all runs there.")
@click.option("--chart", "charts", multiple=True, type=click.Path(path_type=Path),
              metavar="FILE", help="Draw it there too: .svg or .png.")  # fmt: skip
@click.option("--from", "source", type=click.Path(exists=True, path_type=Path),
              help="Measure nothing: report of such a JSON file.")  # fmt: skip
@click.option("--list", "listing", is_flag=True, help="Name servers and cases, and end.")
def main(
    records: int,
    many: int,
    repeat: int,
    budget: float,
    paced_seconds: float,
    idle: int,
    quick: bool,
    only: tuple[str, ...],
    wanted: tuple[str, ...],
    pin: bool,
    programs: tuple[str, ...],
    json_path: Path | None,
    charts: tuple[Path, ...],
    source: Path | None,
    listing: bool,
) -> None:
    if source:
        show(results.load(source), json_path, charts)
        return
    if quick:
        records, many, repeat = min(records, QUICK["records"]), 0, 1
        paced_seconds, idle = QUICK["paced_seconds"], min(idle, QUICK["idle"])
    contenders = make_contenders(read_programs(programs))
    cases = make_cases(records, many, paced_seconds)
    names = chosen([c.name for c in contenders], only)
    case_names = chosen([c.name for c in cases], wanted)
    contenders = [c for c in contenders if c.name in names]
    cases = [c._replace(one_core=c.one_core or pin) for c in cases if c.name in case_names]
    if listing:
        click.echo("\n".join([*(c.name for c in contenders), "", *(c.name for c in cases)]))
        return
    found = Results(
        machine=machine.describe(build.build()),
        servers=[c.name for c in contenders],
        cases=[c.name for c in cases],
        skipped={c.name: reason for c in contenders if (reason := c.missing())},
    )
    present = [c for c in contenders if c.name not in found.skipped]
    measure(present, cases, found, repeat, budget, 0 if wanted and "memory" not in wanted else idle)
    show(found, json_path, charts)
    sys.exit(any(run.family == "fastlog" for run in found.faulty()))


if __name__ == "__main__":
    main()
