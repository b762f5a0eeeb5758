"""The tables of `fastlog stats`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastlog.cli.counted import counted
from fastlog.cli.source_table import print_source
from fastlog.config import format_duration, format_size
from fastlog.search.totals import MAX_GROUPS, OTHERS
from fastlog.status.data_directory import Status
from fastlog.status.sink_reports import SinkReport, shown_age
from fastlog.status.statistics import Statistics
from fastlog.status.tallies import Tally
from fastlog.terminal import one_line

TOP = 10
"""How many names each table of counts shows; `--json` has all."""
HOURS = 48
"""How many hours the tables show: the newest."""
LONG_CALL = 1.0
"""Seconds that a call of a sink may take without a line about it."""
NO_DATE = -1
"""The key under which `Totals.hours` counts all times outside the calendar."""


def print_tables(found: Statistics, *, colour: bool, in_window: bool = False) -> None:
    """Print what was found in a data directory.

    Args:
        in_window: print what has to fit into a window: wrap all lines to its width, and print the
            counts of records last, since there may be no room for them.
    """
    console = Console(
        no_color=not colour, force_terminal=colour, highlight=False, soft_wrap=not in_window
    )
    console.print(_text(_headline(found)))
    for path, trouble in found.unread.files.items():
        console.print(_text(f"not counted, or not all of it: {path} {trouble}"))
    parts = [_print_counts, _print_state]
    for print_part in reversed(parts) if in_window else parts:
        print_part(console, found)


def _print_state(console: Console, found: Statistics) -> None:
    if found.ledger_error:
        console.print(_text(found.ledger_error))
    for title, tallies in (("rejected", found.rejected), ("lost", found.losses)):
        if tallies:
            console.print(_tally_table(title, tallies, found.recent_seconds))
        else:
            console.print(f"{title}: {'unknown' if tallies is None else 'none'}")
    if found.erasures.number:
        times = "once" if found.erasures.number == 1 else f"{found.erasures.number} times"
        console.print(f"erased: {counted(found.erasures.records, 'record')}, {times}")
    if found.sinks:
        console.print(_sink_table(found))
        for line in _sink_lines(found):
            console.print(_text(line))
    for line in _process_lines(found):
        console.print(_text(line))
    if found.source is not None:
        print_source(console, found.source, found.at)
    if found.status is None:
        console.print("receiver: has not run in this data directory")
        return
    console.print(_receiver_table(found.status))
    if not found.is_running and not found.status.is_fresh():
        moment = _shown_time(found.status.at)
        console.print(f"fastlog-server is not running; last status at {moment}")


def _headline(found: Statistics) -> str:
    unread = len(found.unread.files)
    files = counted(unread, "day file")
    match = " that match" if found.is_filtered else ""
    if found.not_counted:
        return f"records in {found.data_dir}: not counted, since {found.not_counted}"
    if found.records is None:
        return f"records in {found.data_dir}{match}: unknown, since {files} cannot be read"
    rest = f", without those of {files} that cannot be read" if unread else ""
    return f"{counted(found.records, 'record')} in {found.data_dir}{match}{rest}"


def _print_counts(console: Console, found: Statistics) -> None:
    totals = found.totals
    if totals.records:
        names = {"level": totals.levels, "logger": totals.loggers, "host": totals.hosts}
        for title, counts in names.items():
            console.print(_count_table(title, counts))
        console.print(_hour_table(totals.hours))
        if any(OTHERS in counts for counts in names.values()):
            console.print(
                f"{OTHERS}: names after the first {MAX_GROUPS}, which are counted together"
            )
    if found.is_filtered:
        console.print(
            "Filters restrict only the counts of records: by level, logger, host and hour."
        )


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(columns):
        table.add_column(name, justify="left" if at == 0 else "right", overflow="fold")
    return table


def _count_table(title: str, counts: Counter[str]) -> Table:
    table = _table(title, "records")
    for name, number in counts.most_common(TOP):
        table.add_row(_text(name), str(number))
    rest = len(counts) - TOP
    if rest > 0:
        others = counts.total() - sum(number for _, number in counts.most_common(TOP))
        table.add_row(f"({rest} more)", str(others))
    return table


def _hour_table(hours: Counter[int]) -> Table:
    table = _table("hour", "records")
    table.add_column("")
    shown = sorted(hours)[-HOURS:]
    earlier = sorted(hours)[:-HOURS]
    if earlier:
        number = sum(hours[hour] for hour in earlier)
        table.add_row(f"({len(earlier)} earlier)", str(number), "")
    most = max(hours[hour] for hour in shown)
    for hour in shown:
        bar = "█" * max(1, round(hours[hour] / most * 40))
        shown_hour = "(no date)" if hour == NO_DATE else _shown_time(hour, "minutes")
        table.add_row(shown_hour, str(hours[hour]), bar)
    return table


def _tally_table(title: str, tallies: list[Tally], recent_seconds: float) -> Table:
    table = _table(title, "count", f"last {format_duration(recent_seconds)}", "last")
    for tally in tallies:
        table.add_row(
            _text(tally.reason),
            _shown_count(tally.count, tally.unknown),
            _shown_count(tally.recent, tally.recent_unknown),
            _shown_time(tally.last),
        )
    return table


def _sink_table(found: Statistics) -> Table:
    table = _table(
        "sink", "records behind", "bytes behind", "time behind", "sign of life", "when full"
    )
    for sink in found.sinks:
        table.add_row(
            _text(sink.name),
            "?" if sink.lag_records is None else str(sink.lag_records),
            "?" if sink.lag_bytes is None else format_size(sink.lag_bytes),
            "?" if sink.lag_seconds is None else format_duration(sink.lag_seconds),
            "?" if sink.alive_at is None else shown_age(found.at - sink.alive_at),
            sink.when_full or "?",
        )
    return table


def _sink_lines(found: Statistics) -> Iterator[str]:
    """Yield what is unusual about the sinks."""
    for sink in found.sinks:
        if sink.configured is False:
            yield f"sink {sink.name}: left the configuration; the journal keeps nothing for it"
            continue
        if sink.cursor is None:
            yield f"sink {sink.name}: has never been opened; the server's log has the reason"
        if sink.error is not None:
            yield f"sink {sink.name}: {sink.error}"
        for handler, failures in sink.failing.items():
            times = "once" if failures == 1 else f"{failures} times"
            yield f"sink {sink.name}: handler {handler} has failed {times} since it last worked"
        if sink.filtered:
            yield f"sink {sink.name}: its filter has left out {counted(sink.filtered, 'record')}"
        for rule, number in sorted(sink.redacted.items()):
            yield f"sink {sink.name}: redacted by {rule}: {counted(number, 'record')}"
        yield from _life_lines(found, sink)


def _process_lines(found: Statistics) -> Iterator[str]:
    """Yield which processes of the server have failed."""
    for role, count in sorted(found.processes.items()):
        if count.failures:
            times = "once" if count.failures == 1 else f"{count.failures} times"
            hangs = f", {count.hangs} of them by hanging" if count.hangs else ""
            yield f"process {role}: failed {times} since the start of the server{hangs}"


def _life_lines(found: Statistics, sink: SinkReport) -> Iterator[str]:
    if sink.in_call_since is not None:
        if found.at - sink.in_call_since < LONG_CALL:
            return
        waiting = _since(found, sink.in_call_since)
        yield f"sink {sink.name}: the worker is inside the sink's own {sink.in_call}, for {waiting}"
    elif found.is_running and sink.is_silent(found.at):
        assert sink.alive_at is not None
        silent = _since(found, sink.alive_at)
        yield f"sink {sink.name}: the worker has given no sign of life for {silent}"


def _receiver_table(status: Status) -> Table:
    table = _table("receiver", "")
    recent = f"in the last {format_duration(status.recent_seconds)}"
    table.add_row("connections", str(status.connections))
    table.add_row("fastlog clients", str(status.clients))
    table.add_row("accepted", str(status.accepted))
    table.add_row("frames", str(status.frames))
    table.add_row("dropped", f"{status.dropped}, {status.recent_dropped} {recent}")
    table.add_row("throttled", f"{status.throttled} now, {status.throttlings} times")
    table.add_row("lag", f"{status.lag:.2f} s")
    size, limit = format_size(status.size), format_size(status.limit)
    table.add_row("journal", f"{size} of {limit}, {status.fill:.1%} full")
    if status.failure:
        table.add_row("failure", _text(status.failure))
    total = sum(status.rejected.values())
    table.add_row("rejected", f"{total}, {status.recent_rejected} {recent}")
    for reason, number in sorted(status.rejected.items()):
        table.add_row(_text(f"rejected: {reason}"), str(number))
    return table


def _shown_count(count: int, unknown: int) -> str:
    spans = f"unknown ({counted(unknown, 'span')})"
    known = [str(count)] if count or not unknown else []
    return " + ".join([*known, spans] if unknown else known)


def _since(found: Statistics, moment: float) -> str:
    return format_duration(max(0.0, found.at - moment))


def _shown_time(moment: float, precision: str = "seconds") -> str:
    """Format as local time; as a number if it is out of range, as `fastlog query` does."""
    try:
        return datetime.fromtimestamp(moment).isoformat(" ", precision)
    except (ValueError, OverflowError, OSError):
        return str(moment)


def _text(text: object) -> Text:
    """Make one line of untrusted text, without markup or control characters."""
    return Text(one_line(text))
