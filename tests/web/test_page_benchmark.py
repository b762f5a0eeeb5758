"""The benchmark of the live tail, small: it measures each process, and what the pages got."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from browsers import find_chromium
from places import BENCHMARKS, ROOT


def test_the_benchmark_of_the_live_tail_prints_what_it_measures(chromium):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "page_tail.py", "--per-second", "300", "--seconds", "5",
         "--pages", "3"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
        env={"CHROMIUM": find_chromium(), **os.environ, "PYTHONPATH": str(BENCHMARKS)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert re.search(r"^frames: median [\d.]+ ms, p95 [\d.]+ ms", text, re.M), text
    assert len(re.findall(r"^page at +\d+ s: heap [\d.]+ MiB", text, re.M)) == 3
    [records] = re.findall(r"^other pages, 2: ([\d,]+) to", text, re.M)
    assert int(records.replace(",", "")) > 0
    assert re.search(r"^CPU-s/s: .*web \d\.\d\d", text, re.M)
