"""Totals: how many records there are, by level, logger, host and hour."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from fastlog.query import Filters
from fastlog.search.day_reader import Unread, open_day, read_days, unless_gone
from fastlog.search.grouping import Grouping, begin_of_bar
from fastlog.search.groups import read_groups
from fastlog.search.progress import Progress
from fastlog.search.stream import search
from fastlog.search.values import reader

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


def count(
    logs: Path,
    filters: Filters,
    groupings: Sequence[Grouping],
    unread: Unread | None = None,
    progress: Progress | None = None,
) -> list[Counter[tuple[Any, ...]]]:
    """Count the records that match, by groups.

    Args:
        unread: gets the files that cannot be read; nothing of these is counted.
        progress: shows how far the count is, and can end it early.

    Returns:
        The counts of each grouping. A key has the value of each field, `None` where it is missing,
        and then the first second of the bar, `None` outside the calendar. Groups beyond `MAX_NAMES`
        are counted as `(OTHERS, …)`.

    Raises:
        FastlogError: A file cannot be read, and there is no `unread`.
    """
    counts: list[Counter[tuple[Any, ...]]] = [Counter() for _ in groupings]
    readers = [[reader(name) for name in grouping.fields] for grouping in groupings]
    for found in search(logs, filters, unread=unread, progress=progress):
        for counter, grouping, read in zip(counts, groupings, readers, strict=True):
            key = tuple(value(found) for value in read)
            if grouping.interval is not None:
                second = math.floor(found.record.created)
                key = (*key, begin_of_bar(second, grouping.interval, grouping.zone))
            if key not in counter and len(counter) >= MAX_NAMES:
                bar = () if grouping.interval is None else (None,)
                key = (OTHERS,) * len(grouping.fields) + bar
            counter[key] += 1
    return counts


def count_totals(logs: Path, filters: Filters, unread: Unread | None = None) -> Totals:
    """Count the records that match.

    Args:
        unread: gets the files that cannot be read; nothing of these is counted.

    Raises:
        FastlogError: A file cannot be read, and there is no `unread`.
    """
    totals = _no_totals()
    for day in read_days(logs, filters.since, filters.until, unread):
        with unless_gone(day.path, unread):
            of_day = _count_day(day.path, filters)
            for field in Totals._fields:
                for name, records in getattr(of_day, field).items():
                    _add(totals, field, name, records)
    return totals


def _count_day(path: Path, filters: Filters) -> Totals:
    totals = _no_totals()
    with closing(open_day(path)) as connection:
        for *names, records in read_groups(connection, filters):
            for field, name in zip(Totals._fields, names, strict=True):
                if name is not None:
                    _add(totals, field, name, records)
    return totals


def _add(totals: Totals, field: str, name: Any, records: int) -> None:
    counter = getattr(totals, field)
    has_own = name in counter or len(counter) < MAX_NAMES or field == "hours"
    counter[name if has_own else OTHERS] += records


def _no_totals() -> Totals:
    return Totals(Counter(), Counter(), Counter(), Counter())
