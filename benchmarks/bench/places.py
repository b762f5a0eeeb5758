"""Where things are."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
PEERS = BENCHMARKS / "peers"
BUILD = Path(os.environ.get("BENCH_DIR", ROOT / "build" / "bench")).absolute()
"""What was compiled, the pools, results and charts, and the servers' data while they run."""
SYSLOG = ROOT / "build" / "syslog"
"""Where `unpack_syslogs.sh` puts what it fetched."""
