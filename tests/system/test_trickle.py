"""`benchmarks/trickle.py`, small: every record is acknowledged or stored once, and counted."""

from __future__ import annotations

import subprocess
import sys

import pytest
from places import BENCHMARKS, ROOT


@pytest.mark.parametrize("sink", ["sqlite", "ndjson"])
def test_a_run_measures_the_receiver_and_loses_nothing(sink: str) -> None:
    command = [sys.executable, BENCHMARKS / "trickle.py", "--seconds", "1", "--sinks", sink]
    done = subprocess.run(
        [*command, "--connections", "6", "--per-second", "60"],
        capture_output=True, text=True, check=True, cwd=ROOT, timeout=300,
    )  # fmt: skip
    heads, _, row = (line.strip("| ").split(" | ") for line in done.stdout.splitlines())
    figures = dict(zip(heads, row, strict=True))
    assert (figures["server"], figures["sink"], figures["lost"]) == ("this", sink, "0")
    assert float(figures["receiver"].rstrip(" %")) > 0
    assert 0 < float(figures["acked: median"]) <= float(figures["acked: longest"])
