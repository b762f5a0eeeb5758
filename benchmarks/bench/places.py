"""The paths of the benchmarks."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
PEERS = BENCHMARKS / "peers"
BUILD = Path(os.environ.get("BENCH_DIR", ROOT / "build" / "bench")).absolute()
"""Compiled programs, pools, results, charts, and the servers' data while they run."""
SYSLOG = ROOT / "build" / "syslog"
"""The output of `unpack_syslogs.sh`."""
