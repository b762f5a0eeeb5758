"""`fastlog drill`: numbered records, a server that is treated badly, and a comparison."""

from __future__ import annotations

from fastlog.drill.clients import has_package
from fastlog.drill.ending import Ending
from fastlog.drill.oracle import Account, Row, is_broken_to
from fastlog.drill.story import SECONDS, Outcome, run

__all__ = [
    "SECONDS",
    "Account",
    "Ending",
    "Outcome",
    "Row",
    "has_package",
    "is_broken_to",
    "run",
]
