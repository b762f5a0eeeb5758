"""The tables of `fastlog stats`."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastlog.cli.data_directory import Status, Tally, is_running
from fastlog.config import format_duration, format_size
from fastlog.terminal import one_line

if TYPE_CHECKING:
    from fastlog.cli.stats import SinkLag, Statistics

TOP = 10
"""How many loggers and hosts the tables show; `--json` has all."""
HOURS = 48
"""How many hours the tables show: the newest."""


def print_tables(found: Statistics, data_dir: Path, *, colour: bool) -> None:
    """Print what was found in a data directory."""
    console = Console(no_color=not colour, highlight=False)
    totals, status = found.totals, found.status
    console.print(f"{totals.records} records in {data_dir}", markup=False)
    if totals.records:
        for title, counts in (("level", totals.levels), ("logger", totals.loggers)):
            console.print(_count_table(title, counts))
        console.print(_count_table("host", totals.hosts))
        console.print(_hour_table(totals.hours))
    for title, tallies in (("rejected", found.rejected), ("lost", found.losses)):
        if tallies:
            console.print(_tally_table(title, tallies))
        else:
            console.print(f"{title}: {'unknown' if tallies is None else 'none'}")
    if found.sinks:
        console.print(_sink_table(found.sinks))
    console.print(
        _receiver_table(status) if status else "receiver: has not run in this data directory"
    )
    if status and not is_running(data_dir) and not status.is_fresh():
        console.print(f"fastlog-server is not running; last status at {_shown_time(status.at)}")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(columns):
        table.add_column(name, justify="left" if at == 0 else "right", overflow="fold")
    return table


def _count_table(title: str, counts: Counter[str]) -> Table:
    table = _table(title, "records")
    for name, number in counts.most_common(TOP):
        table.add_row(_cell(name), str(number))
    rest = len(counts) - TOP
    if rest > 0:
        others = counts.total() - sum(number for _, number in counts.most_common(TOP))
        table.add_row(f"({rest} more)", str(others))
    return table


def _hour_table(hours: Counter[int]) -> Table:
    table = _table("hour", "records")
    table.add_column("")
    shown = sorted(hours)[-HOURS:]
    most = max(hours[hour] for hour in shown)
    for hour in shown:
        bar = "█" * max(1, round(hours[hour] / most * 40))
        table.add_row(_shown_time(hour, "minutes"), str(hours[hour]), bar)
    return table


def _tally_table(title: str, tallies: list[Tally]) -> Table:
    table = _table(title, "count", "last")
    for tally in tallies:
        table.add_row(_cell(tally.reason), _shown_count(tally), _shown_time(tally.last))
    return table


def _sink_table(sinks: list[SinkLag]) -> Table:
    table = _table("sink", "cursor", "records behind", "bytes behind", "seen", "when full", "error")
    for sink in sinks:
        table.add_row(
            _cell(sink.name),
            str(sink.cursor),
            "?" if sink.lag_records is None else str(sink.lag_records),
            "?" if sink.lag_bytes is None else format_size(sink.lag_bytes),
            f"{format_duration(max(0.0, time.time() - sink.at))} ago",
            sink.when_full,
            _cell(sink.error or ""),
        )
    return table


def _receiver_table(status: Status) -> Table:
    table = _table("receiver", "")
    table.add_row("connections", str(status.connections))
    table.add_row("fastlog clients", str(status.clients))
    table.add_row("accepted", str(status.accepted))
    table.add_row("frames", str(status.frames))
    table.add_row("dropped", str(status.dropped))
    table.add_row("throttled", f"{status.throttled} now, {status.throttlings} times")
    table.add_row("lag", f"{status.lag:.2f} s")
    table.add_row("journal", f"{format_size(status.size)} of {format_size(status.limit)}")
    if status.failure:
        table.add_row("failure", _cell(status.failure))
    for reason, number in sorted(status.rejected.items()):
        table.add_row(_cell(f"rejected: {reason}"), str(number))
    return table


def _shown_count(tally: Tally) -> str:
    spans = f"unknown ({tally.unknown} {'span' if tally.unknown == 1 else 'spans'})"
    known = [str(tally.count)] if tally.count or not tally.unknown else []
    return " + ".join([*known, spans] if tally.unknown else known)


def _shown_time(moment: float, precision: str = "seconds") -> str:
    """Format as local time; as a number if it is out of range, as `fastlog query` does."""
    try:
        return datetime.fromtimestamp(moment).isoformat(" ", precision)
    except (ValueError, OverflowError, OSError):
        return str(moment)


def _cell(text: object) -> Text:
    """Make a cell of untrusted text, without markup or control characters."""
    return Text(one_line(text))
