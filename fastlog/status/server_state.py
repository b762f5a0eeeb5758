"""The state of a server: losses, rejections, sinks, and what its receiver last wrote."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fastlog.ledger import LedgerError
from fastlog.server.process_counts import ProcessCount, read_process_counts
from fastlog.source.report import SourceReport, read_report
from fastlog.status.data_directory import Status, is_running, read_status
from fastlog.status.sink_reports import SinkReport, read_sinks
from fastlog.status.tallies import Erasures, Tally, read_erased, read_tallies

RECENT = 300.0
"""Seconds that count as recent where the receiver does not say how many it counts."""


class ServerState(msgspec.Struct, frozen=True):
    """What is known about a server. `/api/v1/status` of the web server has these names."""

    rejected: list[Tally] | None
    """None: the ledger cannot be read."""
    losses: list[Tally] | None
    """None: the ledger cannot be read."""
    ledger_error: str | None
    """Why the ledger cannot be read; None if it can."""
    recent_seconds: float
    """How many seconds count as recent."""
    sinks: list[SinkReport]
    running: bool
    receiver: Status | None
    """None: no receiver has run."""
    erasures: Erasures = Erasures()
    source: SourceReport | None = None
    """What a central server takes from a stream; None: it is none."""
    processes: dict[str, ProcessCount] = {}
    """The failures of the server's processes since it was started, by their roles."""


def read_state(data_dir: Path, now: float) -> ServerState:
    """Return the state of the server of a data directory.

    Args:
        now: the time, in seconds since the epoch.
    """
    status = read_status(data_dir)
    recent_seconds = RECENT if status is None else status.recent_seconds
    rejected: list[Tally] | None
    losses: list[Tally] | None
    ledger_error = None
    try:
        rejected, losses = read_tallies(data_dir, now - recent_seconds)
    except LedgerError as error:
        rejected = losses = None
        ledger_error = str(error)
    return ServerState(
        rejected=rejected,
        losses=losses,
        ledger_error=ledger_error,
        erasures=read_erased(data_dir),
        recent_seconds=recent_seconds,
        sinks=read_sinks(data_dir, status, now),
        running=is_running(data_dir),
        receiver=status,
        source=read_report(data_dir),
        processes=read_process_counts(data_dir),
    )
