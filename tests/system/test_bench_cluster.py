"""`benchmarks/cluster.py`, small: both ways store every record, and all figures are there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from places import BENCHMARKS, ROOT
from postgres_servers import newest


@pytest.mark.long
def test_a_quick_run_stores_every_record_and_has_all_figures() -> None:
    newest()  # skips the test without PostgreSQL
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "cluster.py", "--quick"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nEvery record is stored once.\n")
    ratio = re.search(r"Through JetStream / directly: .*; median ([0-9.]+)\n", done.stdout)
    assert ratio is not None
    assert float(ratio[1]) > 0
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "|" in line]
    figures = {row[0]: row[1:] for row in rows}
    for name in ("collector: worker", "central: source", "three JetStream servers", "PostgreSQL"):
        assert float(figures[name][1]) > 0
    for name in ("PostgreSQL directly", "JetStream", "JetStream, linger=0"):
        median, p99, longest = (float(text.removesuffix(" ms")) for text in figures[name])
        assert 0 < median <= p99 <= longest
    assert sum(row[-1].endswith(" MiB") for row in rows) >= 3
