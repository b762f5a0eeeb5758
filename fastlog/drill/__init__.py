"""`fastlog drill`: log numbered records through faults, and compare them with what is stored.

- `harness` runs the clients (`clients`, each of which runs `program`) and the phases;
  `server_harness` adds the server (`server`), a bad network (`proxy`), and their faults.
- `scenario` says which faults happen in which phase, and `run` runs all phases.
- `report` compares what was sent with what is stored (`stored`, `comparison`), and prints it.
- `cluster` is the same for collectors, JetStream, centrals and PostgreSQL.
"""

from __future__ import annotations

from fastlog.drill.clients import has_package
from fastlog.drill.harness import SECONDS
from fastlog.drill.interrupts import Interrupts
from fastlog.drill.report import Outcome
from fastlog.drill.scenario import run

__all__ = ["SECONDS", "Interrupts", "Outcome", "has_package", "run"]
