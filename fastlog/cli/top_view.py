"""The screen of `fastlog top` as lines of text, for any size of a window."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from fastlog.cli.counted import counted
from fastlog.cli.top_rates import Rate
from fastlog.cli.top_readings import MINUTES
from fastlog.config import format_duration, format_size
from fastlog.status.server_state import ServerState
from fastlog.status.sink_reports import SinkReport
from fastlog.status.tallies import Tally
from fastlog.terminal import one_line
from fastlog.zone import LOCAL

NUMBERS = logging.getLevelNamesMapping()
ROWS: Final = 10
"""Loggers and hosts that are shown where there is room for all."""
_LEVELS: Final = 6
_SINKS: Final = 4
_RATE, _COUNT, _NAME = 10, 11, 40
"""Cells of columns; of names, the most."""
_LEAST_NAME, _LEAST_SPARK = 8, 6
"""The fewest cells of a name, and of bars."""
_FULL: Final = 0.8
"""How full a journal may be without an alarm, as for `fastlog check`."""
_STYLES: Final = ((50, "bold white on red"), (40, "red"), (30, "yellow"), (20, "green"))


class View(NamedTuple):
    """What is shown. Rich renders it into the size of the window."""

    source: str
    at: float
    total: Rate
    levels: list[Rate]
    loggers: list[Rate]
    hosts: list[Rate]
    state: ServerState
    notes: list[str]
    hint: str
    """What ends it."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        has_blocks = options.encoding.startswith("utf")
        height = console.height if console.is_alt_screen else None
        for line in self._lines(options.max_width, height, has_blocks)[:height]:
            line.truncate(options.max_width, overflow="ellipsis" if has_blocks else "crop")
            line.no_wrap = True
            yield line

    def _lines(self, width: int, height: int | None, has_blocks: bool) -> list[Text]:
        """Return all lines; if the height is limited, about as many as there is room for."""
        lines = [
            self._title(width),
            self._totals(width, has_blocks),
            *map(_note, self.notes),
            *_in_lines(_state_parts(self.state), width),
            *_sink_lines(self.state),
        ]
        levels = sorted(self.levels, key=lambda rate: (-NUMBERS.get(rate.name, -1), rate.name))
        loggers, hosts = self.loggers[:ROWS], self.hosts[:ROWS]
        if height is not None:
            free = height - len(lines) - min(_LEVELS, len(levels)) - 6  # blank lines and titles
            hosts = self.hosts[: max(1, free // 3)]
            loggers = self.loggers[: max(1, free - len(hosts))]
        columns = _Columns.fitting([*levels, *loggers, *hosts], width, has_blocks)
        for title, shown, all_rates in (
            ("level", levels[:_LEVELS], levels),
            ("logger", loggers, self.loggers),
            ("host", hosts, self.hosts),
        ):
            lines += [Text(), columns.heading(title, len(all_rates) - len(shown))]
            lines += [columns.row(title, rate) for rate in shown]
        return lines

    def _title(self, width: int) -> Text:
        left = Text.assemble(("fastlog top", "bold"), "  ", one_line(self.source))
        time = LOCAL.text(self.at)[11:19]
        right = "  ".join(part for part in (self.hint, time) if part)
        left.truncate(max(12, width - len(right) - 2), overflow="ellipsis", pad=True)
        return left.append("  ").append(right, "dim")

    def _totals(self, width: int, has_blocks: bool) -> Text:
        line = Text.assemble(
            (f"{_rate_text(self.total.per_second)} records/s", "bold"),
            f"  {self.total.records:,} in {MINUTES} minutes",
        )
        if width - line.cell_len >= MINUTES + 2:
            line.append("  ").append(_sparkline(self.total.minutes, MINUTES, has_blocks), "cyan")
        return line


class _Columns(NamedTuple):
    """The columns of all tables: a name, a rate, and where there is room a number and bars."""

    name: int
    """Cells."""
    has_count: bool
    spark: int
    """Cells; 0 for no bars."""
    has_blocks: bool

    @classmethod
    def fitting(cls, rates: list[Rate], width: int, has_blocks: bool) -> _Columns:
        """Return the columns that fit into a width."""
        longest = max([_LEAST_NAME, *(cell_len(one_line(rate.name)) for rate in rates)])
        name = max(_LEAST_NAME, min(longest, _NAME, width - _RATE))
        rest = width - _RATE - name
        has_count = rest >= _COUNT
        spark = min(MINUTES, rest - _COUNT - 2)
        return cls(name, has_count, spark if spark >= _LEAST_SPARK else 0, has_blocks)

    def heading(self, title: str, more: int) -> Text:
        """Return the title of a table, of which so many rows are left out."""
        line = Text(title, "bold")
        line.truncate(self.name, pad=True)
        line.append(f"{'per s':>{_RATE}}")
        if self.has_count:
            line.append(f"{f'{MINUTES} min':>{_COUNT}}")
        return line.append(f"  ({more:,} more)", "dim") if more else line

    def row(self, title: str, rate: Rate) -> Text:
        """Return the row of a rate."""
        name = Text(one_line(rate.name), _style(rate.name) if title == "level" else "")
        name.truncate(self.name, overflow="ellipsis" if self.has_blocks else "crop", pad=True)
        line = Text.assemble(name, f"{_rate_text(rate.per_second):>{_RATE}}")
        if self.has_count:
            line.append(f"{rate.records:>{_COUNT},}")
        if self.spark:
            line.append("  ").append(_sparkline(rate.minutes, self.spark, self.has_blocks), "cyan")
        return line


def _state_parts(state: ServerState) -> Iterator[Text]:
    """Yield what was lost and rejected, and how the receiver is."""
    recent = f"in the last {format_duration(state.recent_seconds)}"
    lost, rejected = _tally("lost", state.losses), _tally("rejected", state.rejected)
    yield Text.assemble(lost, ", ", rejected, f" {recent}")
    status = state.receiver
    if status is not None:
        size, limit = format_size(status.size), format_size(status.limit)
        style = "bold red" if status.fill > _FULL else ""
        yield Text(f"journal {size} of {limit}, {status.fill:.1%} full", style)
        throttled = f", {status.throttled} throttled" if status.throttled else ""
        connections = counted(status.connections, "connection")
        yield Text(f"{connections}{throttled}", "yellow" if throttled else "")


def _in_lines(parts: Iterator[Text], width: int) -> list[Text]:
    """Return parts on as few lines as they need."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + 2 + part.cell_len <= width:
            lines[-1].append("; ").append_text(part)
        else:
            lines.append(part)
    return lines


def _note(text: str) -> Text:
    return Text(one_line(text), "bold red")


def _tally(name: str, tallies: list[Tally] | None) -> tuple[str, str]:
    """Return what was lost or rejected in the last minutes, and its style."""
    if tallies is None:
        return f"{name} unknown", "bold red"
    count = sum(tally.recent for tally in tallies)
    spans = sum(tally.recent_unknown for tally in tallies)
    unknown = f" and {spans} unknown spans" if spans else ""
    return f"{name} {count:,}{unknown}", "bold red" if count or spans else ""


def _sink_lines(state: ServerState) -> Iterator[Text]:
    if state.ledger_error is not None:
        yield _note(state.ledger_error)
    status = state.receiver
    if status is None:
        yield Text("no fastlog-server has run here")
    elif not state.running and not status.is_fresh():
        yield _note(f"fastlog-server is not running; last status at {LOCAL.text(status.at)[:19]}")
    elif status.failure:
        yield _note(f"the journal cannot be written: {status.failure}")
    for sink in state.sinks[:_SINKS]:
        yield _sink_line(sink)
    if len(state.sinks) > _SINKS:
        yield Text(f"({len(state.sinks) - _SINKS} more sinks: fastlog stats)", "dim")


def _sink_line(sink: SinkReport) -> Text:
    records = "?" if sink.lag_records is None else f"{sink.lag_records:,}"
    seconds = "?" if sink.lag_seconds is None else format_duration(sink.lag_seconds)
    is_late = sink.lag_seconds is None or sink.lag_seconds > 1
    line = Text(f"sink {one_line(sink.name)}: ")
    line.append(f"{records} records, {seconds} behind", "yellow" if is_late else "")
    if sink.configured is False:
        line.append("; left the configuration", "dim")
    for handler, failures in sink.failing.items():
        line.append(f"; handler {one_line(handler)} failed {failures} times", "bold red")
    if sink.error is not None:
        line.append(f"; {one_line(sink.error)}", "bold red")
    return line


def _style(level: str) -> str:
    number = NUMBERS.get(level)
    if number is None:
        return ""
    return next((style for least, style in _STYLES if number >= least), "dim")


def _rate_text(per_second: float) -> str:
    if 0 < per_second < 0.05:
        return "<0.1"
    return f"{per_second:,.1f}" if per_second < 10_000 else f"{per_second:,.0f}"


def _sparkline(values: list[float], cells: int, has_blocks: bool) -> str:
    """Return the last values as bars, the highest of which is full. Nothing is a space."""
    bars = "▁▂▃▄▅▆▇█" if has_blocks else ".:-=+*%#"
    shown = values[-cells:]
    most = max(shown, default=0.0)
    return "".join(
        bars[min(len(bars) - 1, int(value / most * len(bars)))] if value > 0 else " "
        for value in shown
    )
