"""`make bench` with two installations: they are measured in pairs, and compared by medians."""

from __future__ import annotations

import contextlib
import json
import math
import random
import subprocess
import sys
from pathlib import Path

import pytest
from bench_commands import bench, command
from places import BENCHMARKS

sys.path.append(str(BENCHMARKS))

import usage
from bench import against, ratios
from bench.cases import Case
from bench.results import Results, Run
from bench.servers import FastlogServer


@pytest.mark.long
def test_an_installation_beside_itself_is_measured_in_pairs_and_all_records_arrive(
    tmp_path: Path,
) -> None:
    venv = Path(sys.executable).parents[1]
    options = ("--pairs", "2", "--records", "4000", "--sinks", "ndjson")
    figures, text = bench(tmp_path, "--against", venv, *options)
    sides = ["this ndjson", "other ndjson", "other ndjson", "this ndjson"]
    assert [run["server"] for run in figures["runs"]] == sides
    for run in figures["runs"]:
        assert (run["records"], run["missing"], run["doubled"], run["unknown"]) == (4000, 0, 0, 0)
        assert run["cpu"] > 0 < run["seconds"]
    assert "In 4 of 4 runs all records arrived once.\n" in text
    a, b, c, d = (run["cpu"] for run in figures["runs"])
    median, interval, sure, *_, pairs = cells_of(text, "ndjson, CPU-seconds per million")
    low, high = sorted([a / b, d / c])
    assert (median, interval) == (f"{(low + high) / 2:.3f}", f"{low:.3f} to {high:.3f}")
    assert (sure, pairs) == ("50.0%", "2")
    assert figures == json.loads((tmp_path / "build" / "against.json").read_text())
    assert list((tmp_path / "build").glob("run-*")) == []


def test_pairs_are_taken_forth_and_back_and_the_report_has_the_ratios_within_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The machine grows slower, by the half from one pair to the next; one side costs 10% more."""
    taken: list[str] = []

    def measured(server: FastlogServer, case: Case, home: Path) -> Run:
        cost = 1.5 ** (len(taken) // 4) * (1.1 if server.name.startswith("this") else 1.0)
        taken.append(server.name)
        return Run(
            server=server.name, family="fastlog", case=case.name, connections=100,
            records=1_000_000, cpu=cost, seconds=cost / 2, peak_memory=1,
        )  # fmt: skip

    monkeypatch.setattr(against, "measure_run", measured)
    monkeypatch.setattr(against, "home_for_run", lambda: contextlib.nullcontext(tmp_path))
    case = Case(against.CASE, 100, 1_000_000)
    runs = list(against.run_pairs(case, ["ndjson", "sqlite"], tmp_path, 7))
    assert taken[:8] == [
        *("this ndjson", "other ndjson", "this sqlite", "other sqlite"),
        *("other ndjson", "this ndjson", "other sqlite", "this sqlite"),
    ]
    found = Results(machine={"CPU": "one"}, cases=[case.name], runs=runs)
    for sink in ("ndjson", "sqlite"):
        cpu, seconds = (
            cells_of(ratios.report(found, [sink]), f"{sink}, {name}") for name in ratios.MEASURES
        )
        middle = 1.5**3
        assert cpu[:3] == seconds[:3] == ["1.100", "1.100 to 1.100", "98.4%"]
        assert cpu[3:] == [f"{middle * 1.1:.2f}", f"{middle:.2f}", "7"]
        assert seconds[3:] == [f"{middle * 0.55:.2f}", f"{middle / 2:.2f}", "7"]


def cells_of(text: str, first: str) -> list[str]:
    """The other cells of the row of a table."""
    [row] = [line for line in text.splitlines() if line.startswith(f"| {first} ")]
    return [cell.strip() for cell in row.split("|")[2:-1]]


@pytest.mark.long
def test_the_other_installation_is_the_one_that_is_started(tmp_path: Path) -> None:
    """One that says so and starts a server, and one that does not start."""
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    program, started = other / "bin" / "fastlog-server", tmp_path / "started"
    real = Path(sys.executable).with_name("fastlog-server")
    program.write_text(f"#!/bin/sh\necho $* >>{started}\nexec {real} $*\n")
    program.chmod(0o755)
    only = ("--against", other, "--pairs", "1", "--records", "500", "--sinks", "sqlite")
    bench(tmp_path, *only)
    asked, served = started.read_text().splitlines()
    assert (asked, "--sink sqlite:" in served) == ("--version", True)

    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec {real} $*\nexit 3\n')
    failed = command("--quick", *only, home=tmp_path)
    assert failed.returncode == 1
    assert "other sqlite does not start" in failed.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--against", "/"], "--against: no fastlog-server in /bin"),
        (["--against", "/", "--only", "fastlog"], "--only cannot be used with --against"),
        (["--pairs", "3"], "--pairs can only be used with --against"),
        (["--against", "/", "--sinks", "ndjson,nothing"], "there are ndjson and sqlite, not"),
        (["--against", "/", "--case", "paced"], "--case: one with --against, not paced 1,"),
    ],
    ids=["no installation", "an option of the other kind", "no --against", "no such sink", "cases"],
)
def test_a_comparison_that_cannot_be_made_is_a_usage_error(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    done = command(*arguments, home=tmp_path)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("count", "ranks", "sure"),
    [
        (1, (1, 1), 0.0),
        (2, (1, 2), 0.5),
        (6, (1, 6), 0.969),
        (15, (4, 12), 0.965),
        (20, (6, 15), 0.959),
    ],
)
def test_the_interval_of_a_median_has_the_ranks_of_the_tables(
    count: int, ranks: tuple[int, int], sure: float
) -> None:
    values = [float(value) for value in range(1, count + 1)]
    random.Random(count).shuffle(values)
    low, high, confidence = ratios.median_interval(values)
    assert (low, high) == ranks
    assert math.isclose(confidence, sure, abs_tol=0.001)


def test_the_interval_of_a_median_holds_it_as_often_as_it_says() -> None:
    """Of 2,000 samples of a skewed distribution, whose median is the logarithm of 2."""
    chance = random.Random(5)
    held = confidence = 0.0
    for _ in range(2000):
        low, high, confidence = ratios.median_interval([chance.expovariate(1.0) for _ in range(15)])
        held += low <= math.log(2) <= high
    assert abs(held / 2000 - confidence) < 0.015


def test_the_processor_time_of_another_process_is_known_to_less_than_a_tick() -> None:
    code = "import time\nwhile time.process_time() < 0.05: pass\n"
    code += "print(time.process_time(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = float(process.stdout.readline())
        assert said <= usage.cpu_of(process.pid) < said + 0.05
        process.communicate("\n")
    with pytest.raises(ProcessLookupError):
        usage.cpu_of(process.pid)
