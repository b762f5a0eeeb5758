"""Totals: how many records there are, by level, logger, host and hour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from fastlog.query import Filters
from fastlog.search.day_reader import Day, Unread, open_day, read_days, unless_gone
from fastlog.search.stream import where

HOUR = 3600
MAX_NAMES = 10_000
"""Levels, loggers and hosts that are counted each by itself; senders may send any number."""
OTHERS = "(others)"
"""The name that all further ones are counted under."""


class Totals(NamedTuple):
    """Counts of records; their sums are equal."""

    levels: Counter[str]
    loggers: Counter[str]
    hosts: Counter[str]
    hours: Counter[int]
    """By the first second of each hour, since the epoch."""

    @property
    def records(self) -> int:
        """The number of records that were counted."""
        return self.levels.total()


_KEYS = {
    "levels": "coalesce(levelname, levelno, '?')",
    "loggers": "coalesce(name, '?')",
    "hosts": "host",
    # The cast rounds towards zero, which is down for all times since 1970.
    "hours": f"CAST(created / {HOUR} AS INTEGER) * {HOUR}",
}


def count(logs: Path, filters: Filters, unread: Unread | None = None) -> Totals:
    """Count the records that match.

    Args:
        unread: gets the files that cannot be read; nothing of these is counted.

    Raises:
        FastlogError: A file cannot be read, and there is no `unread`.
    """
    totals = _no_totals()
    for day in read_days(logs, filters.since, filters.until, unread):
        with unless_gone(day.path, unread):
            of_day = _count_day(day, filters)
            for field in _KEYS:
                _add(totals, field, getattr(of_day, field).items())
    return totals


def _count_day(day: Day, filters: Filters) -> Totals:
    condition, parameters = where(filters, day)
    totals = _no_totals()
    with closing(open_day(day.path)) as connection:
        for field, key in _KEYS.items():
            sql = f"SELECT {key}, count(*) FROM records WHERE {condition}"  # noqa: S608 our own text
            counts = connection.execute(f"{sql} GROUP BY 1 ORDER BY 2 DESC, 1", parameters)
            _add(totals, field, counts)
    return totals


def _add(totals: Totals, field: str, counts: Iterable[tuple[Any, int]]) -> None:
    counter = getattr(totals, field)
    for name, number in counts:
        has_own = name in counter or len(counter) < MAX_NAMES or field == "hours"
        counter[name if has_own else OTHERS] += number


def _no_totals() -> Totals:
    return Totals(Counter(), Counter(), Counter(), Counter())
