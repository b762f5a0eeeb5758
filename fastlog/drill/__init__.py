"""`fastlog drill`: log numbered records through faults, and compare them with what is stored.

- `harness` runs the server (`server`), the bad network (`proxy`) and the clients (`clients`, each
  of which runs `program`), and injects faults.
- `scenario` says which faults happen in which phase, and runs all phases.
- `report` compares what was sent with what is stored (`stored`, `comparison`), and prints it.
"""

from __future__ import annotations

from fastlog.drill.clients import has_package
from fastlog.drill.harness import SECONDS
from fastlog.drill.interrupts import Interrupts
from fastlog.drill.report import Outcome
from fastlog.drill.scenario import run

__all__ = ["SECONDS", "Interrupts", "Outcome", "has_package", "run"]
