"""Where things are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
PEERS = BENCHMARKS / "peers"
BUILD = ROOT / "build" / "bench"
"""What was compiled, the pools, results and charts: nothing that is committed."""
SYSLOG = ROOT / "build" / "syslog"
"""Where `unpack_syslogs.sh` puts what it fetched."""
