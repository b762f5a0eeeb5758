"""How many records there are, by level, logger, host and hour."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from fastlog.query.days import Day, Unread, open_day, read_days, unless_gone
from fastlog.query.filters import Filters
from fastlog.query.stream import where

HOUR = 3600


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
                getattr(totals, field).update(getattr(part, field))
    return totals


def _count_day(day: Day, filters: Filters) -> Totals:
    condition, parameters = where(filters, day)
    totals = _no_totals()
    with closing(open_day(day.path)) as connection:
        for field, key in _KEYS.items():
            sql = f"SELECT {key}, count(*) FROM records WHERE {condition} GROUP BY 1"  # noqa: S608 our own text
            getattr(totals, field).update(dict(connection.execute(sql, parameters)))
    return totals


def _no_totals() -> Totals:
    return Totals(Counter(), Counter(), Counter(), Counter())
