"""The metrics: a collector for the library `prometheus_client`.

Names follow https://prometheus.io/docs/practices/naming: base units, and `_total` for counters,
which the library appends. Counters of the receiver begin at 0 when the service is started; those of
the ledger and of commits continue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import accumulate
from pathlib import Path

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from fastlog.errors import FastlogError
from fastlog.journal import COMMIT_BOUNDS, JournalReader
from fastlog.ledger import LedgerError
from fastlog.metrics.certificates import certificate_metrics
from fastlog.metrics.source import source_metrics
from fastlog.server.process_counts import ProcessCount, read_process_counts
from fastlog.source.report import read_report
from fastlog.status.data_directory import Status, read_status
from fastlog.status.sink_reports import SinkReport, read_sinks
from fastlog.status.tallies import Tally, read_tallies
from fastlog.tls.report import ListenerReport
from fastlog.tls.report import read_report as read_tls_report
from fastlog.version import __version__

_BLOCK_BYTES = 4096
"""Bytes to read of the journal for the time of one block."""


class ServerCollector(Collector):
    """Collects the metrics of the server of a data directory.

    Args:
        own: The certificates of the web server that serves the metrics.
        clock: The wall clock, in seconds since the epoch.
    """

    def __init__(
        self,
        data_dir: Path,
        own: Sequence[ListenerReport] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._data_dir, self._own, self._clock = data_dir, own, clock

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics. Those whose source cannot be read are left out."""
        status = self._status()
        is_fresh = status is not None and status.is_fresh()
        yield InfoMetricFamily(
            "fastlog_build", "The version of the server.", {"version": __version__}
        )
        yield _gauge(
            "receiver_up",
            "1 if the receiver has written its status in the last five seconds.",
            is_fresh,
        )
        if status is not None:
            yield from _receiver(status)
            yield from _journal(status)
            yield from self._journal_age(status)
        yield from _processes(read_process_counts(self._data_dir))
        yield from _sinks(read_sinks(self._data_dir, status, self._clock()))
        yield from certificate_metrics([*read_tls_report(self._data_dir), *self._own])
        source = read_report(self._data_dir)
        if source is not None:
            yield from source_metrics(source, self._clock())
        yield from self._ledger()

    def _status(self) -> Status | None:
        try:
            return read_status(self._data_dir)
        except FastlogError:  # it is damaged: `fastlog check` describes that
            return None

    def _journal_age(self, status: Status) -> Iterator[Metric]:
        try:
            with closing(JournalReader(self._data_dir / "journal")) as reader:
                blocks = reader.read(status.oldest, _BLOCK_BYTES)
        except (FastlogError, OSError, ValueError):
            return
        age = max(0.0, self._clock() - blocks[0].received) if blocks else 0.0
        text = "How long ago the oldest block of the journal was received."
        yield _gauge("journal_oldest_block_age_seconds", text, age)

    def _ledger(self) -> Iterator[Metric]:
        try:
            rejected, losses = read_tallies(self._data_dir, self._clock())
        except LedgerError:
            yield _gauge("ledger_readable", "1 if the ledger can be read.", 0)
            return
        yield _gauge("ledger_readable", "1 if the ledger can be read.", 1)
        yield from _tallied("rejected", "Frames and connections rejected, in the ledger.", rejected)
        yield from _tallied("lost_records", "Records lost, in the ledger.", losses)
        text = "Losses of an unknown number of records, in the ledger."
        unknown = sum(tally.unknown for tally in losses)
        yield _counter("losses_of_unknown_size", text, unknown)


def _receiver(status: Status) -> Iterator[Metric]:
    yield _counter("received_bytes", "Bytes received on all connections.", status.bytes)
    yield _counter(
        "received_frames",
        "Complete frames received. Each is a record or a rejection.",
        status.frames,
    )
    yield _counter("accepted_connections", "Connections accepted.", status.accepted)
    yield _gauge("connections", "Connections that are open.", status.connections)
    yield _gauge("clients", "Open connections of clients of the fastlog protocol.", status.clients)
    yield _counter(
        "acknowledgements", "Acknowledgements sent to clients of the fastlog protocol.", status.acks
    )
    text = "Records that clients sent again, and that were skipped."
    yield _counter("repeated_records", text, status.repeated)
    text = "Records of stock clients that the receiver dropped. Each is in the ledger later."
    yield _counter("dropped_records", text, status.dropped)
    yield _counter(
        "throttlings", "How often connections had to wait: they were throttled.", status.throttlings
    )
    yield _gauge("throttled_connections", "Connections that are throttled now.", status.throttled)
    yield _counter("reloads", "Reloads by SIGHUP.", status.reloads)


def _journal(status: Status) -> Iterator[Metric]:
    yield _counter("journal_blocks", "Blocks appended to the journal.", status.blocks)
    yield _gauge("journal_bytes", "Size of the journal on disk.", status.size)
    yield _gauge("journal_limit_bytes", "Size that the journal may have.", status.limit)
    text = "1 if the journal cannot be written now."
    yield _gauge("journal_failing", text, status.failure is not None)


def _processes(counts: Mapping[str, ProcessCount]) -> Iterator[Metric]:
    failures = CounterMetricFamily(
        "fastlog_process_failures",
        "How often a process of the server ended without a request, or had to be killed.",
        labels=["process"],
    )
    hangs = CounterMetricFamily(
        "fastlog_process_hangs",
        "How often a process of the server was killed because it gave no sign of life.",
        labels=["process"],
    )
    for role, count in sorted(counts.items()):
        failures.add_metric([role], count.failures)
        hangs.add_metric([role], count.hangs)
    yield from (failures, hangs)


def _sinks(sinks: Iterable[SinkReport]) -> Iterator[Metric]:
    reports = [sink for sink in sinks if sink.configured is not False]
    bounds = [*map(str, COMMIT_BOUNDS), "+Inf"]
    texts = {
        "lag_records": "Frames that are durable in the journal, and not in the sink yet.",
        "lag_bytes": "Bytes that are durable in the journal, and not in the sink yet.",
        "lag_seconds": "How long ago the oldest record was received that is not in the sink yet.",
        "failing": "1 if the sink, or a handler in it, fails now, or the sink was never opened.",
        "alive_timestamp_seconds": "When its worker gave the last sign of life, as Unix time.",
    }
    families = {name: _labelled(f"sink_{name}", text) for name, text in texts.items()}
    commits = HistogramMetricFamily(
        "fastlog_sink_commit_seconds",
        "How long transactions of the sink took, in seconds.",
        labels=["sink"],
    )
    for sink in reports:
        values = {
            "lag_records": sink.lag_records,
            "lag_bytes": sink.lag_bytes,
            "lag_seconds": sink.lag_seconds,
            "failing": sink.cursor is None or sink.error is not None or bool(sink.failing),
            "alive_timestamp_seconds": sink.alive_at,
        }
        for name, value in values.items():
            if value is not None:
                families[name].add_metric([sink.name], value)
        if len(sink.commits.counts) == len(bounds):  # another version may have had other buckets
            buckets = [*zip(bounds, accumulate(sink.commits.counts), strict=True)]
            commits.add_metric([sink.name], buckets, sink.commits.seconds)
    yield from families.values()
    yield commits
    yield from _left_out(reports)


def _left_out(reports: Iterable[SinkReport]) -> Iterator[Metric]:
    """Yield what filters and redaction have kept out of the sinks."""
    filtered = CounterMetricFamily(
        "fastlog_sink_filtered_records",
        "Records that the filter of the sink has left out.",
        labels=["sink"],
    )
    redacted = CounterMetricFamily(
        "fastlog_sink_redacted_records",
        "Stored records that a rule of redaction has changed.",
        labels=["sink", "rule"],
    )
    for sink in reports:
        filtered.add_metric([sink.name], sink.filtered)
        for rule, number in sorted(sink.redacted.items()):
            redacted.add_metric([sink.name, rule], number)
    yield filtered
    yield redacted


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"fastlog_{name}", text, value=float(value))


def _labelled(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fastlog_{name}", text, labels=["sink"])


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"fastlog_{name}", text, value=float(value))


def _tallied(name: str, text: str, tallies: list[Tally]) -> Iterator[Metric]:
    """Yield the sum, which is there from 0 on so that its first increase is seen, and its parts."""
    yield _counter(name, text, sum(tally.count for tally in tallies))
    by_reason = CounterMetricFamily(
        f"fastlog_{name}_by_reason",
        f"{text} A reason appears with its first one.",
        labels=["reason"],
    )
    for tally in tallies:
        by_reason.add_metric([tally.reason], tally.count)
    yield by_reason
