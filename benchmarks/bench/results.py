"""What was measured: single runs, and the medians over them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

MILLION = 1_000_000
TRIFLE = 0.05
"""CPU-seconds per million records: the supervisor has less."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One server in one case, once."""

    server: str
    family: str
    case: str
    connections: int
    records: int
    cpu: float
    """CPU-seconds of all its processes, from the first byte until all is stored."""
    cpu_by_role: dict[str, float] = {}
    seconds: float
    """The same span of time."""
    peak_memory: int
    """Bytes: the greatest sum of proportional set sizes that was seen."""
    load_cpu: float = 0.0
    """CPU-seconds of the generator."""
    load_seconds: float = 0.0
    """Until its last byte was with the kernel."""
    missing: int = 0
    doubled: int = 0
    unknown: int = 0
    faults: str = ""
    """What went wrong, in words; empty: every record is stored once."""

    @property
    def cpu_per_million(self) -> float:
        return self.cpu / self.records * MILLION

    @property
    def roles(self) -> list[str]:
        """The processes that used any of it worth telling."""
        return [role for role in self.cpu_by_role if self.role_per_million(role) >= TRIFLE]

    def role_per_million(self, role: str) -> float:
        return self.cpu_by_role.get(role, 0.0) / self.records * MILLION

    @property
    def records_per_second(self) -> float:
        return self.records / self.seconds


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What a server needs when nothing happens."""

    server: str
    idle: int
    """Bytes of all its processes, without a connection."""
    connections: int
    loaded: int
    """Bytes with so many idle connections."""

    @property
    def each(self) -> float:
        """Bytes a connection, without the kernel's."""
        return (self.loaded - self.idle) / self.connections


class Results(msgspec.Struct, kw_only=True):
    """All of one `make bench`; what `--json` writes."""

    machine: dict[str, Any]
    servers: list[str] = []
    """In the order of the tables."""
    cases: list[str] = []
    runs: list[Run] = []
    memory: list[Memory] = []
    skipped: dict[str, str] = {}
    """Why, by server."""

    def of(self, server: str, case: str) -> list[Run]:
        return [run for run in self.runs if (run.server, run.case) == (server, case)]

    def median(self, server: str, case: str, value: Callable[[Run], float]) -> float | None:
        values = [value(run) for run in self.of(server, case)]
        return statistics.median(values) if values else None

    def faulty(self) -> Iterable[Run]:
        return (run for run in self.runs if run.faults)


def load(path: Path) -> Results:
    return msgspec.json.decode(path.read_bytes(), type=Results)


def save(results: Results, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
