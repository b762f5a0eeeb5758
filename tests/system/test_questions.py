"""The benchmarks of questions and of `tail -f`, small: right answers, and nothing missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from places import BENCHMARKS, ROOT


def run(*arguments: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS), **environment}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_question_has_the_right_number_of_answers(tmp_path: Path) -> None:
    """The program compares what `fastlog` printed with what it has stored."""
    text = run(
        *("-m", "bench.questions", "--store", "4000x2", "--repeat", "1"), BENCH_DIR=str(tmp_path)
    )
    assert re.search(r"^4,000 records in [23] day files: \d+ bytes a record, as lines", text, re.M)
    questions = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert len(questions) == 12
    assert {"newest 100", "a substring that is nowhere", "extra.user=77", "stats"} < {*questions}


def test_tail_prints_each_record_in_order() -> None:
    text = run(BENCHMARKS / "tail_latency.py", "--per-second", "100", "--seconds", "1")
    assert re.search(r"^median \d\.\d{3} s, .*; 0 missing, 0 not in order; ", text), text
