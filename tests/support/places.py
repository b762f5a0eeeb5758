"""Where the parts of a checkout are."""

from pathlib import Path

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parent.parent
CLIENT = ROOT / "client"
BENCHMARKS = ROOT / "benchmarks"
