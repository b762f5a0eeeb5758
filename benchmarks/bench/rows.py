"""The floors of the SQLite sink: `peers/executemany.py`, which has no connections."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.cases import Case
from bench.pages import prepare
from bench.places import PEERS
from bench.results import Run
from bench.servers import ServerError


class RowsFloor:
    """Runs `executemany` with prepared tuples, as many as the case has records."""

    family = "floor"

    def __init__(self, name: str, *flags: str) -> None:
        self.name = name
        self._flags = flags

    def missing(self) -> str:
        return ""

    def measure(self, case: Case, home: Path) -> Run:
        """Run it once.

        Raises:
            ServerError: it fails, or a row is missing.
        """
        command: list[str | Path] = [
            sys.executable,
            PEERS / "executemany.py",
            home,
            str(case.records),
            *self._flags,
        ]
        prepare(home, case)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerError(f"{self.name}: {done.stderr.strip()[-300:]}")
        figures = json.loads(done.stdout)
        return Run(
            server=self.name, family=self.family, case=case.name, connections=0,
            records=case.records, **figures,
        )  # fmt: skip
