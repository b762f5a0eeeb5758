"""The benchmarks of questions and of `tail -f`, small: right answers, and nothing missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import BENCHMARKS, ROOT

pytestmark = pytest.mark.long


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
        *("-m", "bench.questions", "--store", "4000x2", "--repeat", "1", "--ask", "commands"),
        BENCH_DIR=str(tmp_path),
    )
    assert re.search(r"^4,000 records in [23] day files: \d+ bytes a record, as lines", text, re.M)
    questions = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert len(questions) == 13
    assert {"newest 100", "a substring that is nowhere", "extra.user=77", "stats"} < {*questions}


def test_the_questions_of_the_page_are_answered_whole(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")
    text = run(
        *("-m", "bench.questions", "--store", "4000x2", "--repeat", "1", "--ask", "page"),
        BENCH_DIR=str(tmp_path),
    )
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    assert [row[1].strip() for row in rows[2:]] == [
        "first view",
        "a level and a logger",
        "a substring over a day, that is nowhere",
        "a substring over a day, in each sixth",
    ]
    assert all(float(cell) >= 0 for row in rows[2:] for cell in row[2:-1])


def test_tail_prints_each_record_in_order() -> None:
    text = run(BENCHMARKS / "tail_latency.py", "--per-second", "100", "--seconds", "1")
    assert re.search(r"^median \d\.\d{3} s, .*; 0 missing, 0 not in order; ", text), text
