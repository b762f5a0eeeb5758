"""The results: single runs, and their medians."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

MILLION = 1_000_000
MIN_ROLE = 0.05
"""CPU-seconds per million records below which a process is not listed, as the supervisor."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a server in a case."""

    server: str
    family: str
    case: str
    connections: int
    records: int
    cpu: float
    """CPU-seconds of all its processes, from the first byte until all is stored."""
    cpu_by_role: dict[str, float] = {}
    seconds: float
    """The length of that time."""
    peak_memory: int
    """Bytes: the greatest sampled sum of proportional set sizes."""
    load_cpu: float = 0.0
    """CPU-seconds of the generator."""
    load_seconds: float = 0.0
    """Until the kernel had taken its last byte."""
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
        """The processes with a notable part of the CPU time."""
        return [role for role in self.cpu_by_role if self.role_per_million(role) >= MIN_ROLE]

    def role_per_million(self, role: str) -> float:
        return self.cpu_by_role.get(role, 0.0) / self.records * MILLION

    @property
    def records_per_second(self) -> float:
        return self.records / self.seconds


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of an idle server."""

    server: str
    idle: int
    """Bytes of all its processes, without a connection."""
    connections: int
    loaded: int
    """Bytes with that many idle connections."""

    @property
    def each(self) -> float:
        """Bytes for each connection, without the kernel's."""
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
    """The reason, by server."""

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
