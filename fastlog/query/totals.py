"""How many records there are, by level, logger, host and hour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from fastlog.query.days import Day, Unread, open_day, read_days, unless_gone
from fastlog.query.filters import Filters
from fastlog.query.stream import where

HOUR = 3600
NAMES = 10_000
"""Levels, loggers and hosts that are told apart; senders may make up any number of them."""
OTHERS = "(others)"
"""What the rest of them is counted as."""


class Totals(NamedTuple):
    """Counts of records; their sums are equal."""

    levels: Counter[str]
    loggers: Counter[str]
    hosts: Counter[str]
    hours: Counter[int]
    """By the first second of each hour, since the epoch."""

    @property
    def records(self) -> int:
        """How many were counted."""
        return self.levels.total()


_KEYS = {
    "levels": "coalesce(levelname, levelno, '?')",
    "loggers": "coalesce(name, '?')",
    "hosts": "host",
    # the cast cuts towards zero, which is down for all times since 1970
    "hours": f"CAST(created / {HOUR} AS INTEGER) * {HOUR}",
}


def count(logs: Path, filters: Filters, unread: Unread | None = None) -> Totals:
    """Count the records that match.

    Args:
        unread: is told which files cannot be read; nothing of these is counted.

    Raises:
        FastlogError: a file cannot be read, and there is no `unread`.
    """
    totals = _no_totals()
    for day in read_days(logs, filters.since, filters.until, unread):
        with unless_gone(day.path, unread):
            part = _count_day(day, filters)
            for field in _KEYS:
                _add(totals, field, getattr(part, field).items())
    return totals


def _count_day(day: Day, filters: Filters) -> Totals:
    condition, parameters = where(filters, day)
    totals = _no_totals()
    with closing(open_day(day.path)) as connection:
        for field, key in _KEYS.items():
            sql = f"SELECT {key}, count(*) FROM records WHERE {condition}"  # noqa: S608 our own text
            found = connection.execute(f"{sql} GROUP BY 1 ORDER BY 2 DESC, 1", parameters)
            _add(totals, field, found)
    return totals


def _add(totals: Totals, field: str, found: Iterable[tuple[Any, int]]) -> None:
    counts = getattr(totals, field)
    for name, number in found:
        known = name in counts or len(counts) < NAMES or field == "hours"
        counts[name if known else OTHERS] += number


def _no_totals() -> Totals:
    return Totals(Counter(), Counter(), Counter(), Counter())
