"""The result of a load: figures and verdict, as a table and as JSON."""

from __future__ import annotations

from typing import Any, NamedTuple

from blog_fleet import Load
from blog_store import Verdict
from rich.table import Table


class Flow(NamedTuple):
    """Times and resources from the first record until all are stored."""

    seconds: float
    """Until the last record was stored (or was taken for missing)."""
    clients_seconds: float
    """Until the last client had ended."""
    failed_clients: int
    cpu: dict[str, float]
    """CPU-seconds of each role, for that time."""
    peak_rss: int
    peak_pss: int


class Result(NamedTuple):
    load: Load
    flow: Flow
    verdict: Verdict
    rejected: int
    lost: int

    @property
    def passed(self) -> bool:
        faults = sum(self.verdict[1:5])
        return not (faults or self.rejected or self.lost or self.flow.failed_clients)

    @property
    def cpu_per_million(self) -> dict[str, float]:
        millions = max(self.load.records, 1) / 1e6
        return {role: seconds / millions for role, seconds in self.flow.cpu.items()}

    def as_json(self) -> dict[str, Any]:
        verdict = self.verdict._asdict()
        return {
            "load": self.load.id,
            "processes": self.load.processes,
            "runs": len(self.load.runs),
            "records": self.load.records,
            "seconds": round(self.flow.seconds, 3),
            "clients_seconds": round(self.flow.clients_seconds, 3),
            "cpu_seconds_per_million": round(sum(self.cpu_per_million.values()), 3),
            "cpu_by_role": {role: round(cpu, 3) for role, cpu in self.cpu_per_million.items()},
            "peak_pss": self.flow.peak_pss,
            "peak_rss": self.flow.peak_rss,
            "failed_clients": self.flow.failed_clients,
            **verdict,
            "rejected": self.rejected,
            "lost": self.lost,
            "passed": self.passed,
        }

    def as_table(self) -> Table:
        table = Table(show_header=False)
        flow, verdict = self.flow, self.verdict
        roles = ", ".join(f"{role} {cpu:.1f}" for role, cpu in self.cpu_per_million.items())
        rows = {
            "load": f"{self.load.processes} processes, {len(self.load.runs):,} runs",
            "records": f"{self.load.records:,}, stored {verdict.stored:,}",
            "seconds": f"{flow.seconds:.1f}, the clients {flow.clients_seconds:.1f}",
            "records a second": f"{self.load.records / max(flow.seconds, 1e-9):,.0f}",
            "CPU-s per million": f"{sum(self.cpu_per_million.values()):.1f} ({roles})",
            "peak memory": f"PSS {_mib(flow.peak_pss)}, sum of VmHWM {_mib(flow.peak_rss)}",
            "missing, doubled": f"{verdict.missing:,}, {verdict.doubled:,}",
            "out of order": f"{verdict.disordered:,}, never sent {verdict.unknown:,}",
            "ledger": f"rejected {self.rejected:,}, lost {self.lost:,}",
            "verdict": "every record stored once, in order" if self.passed else self._faults(),
        }
        for name, value in rows.items():
            table.add_row(name, value)
        return table

    def _faults(self) -> str:
        failed = self.flow.failed_clients
        clients = [f"{failed} clients failed or were ended"] if failed else []
        return "\n".join(["FAILED", *clients, *self.verdict.examples])


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
