"""`fastlog stats`: count stored and lost records, and show the lag of each sink."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastlog.cli.command import INCOMPLETE, OK, Command, fail
from fastlog.cli.data_directory import (
    Status,
    Tally,
    is_running,
    logs_directory,
    read_status,
    read_tallies,
    unread_files,
)
from fastlog.cli.options import colour_option, config_options, filter_options, wants_colour
from fastlog.config import Config, format_duration, format_size
from fastlog.errors import FastlogError
from fastlog.ledger import LedgerError
from fastlog.query import Filters
from fastlog.search import Totals, Unread, count
from fastlog.terminal import one_line

if TYPE_CHECKING:
    from fastlog.journal import SinkPosition

TOP = 10
"""How many loggers and hosts the tables show; `--json` has all."""
HOURS = 48
"""How many hours the tables show: the newest."""


class SinkLag(msgspec.Struct, frozen=True):
    """How far a sink is behind the receiver."""

    name: str
    cursor: int
    durable: int
    lag_bytes: int | None
    lag_records: int | None
    """Frames, each of which is a record or a rejection. `None`: no receiver has run, or the worker
    does not know (it was killed, and the sink has been unreachable since)."""
    at: float
    error: str | None
    when_full: str


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@colour_option
@filter_options
@config_options
def stats(config: Config, filters: Filters, as_json: bool, colour: bool | None) -> int:
    """Count the stored records; show losses, rejections, sinks and receiver."""
    unread = unread_files()
    totals = _count(config, filters, unread)
    code = INCOMPLETE if unread.files else OK
    status = read_status(config.data_dir)
    rejected: list[Tally] | None
    losses: list[Tally] | None
    try:
        rejected, losses = read_tallies(config.data_dir)
    except LedgerError as error:
        rejected = losses = None
        code = fail(click.get_current_context().command_path, str(error), INCOMPLETE)
    sinks = _read_lags(config.data_dir, status)
    if as_json:
        click.echo(_to_json(totals, rejected, losses, sinks, status, unread))
        return code
    console = Console(no_color=not wants_colour(colour), highlight=False)
    console.print(f"{totals.records} records in {config.data_dir}", markup=False)
    if totals.records:
        for title, counts in (("level", totals.levels), ("logger", totals.loggers)):
            console.print(_count_table(title, counts))
        console.print(_count_table("host", totals.hosts))
        console.print(_hour_table(totals.hours))
    for title, tallies in (("rejected", rejected), ("lost", losses)):
        if tallies:
            console.print(_tally_table(title, tallies))
        else:
            console.print(f"{title}: {'unknown' if tallies is None else 'none'}")
    if sinks:
        console.print(_sink_table(sinks))
    console.print(
        _receiver_table(status) if status else "receiver: has not run in this data directory"
    )
    if status and not is_running(config.data_dir) and not status.is_fresh():
        console.print(f"fastlog-server is not running; last status at {_shown_time(status.at)}")
    return code


def _count(config: Config, filters: Filters, unread: Unread) -> Totals:
    try:
        return count(logs_directory(config), filters, unread)
    except FastlogError:
        if config.data_dir.is_dir():  # no sqlite: sink: show the rest
            return Totals(Counter(), Counter(), Counter(), Counter())
        raise


def _read_lags(data_dir: Path, status: Status | None) -> list[SinkLag]:
    from fastlog.journal import read_positions

    return [
        SinkLag(
            name=name,
            cursor=position.cursor,
            durable=position.durable,
            lag_bytes=None if status is None else max(0, status.durable - position.cursor),
            lag_records=_records_behind(position, status),
            at=position.at,
            error=position.error,
            when_full=position.when_full,
        )
        for name, position in sorted(read_positions(data_dir).items())
    ]


def _records_behind(position: SinkPosition, status: Status | None) -> int | None:
    if status is None:
        return None
    if position.cursor >= status.durable:
        return 0
    return None if position.index is None else max(0, status.index - position.index)


def _to_json(
    totals: Totals,
    rejected: list[Tally] | None,
    losses: list[Tally] | None,
    sinks: list[SinkLag],
    status: Status | None,
    unread: Unread,
) -> str:
    tree: dict[str, Any] = {
        "records": totals.records,
        "levels": dict(totals.levels.most_common()),
        "loggers": dict(totals.loggers.most_common()),
        "hosts": dict(totals.hosts.most_common()),
        "hours": {str(hour): number for hour, number in sorted(totals.hours.items())},
        "rejected": rejected,
        "losses": losses,
        "sinks": sinks,
        "receiver": status,
        "unread": {str(path): what for path, what in unread.files.items()},
    }
    return msgspec.json.encode(tree).decode()


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
