"""`make bench`, run as a command with a directory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from places import BENCHMARKS


def bench(home: Path, *arguments: str | Path, status: int = 0) -> tuple[Any, str]:
    """The figures and the report of a quick run."""
    done = command("--quick", "--json", home / "figures.json", *arguments, home=home)
    assert status == done.returncode, done.stdout + done.stderr
    return json.loads((home / "figures.json").read_text()), done.stdout


def command(*arguments: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS), "BENCH_DIR": str(home / "build")},
    )  # fmt: skip
