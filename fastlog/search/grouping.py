"""Groupings: by which values records are counted, and the groups that they fall into."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, time, tzinfo
from functools import lru_cache
from typing import Any, Final, NamedTuple

from fastlog.query import resolve
from fastlog.query.evaluate import MISSING, text_of_value, value_of
from fastlog.query.fields import Field, column

_DAY: Final = 24 * 3600
_QUARTER: Final = 900
"""Seconds of which the offsets of all time zones are a multiple."""

Group = tuple[object, ...]
"""The values of the fields of a grouping, None for a missing one; then the first second of the bar,
if there is an interval. Values of extras are text."""


class Grouping(NamedTuple):
    """By what records are counted."""

    fields: tuple[str, ...] = ()
    """Names as in a query. `level` is `levelname`, or `levelno` where that is missing."""
    interval: int | None = None
    """Seconds of a bar of a histogram; None for no histogram. Bars are counted from midnight."""
    zone: tzinfo | None = None
    """The zone of midnight; None for the local zone."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the fields are about."""
        return tuple(name for field in self.fields for name in _columns(field))

    @property
    def step(self) -> int | None:
        """Seconds since the epoch that each bar is a sum of, whatever its zone."""
        return None if self.interval is None else math.gcd(self.interval, _QUARTER)

    def grouper(self, columns: Sequence[str]) -> Callable[[Sequence[Any], int | None], Group]:
        """Return a function of a row, and of the start of a step, that gives the group.

        Args:
            columns: The names of the values of a row.
        """
        values = [_value(field, columns) for field in self.fields]

        def group(row: Sequence[Any], step: int | None) -> Group:
            found = tuple(value(row) for value in values)
            if self.interval is None or step is None:
                return found
            return (*found, begin_of_bar(step, self.interval, self.zone))

        return group


@lru_cache(maxsize=4096)
def begin_of_bar(second: int, interval: int, zone: tzinfo | None) -> int | None:
    """Return the first second of the bar that a second is in; None for a time outside the calendar.

    Bars begin at midnight. The hour that a change of the clocks repeats has two bars.
    """
    try:
        local = datetime.fromtimestamp(second, zone)
        if interval >= _DAY:
            day = local.toordinal()
            first = datetime.fromordinal(day - day % (interval // _DAY))
            return int(datetime.combine(first, time(), zone).timestamp())
        offset = local.astimezone(zone).utcoffset()
    except (ValueError, OverflowError, OSError):
        return None
    shift = int(offset.total_seconds()) if offset is not None else 0
    return (second + shift) // interval * interval - shift


def _columns(field: str) -> tuple[str, ...]:
    if field == "level":
        return ("levelname", "levelno")
    return _resolve(field).columns


def _resolve(field: str) -> Field:
    return column("name") if field == "logger" else resolve(field)


def _value(name: str, columns: Sequence[str]) -> Callable[[Sequence[Any]], object]:
    if name == "level":
        levelname, levelno = columns.index("levelname"), columns.index("levelno")

        def level(row: Sequence[Any]) -> object:
            if row[levelname] is not None:
                return row[levelname]
            return None if row[levelno] is None else str(row[levelno])

        return level
    field = _resolve(name)
    value = value_of(field, columns)

    def plain(row: Sequence[Any]) -> object:
        found = value(row)
        if found is MISSING:
            return None
        return text_of_value(found) if field.path else found

    return plain
