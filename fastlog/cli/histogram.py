"""Histograms: how many records there are in each interval of time, and of which levels."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final, NamedTuple

from fastlog.cli.output import Output, Style, csv_line, json_line
from fastlog.config import parse_duration
from fastlog.errors import ConfigError
from fastlog.search.grouping import begin_of_bar
from fastlog.terminal import DIM, level_colour, one_line, painted

AUTO: Final = "auto"
"""The interval that the span and the terminal choose."""
INTERVALS: Final = (
    *(1, 5, 10, 30, 60, 300, 600, 1800),
    *(3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 7 * 86400, 28 * 86400, 364 * 86400),
)
"""Seconds of the intervals that are chosen from."""
ROWS: Final = 30
"""The most rows of a histogram whose interval is chosen."""
GAP: Final = 5
"""So many empty rows are printed; more are one line."""
_DAY: Final = 86400
_NIGHT: Final = 3 * 3600
_KINDS: Final = 6
"""So many levels have a colour and a character each."""
_CHARACTERS: Final = "#=+-.:"
"""Of the levels from the most severe on, where colours cannot tell them apart."""
_REST: Final = "*"
_MAGENTA: Final = "\x1b[35m"
"""Of critical records: the colour that lines have for them is a background."""

Key = tuple[Any, ...]


class Bars(NamedTuple):
    """The rows of a histogram."""

    interval: int
    """Seconds."""
    zone: tzinfo | None
    """Where midnight is that intervals are counted from; `None`: here."""
    rows: dict[int, Counter[str]]
    """The counts by level, by the first second of each interval that has records."""
    first: int
    """The first interval that is shown, by its first second."""
    last: int
    others: int
    """Records of no interval: their time is outside the calendar, or there are too many groups."""

    def following(self, start: int) -> int:
        """Return the first second of the next interval. Changes of the clocks move it."""
        # Later than midnight, since a day may have 25 hours.
        later = self.interval + (_NIGHT if self.interval >= _DAY else 0)
        begin = begin_of_bar(start + later, self.interval, self.zone)
        return start + self.interval if begin is None or begin <= start else begin


def parse_interval(text: str) -> int:
    """Return the seconds of an interval.

    Raises:
        ConfigError: The text is none.
    """
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds < 1 or not seconds.is_integer():
        raise ConfigError(
            "--histogram: expected an interval of whole seconds, such as 30s, 1m or 1h,"
            f" got {text!r}"
        )
    return int(seconds)


def is_interval(text: str) -> bool:
    """Return whether a word after `--histogram` is its interval, and not a part of the query."""
    try:
        parse_duration(text)
    except ValueError:
        return text == AUTO
    return True


def choose_interval(first: float, last: float, rows: int = ROWS) -> int:
    """Return the shortest interval that needs no more than this number of rows for a span."""
    for interval in INTERVALS:
        if last // interval - first // interval < max(1, rows):
            return interval
    return INTERVALS[-1]


def bars_of(
    counts: Mapping[Key, int],
    interval: int,
    zone: tzinfo | None,
    since: float | None,
    until: float | None,
) -> Bars:
    """Return the rows of counts whose keys are level and first second.

    Args:
        since, until: what the rows show at least, also if it has no records; until is not included.
    """
    rows: dict[int, Counter[str]] = {}
    others = 0
    for (level, start), number in counts.items():
        if start is None:
            others += number
        else:
            rows.setdefault(start, Counter())["-" if level is None else str(level)] += number
    starts = sorted(rows)
    edges = [*starts[:1], *starts[-1:]]
    for seconds in (since, None if until is None else math.nextafter(until, -math.inf)):
        begin = None if seconds is None else begin_of_bar(math.floor(seconds), interval, zone)
        edges += [] if begin is None else [begin]
    return Bars(interval, zone, rows, min(edges, default=0), max(edges, default=0), others)


def histogram_lines(bars: Bars, output: Output, width: int, encoding: str) -> Iterator[str]:
    """Yield the lines of a histogram, and then those of its legend; or those of JSON or CSV.

    Args:
        width: cells of a line.
        encoding: of the output.
    """
    levels = _by_severity(bars)
    if output.style is Style.JSON:
        for start in sorted(bars.rows):
            counts = bars.rows[start]
            yield json_line(
                {
                    "time": output.zone.iso(start),
                    "start": start,
                    "seconds": bars.interval,
                    "records": counts.total(),
                    "levels": {level: counts[level] for level in levels if counts[level]},
                }
            )
    elif output.style is Style.CSV:
        yield csv_line(["time", "start", "seconds", "level", "records"])
        for start in sorted(bars.rows):
            for level in levels:
                if number := bars.rows[start][level]:
                    time = output.zone.iso(start)
                    yield csv_line([time, start, bars.interval, level, number])
    else:
        yield from _drawn(bars, levels, output, width, encoding)


def _drawn(
    bars: Bars, levels: list[str], output: Output, width: int, encoding: str
) -> Iterator[str]:
    colour = output.style is Style.COLOUR
    cells = _cells(levels, colour=colour, encoding=encoding)
    most = max(counts.total() for counts in bars.rows.values())
    digits = len(f"{most:,}")
    labels = [output.zone.minute(bars.first), output.zone.minute(bars.last)]
    label_width = max(map(len, labels))
    room = max(1, width - label_width - digits - 4)
    for start, empty in _starts(bars):
        if empty:
            yield painted(f"{'':{label_width}}  {empty:,} empty intervals", DIM, colour) + "\n"
            continue
        counts = bars.rows.get(start, Counter())
        label = painted(output.zone.minute(start).ljust(label_width), DIM, colour)
        bar = "".join(
            painted(cells[level] * length, _code(level), colour)
            for level, length in zip(levels, _lengths(counts, levels, most, room), strict=True)
            if length
        )
        yield f"{label}  {counts.total():{digits},}  {bar}".rstrip() + "\n"
    yield "\n"
    yield from _legend(bars, levels, cells, width, colour=colour)


def _starts(bars: Bars) -> Iterator[tuple[int, int]]:
    """Yield the rows, as first second and 0, and the long gaps, as their first row and length."""
    start = bars.first
    for full in [*sorted(bars.rows), bars.following(bars.last)]:
        empty = (full - start) // bars.interval
        if empty > GAP:
            yield start, empty
        else:
            while start < full:
                yield start, 0
                start = bars.following(start)
        if full in bars.rows:
            yield full, 0
        start = bars.following(full)


def _lengths(counts: Counter[str], levels: list[str], most: int, room: int) -> list[int]:
    """Return how many cells each level has in a bar: one at least, if there is any record of it."""
    total = counts.total()
    length = min(room, max(round(total / most * room), sum(1 for each in levels if counts[each])))
    lengths = [max(1, int(counts[each] / total * length)) if counts[each] else 0 for each in levels]
    while sum(lengths) > length and max(lengths) > 1:
        lengths[lengths.index(max(lengths))] -= 1
    if sum(lengths) < length:
        lengths[lengths.index(max(lengths))] += length - sum(lengths)
    return [max(0, min(own, room - sum(lengths[:at]))) for at, own in enumerate(lengths)]


def _legend(
    bars: Bars, levels: list[str], cells: dict[str, str], width: int, *, colour: bool
) -> Iterator[str]:
    totals: Counter[str] = Counter()
    for counts in bars.rows.values():
        totals.update(counts)
    line, used = "", 0
    for level in levels:
        text = f"{one_line(level)} {totals[level]:,}"
        if used and used + len(text) + 4 > width:
            yield line.rstrip() + "\n"
            line, used = "", 0
        line += f"{painted(cells[level], _code(level), colour)} {text}   "
        used += len(text) + 5
    yield line.rstrip() + "\n"


def _by_severity(bars: Bars) -> list[str]:
    """Return the levels, the most severe first; those without a known number last, by name."""
    levels = {level for counts in bars.rows.values() for level in counts}
    return sorted(levels, key=lambda level: (-_number(level), level))


def _number(level: str) -> int:
    """Return the number of a level by its name; -1 if it is not one of `logging`'s."""
    if level.isascii() and level.isdigit() and len(level) < 10:
        return int(level)
    return logging.getLevelNamesMapping().get(level.upper(), -1)


def _code(level: str) -> str:
    number = _number(level)
    if number < 0:
        return DIM
    return _MAGENTA if number >= logging.CRITICAL else level_colour(number)


def _cells(levels: Sequence[str], *, colour: bool, encoding: str) -> dict[str, str]:
    """Return the character of which a level's part of a bar consists."""
    if colour and _has_blocks(encoding):
        return dict.fromkeys(levels, "█")
    return {level: _CHARACTERS[at] if at < _KINDS else _REST for at, level in enumerate(levels)}


def _has_blocks(encoding: str) -> bool:
    try:
        "█".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
