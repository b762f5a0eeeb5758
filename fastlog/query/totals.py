"""How many records there are, by level, logger, host and hour."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from fastlog.query.days import Day, open_file, read_days, unless_gone
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


def count(logs: Path, filters: Filters) -> Totals:
    """Count the records that match."""
    totals = Totals(Counter(), Counter(), Counter(), Counter())
    for day in read_days(logs, filters.since, filters.until):
        _add(totals, day, filters)
    return totals


def _add(totals: Totals, day: Day, filters: Filters) -> None:
    condition, parameters = where(filters, day)
    with unless_gone(day.path), closing(open_file(day.path)) as connection:
        for field, key in _KEYS.items():
            sql = f"SELECT {key}, count(*) FROM records WHERE {condition}"  # noqa: S608 our own text
            sql += " GROUP BY 1 ORDER BY 2 DESC, 1"
            counts = getattr(totals, field)
            for name, number in connection.execute(sql, parameters):
                known = name in counts or len(counts) < NAMES or field == "hours"
                counts[name if known else OTHERS] += number
