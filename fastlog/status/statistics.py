"""What `fastlog stats` shows, collected from the files of a data directory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from fastlog.config import Config
from fastlog.errors import ConfigError, FastlogError
from fastlog.query import EVERYTHING, Node
from fastlog.search import Progress, Totals, Unread
from fastlog.search.store import RecordStore
from fastlog.search.totals import TOTALS, totals_of
from fastlog.server.process_counts import ProcessCount
from fastlog.source.report import SourceReport
from fastlog.status.data_directory import Status, read_status
from fastlog.status.record_stores import choose_store
from fastlog.status.server_state import RECENT, read_state
from fastlog.status.sink_reports import SinkReport
from fastlog.status.tallies import Erasures, Tally


class Statistics(NamedTuple):
    """All that the command shows."""

    at: float
    """When it was collected, in seconds since the epoch."""
    data_dir: Path
    is_filtered: bool
    """Whether filters restrict the counts of records."""
    totals: Totals
    not_counted: str
    """Why no records were counted; "" if they were."""
    rejected: list[Tally] | None
    """None: the ledger cannot be read."""
    losses: list[Tally] | None
    """None: the ledger cannot be read."""
    ledger_error: str
    """Why the ledger cannot be read; "" if it can."""
    erasures: Erasures
    sinks: list[SinkReport]
    status: Status | None
    """None: no receiver has run."""
    source: SourceReport | None
    """What a central server takes from a stream; None: it is none."""
    processes: dict[str, ProcessCount]
    """The failures of the server's processes, by their roles."""
    is_running: bool
    unread: Unread
    is_counted: bool = True
    """Whether all records were counted: the time of the caller was enough."""

    @property
    def records(self) -> int | None:
        """The number of records; None if none of them could be counted."""
        if self.not_counted or (self.unread.files and not self.totals.records):
            return None
        return self.totals.records

    @property
    def recent_seconds(self) -> float:
        """How many seconds before `at` count as recent."""
        return RECENT if self.status is None else self.status.recent_seconds


def collect(
    config: Config,
    query: Node,
    unread: Unread,
    now: float,
    store: str | RecordStore | None = None,
    progress: Progress | None = None,
) -> Statistics:
    """Collect what is known about a data directory.

    Args:
        unread: gets the day files that cannot be read.
        store: the store or its URL, if it is not that of the configuration.
        progress: if it must stop, the result has what was counted until then.

    Raises:
        ConfigError: It is no data directory.
    """
    progress = progress or Progress()
    totals, not_counted = _count(config, query, unread, store, progress)
    state = read_state(config.data_dir, now)
    return Statistics(
        at=now,
        data_dir=config.data_dir,
        is_filtered=query != EVERYTHING,
        totals=totals,
        not_counted=not_counted,
        rejected=state.rejected,
        losses=state.losses,
        ledger_error=state.ledger_error or "",
        erasures=state.erasures,
        sinks=state.sinks,
        status=state.receiver,
        source=state.source,
        processes=state.processes,
        is_running=state.running,
        unread=unread,
        is_counted=progress.stopped is None,
    )


def _count(
    config: Config,
    query: Node,
    unread: Unread,
    store: str | RecordStore | None,
    progress: Progress,
) -> tuple[Totals, str]:
    """Return the counts of records, and why there are none; "" if there are."""
    try:
        if store is None or isinstance(store, str):
            store = choose_store(config, store).store
        return totals_of(store.count(query, TOTALS, unread, progress)), ""
    except FastlogError as error:
        if isinstance(error, ConfigError) and read_status(config.data_dir) is None:
            raise
        return Totals(Counter(), Counter(), Counter(), Counter()), str(error)  # show the rest


def to_tree(found: Statistics) -> dict[str, Any]:
    """Return the statistics as what `fastlog stats --json` prints."""
    totals, status = found.totals, found.status
    return {
        "at": found.at,
        "records": found.records,
        "is_complete": found.is_counted
        and not (found.unread.files or found.not_counted or found.ledger_error),
        "is_filtered": found.is_filtered,
        "levels": dict(totals.levels.most_common()),
        "loggers": dict(totals.loggers.most_common()),
        "hosts": dict(totals.hosts.most_common()),
        "hours": {str(hour): number for hour, number in sorted(totals.hours.items())},
        "not_counted": found.not_counted or None,
        "unread": {str(path): what for path, what in found.unread.files.items()},
        "rejected": found.rejected,
        "losses": found.losses,
        "ledger_error": found.ledger_error or None,
        "erasures": found.erasures,
        "recent_seconds": found.recent_seconds,
        "sinks": found.sinks,
        "running": found.is_running,
        "journal_fill": None if status is None else status.fill,
        "receiver": status,
        "source": found.source,
        "processes": found.processes,
    }
