"""The health of a running server, by what its processes have written: losses, sinks, workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from fastlog.cli.checks import State, Verdict
from fastlog.cli.counted import counted
from fastlog.cli.source_table import faults
from fastlog.config import format_duration
from fastlog.config.urls import public_url
from fastlog.ledger import LedgerError
from fastlog.source.report import read_report
from fastlog.status.data_directory import Status
from fastlog.status.sink_reports import SILENT, SinkReport, read_sinks, shown_age
from fastlog.status.tallies import Tally, read_tallies

BEHIND = 60.0
"""Seconds that a record may wait for a sink."""
REASONS = 3
"""How many reasons of losses a line names."""


def check_health(
    data_dir: Path, configured: Mapping[str, str], status: Status, now: float
) -> list[Verdict]:
    """Check a server that runs.

    Args:
        configured: the URLs of the sinks of the configuration that the command has, by name.
        status: the last status of its receiver.
    """
    verdicts = [_check_receiver(status, now)]
    verdicts += _check_losses(data_dir, status, now)
    for sink in read_sinks(data_dir, status, now):
        if sink.configured is not False:
            verdicts += _check_sink(sink, now)
    if status.sinks is not None:
        verdicts += _compare_sinks(configured, status.sinks)
    return verdicts


def _compare_sinks(configured: Mapping[str, str], running: Mapping[str, str]) -> Iterator[Verdict]:
    """Warn of each sink of the configuration that the server does not have, or has elsewhere."""
    for name, url in sorted(configured.items()):
        if name not in running:
            what = "the running server has no such sink"
        elif public_url(url) != running[name]:
            what = f"the running server stores in {running[name]}, not in {public_url(url)}"
        else:
            continue
        text = f"{what}; reload it, or name its configuration with --config"
        yield Verdict(State.WARNING, f"configuration of sink {name}", text)


def _check_receiver(status: Status, now: float) -> Verdict:
    if not status.is_fresh():
        text = f"has written no status for {format_duration(abs(now - status.at))}"
        return Verdict(State.FAILED, "receiver", text)
    return Verdict(State.OK, "receiver", f"{status.connections} connections")


def _check_losses(data_dir: Path, status: Status, now: float) -> Iterator[Verdict]:
    """Check what was lost or rejected in the last minutes.

    The receiver counts what it drops at once. The ledger also has what clients and sinks have
    lost, once a worker has read of it.
    """
    period = f"the last {format_duration(status.recent_seconds)}"
    try:
        rejected, losses = read_tallies(data_dir, now - status.recent_seconds)
    except LedgerError:
        rejected, losses = [], []  # `check_ledger` reports it
    lost = max(status.recent_dropped, sum(tally.recent for tally in losses))
    unknown = sum(tally.recent_unknown for tally in losses)
    if lost or unknown:
        number = str(lost) if lost else "an unknown number of"
        text = f"{number} records were lost in {period}{_reasons(losses)}"
        yield Verdict(State.FAILED, "losses", text)
    else:
        yield Verdict(State.OK, "losses", f"none in {period}")
    refused = max(status.recent_rejected, sum(tally.recent for tally in rejected))
    if refused:
        text = f"{refused} in {period}{_reasons(rejected)}"
        yield Verdict(State.WARNING, "rejections", text)


def _reasons(tallies: list[Tally]) -> str:
    recent = [tally for tally in tallies if tally.recent or tally.recent_unknown]
    recent.sort(key=lambda tally: -tally.recent)
    shown = ", ".join(tally.reason for tally in recent[:REASONS])
    more = f", and {len(recent) - REASONS} more" if len(recent) > REASONS else ""
    return f": {shown}{more}" if shown else ""


def _check_sink(sink: SinkReport, now: float) -> list[Verdict]:
    subject = f"worker {sink.name}"
    found = [Verdict(State.FAILED, subject, text) for text in _sink_failures(sink, now)]
    if sink.in_call_since is not None and now - sink.in_call_since > SILENT:
        waiting = format_duration(now - sink.in_call_since)
        text = f"is inside the sink's own {sink.in_call} for {waiting}"
        found.append(Verdict(State.WARNING, subject, text))
    if found:
        return found
    records = "?" if sink.lag_records is None else str(sink.lag_records)
    alive = "not known" if sink.alive_at is None else shown_age(now - sink.alive_at)
    text = f"{records} records behind; last sign of life: {alive}"
    return [Verdict(State.OK, subject, text)]


def check_source_health(data_dir: Path, now: float) -> Iterator[Verdict]:
    """Check what a central server takes from a stream."""
    source = read_report(data_dir)
    if source is None:
        return
    age = now - source.at
    if age > SILENT:
        text = f"has reported nothing for {format_duration(age)}"
        yield Verdict(State.FAILED, "source", text)
    elif source.error is not None:
        yield Verdict(State.FAILED, "source", source.error)
    else:
        nodes = counted(len(source.nodes), "node")
        yield Verdict(State.OK, "source", f"takes {nodes} from {source.url}")
    for node in source.nodes:
        lag = node.lag(now)
        found = faults(node)
        if lag is not None and lag > BEHIND:
            found.append(f"{node.pending} messages behind, {format_duration(lag)}")
        for text in found:
            yield Verdict(State.FAILED, f"node {node.node}", text)


def _sink_failures(sink: SinkReport, now: float) -> Iterator[str]:
    if sink.error is not None:
        yield f"the sink fails: {sink.error}"
    elif sink.cursor is None:
        yield "the sink has never been opened; the server's log has the reason"
    for handler, failures in sink.failing.items():
        yield f"handler {handler} has failed {failures} times since it last worked"
    if sink.lag_seconds is not None and sink.lag_seconds > BEHIND:
        records = "an unknown number of" if sink.lag_records is None else sink.lag_records
        oldest = format_duration(sink.lag_seconds)
        yield f"{records} records behind, the oldest of which was received {oldest} ago"
    if sink.in_call_since is None and sink.is_silent(now):
        assert sink.alive_at is not None
        yield f"no sign of life for {format_duration(now - sink.alive_at)}"
