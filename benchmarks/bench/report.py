"""The tables, as Markdown that is readable on a terminal too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import methodcaller

from bench.results import Results, Run
from bench.schedule import INDEXED, PLAIN_ROWS

MIB = 1 << 20
NOTHING = "-"
RATIOS = (
    ("fastlog ndjson", "asyncio restricted"),
    ("fastlog ndjson", "asyncio loads"),
    ("fastlog ndjson", "rsyslog JSON"),
    ("fastlog ndjson", "rsyslog text"),
    ("fastlog sqlite", PLAIN_ROWS),
    ("fastlog sqlite", INDEXED),
)
"""CPU-seconds of the first divided by those of the second."""
RATIO_CASES = ("64k 100", "long", "paced 100")


def report(results: Results) -> str:
    """Return the report of a run of the benchmarks."""
    parts = [
        *_machine(results),
        *_matrix(
            results, "CPU-seconds per million records, all processes of the server together",
            results.cases, lambda run: run.cpu_per_million, "{:.2f}",
        ),
        *_matrix(
            results, "Thousands of records a second, from the first byte until all are stored",
            _unpaced(results), lambda run: run.records_per_second / 1e3, "{:.0f}",
        ),
        *_matrix(
            results, "Peak memory in MiB: proportional set sizes of all processes",
            results.cases, lambda run: run.peak_memory / MIB, "{:.0f}",
        ),
        *_roles(results),
        *_memory(results),
        *_ratios(results),
        *arrival(results),
        *_skipped(results),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


BEGIN, END = "<!-- report: begin -->", "<!-- report: end -->"


def insert(text: str, document: str) -> str:
    """Return the document with the text between its two comments.

    Raises:
        ValueError: it lacks one of them.
    """
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} and {END} in it")
    return f"{head}{begin}\n\n{text}\n{end}{tail}"


def _section(title: str) -> list[str]:
    return ["", f"**{title}**", ""]


def _titled(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table with its title; nothing if it has no rows."""
    return [*_section(title), *table(heads, rows)] if rows else []


def _machine(results: Results) -> Iterator[str]:
    yield machine_line(results.machine)
    counts = {len(results.of(s, c)) for s in results.servers for c in results.cases} - {0}
    if counts and max(counts) > 1:
        runs = str(max(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
        yield f"Medians of {runs} runs."


def machine_line(machine: Mapping[str, str]) -> str:
    """Describe the machine in a sentence."""
    return "; ".join(f"{name} {value}" for name, value in machine.items()) + "."


def _unpaced(results: Results) -> list[str]:
    return [case for case in results.cases if not case.startswith("paced")]


def _matrix(
    results: Results, title: str, cases: Sequence[str], value: Callable[[Run], float], form: str
) -> list[str]:
    """Return a table with a row for each server and a column for each case."""
    cases = _measured(results, cases)
    rows = []
    for server in results.servers:
        cells = [_cell(results, server, case, value, form) for case in cases]
        if any(cell != NOTHING for cell in cells):
            rows.append([server, *cells])
    return _titled(title, ["", *cases], rows)


def _roles(results: Results) -> list[str]:
    """Return the CPU-seconds of each process of fastlog."""
    ours = dict.fromkeys(run.server for run in results.runs if run.family == "fastlog")
    cases = _measured(results, results.cases)
    rows = []
    for server in ours:
        roles = dict.fromkeys(r for run in results.runs if run.server == server for r in run.roles)
        for role in roles:
            share = methodcaller("role_per_million", role)
            cells = [_number(results.median(server, case, share)) for case in cases]
            rows.append([f"{server}: {role}", *cells])
    return _titled("Of fastlog's CPU-seconds, by process", ["", *cases], rows)


def _measured(results: Results, cases: Sequence[str]) -> list[str]:
    measured = {run.case for run in results.runs}
    return [case for case in cases if case in measured]


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _cell(
    results: Results, server: str, case: str, value: Callable[[Run], float], form: str
) -> str:
    median = results.median(server, case, value)
    if median is None:
        return NOTHING
    lossy = any(run.faults for run in results.of(server, case))
    return form.format(median) + (" (!)" if lossy else "")


def _memory(results: Results) -> list[str]:
    rows = [
        [m.server, f"{m.idle / MIB:.1f}", f"{m.each / 1024:.2f}", f"{m.connections:,}"]
        for m in results.memory
    ]
    heads = ["", "idle, MiB", "a connection, KiB", "of so many"]
    return _titled("Memory while nothing happens", heads, rows)


def _ratios(results: Results) -> list[str]:
    rows = []
    for ours, theirs in RATIOS:
        for case in RATIO_CASES:
            a = results.median(ours, case, lambda run: run.cpu_per_million)
            b = results.median(theirs, case, lambda run: run.cpu_per_million)
            if a and b:
                rows.append([f"{ours} / {theirs}", case, f"{a / b:.2f}", f"1/{b / a:.1f}"])
    heads = ["CPU-seconds, medians of this run", "case", "ratio", "or"]
    return _titled("Ratios", heads, rows)


def arrival(results: Results) -> Iterator[str]:
    """Yield lines on whether each record was stored once, by run."""
    if not results.runs:
        return
    yield from _section("Did all records arrive, each once?")
    faulty = list(results.faulty())
    whole = len(results.runs) - len(faulty)
    yield f"In {whole} of {len(results.runs)} runs all records arrived once."
    for run in faulty:
        yield f"- **{run.server}**, {run.case}, of {run.records:,}: {run.faults}"


def _skipped(results: Results) -> Iterator[str]:
    if results.skipped:
        yield from _section("Not measured")
        yield from (f"- {name}: {reason}" for name, reason in results.skipped.items())


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Format a Markdown table with a text column, then columns of numbers."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *others])} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [line(heads), line(rule), *map(line, rows)]
