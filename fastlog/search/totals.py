"""Totals: how many records match, by any fields and in bars of a histogram."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from fastlog.query import EVERYTHING, Node
from fastlog.search.day_reader import Unread, open_day, read_days, unless_gone
from fastlog.search.grouping import Group, Grouping
from fastlog.search.groups import count_groups
from fastlog.search.progress import Progress, stopped_by
from fastlog.search.spans import span_of

MAX_GROUPS: Final = 10_000
"""Groups that are counted each by itself; senders may send any number of names."""
MAX_BARS: Final = 100_000
"""The same for groups with a time."""
OTHERS: Final = "(others)"
"""The value of each field under which all further groups are counted. They have no time."""

TOTALS: Final = (
    *(Grouping((name,)) for name in ("level", "logger", "host")),
    Grouping(interval=3600),
)
"""The groupings of `Totals`."""


class Totals(NamedTuple):
    """Counts of records; their sums are equal."""

    levels: Counter[str]
    loggers: Counter[str]
    hosts: Counter[str]
    hours: Counter[int]
    """By the first second of each hour, since the epoch; -1 for all times outside the calendar."""

    @property
    def records(self) -> int:
        """The number of records that were counted."""
        return self.levels.total()


def count(
    logs: Path,
    query: Node = EVERYTHING,
    groupings: Sequence[Grouping] = (Grouping(),),
    unread: Unread | None = None,
    progress: Progress | None = None,
) -> list[Counter[Group]]:
    """Count the records that match: for each grouping, the number of records of each group.

    Args:
        unread: gets the files that cannot be read; nothing of these is counted.
        progress: counts what was read. If the count must stop, the result is what it has so far.

    Raises:
        FastlogError: A file cannot be read, and there is no `unread`.
    """
    totals: list[Counter[Group]] = [Counter() for _ in groupings]
    days = read_days(logs, span_of(query), unread)
    progress = progress or Progress()
    progress.total = sum(day.last_id for day in days)
    for day in days:
        before = progress.read
        with unless_gone(day.path, unread):
            of_day = _count_day(day.path, query, groupings, progress)
            for total, grouping, groups in zip(totals, groupings, of_day, strict=True):
                for group, records in groups.items():
                    add(total, grouping, group, records)
        if progress.must_stop():
            break
        progress.read = before + day.last_id
    return totals


def count_totals(logs: Path, query: Node = EVERYTHING, unread: Unread | None = None) -> Totals:
    """Count the records that match by level, logger, host and hour, as `count` does."""
    return totals_of(count(logs, query, TOTALS, unread))


def totals_of(counts: Sequence[Counter[Group]]) -> Totals:
    """Return the counts of the groupings `TOTALS`."""
    *names, hours = counts
    levels, loggers, hosts = (_named(groups) for groups in names)
    bars: Counter[int] = Counter()
    for (hour,), records in hours.items():
        bars[hour if isinstance(hour, int) else -1] += records
    return Totals(levels, loggers, hosts, bars)


def _named(groups: Counter[Group]) -> Counter[str]:
    named: Counter[str] = Counter()
    for (value,), records in groups.items():
        named["?" if value is None else str(value)] += records
    return named


def _count_day(
    path: Path, query: Node, groupings: Sequence[Grouping], progress: Progress
) -> list[Counter[Group]]:
    totals: list[Counter[Group]] = [Counter() for _ in groupings]
    with closing(open_day(path)) as connection, stopped_by(progress, connection):
        for number, group, records in count_groups(connection, query, groupings, progress):
            add(totals[number], groupings[number], group, records)
    return totals


def add(total: Counter[Group], grouping: Grouping, group: Group, records: int) -> None:
    """Add the records of a group, in a total that has a bounded number of groups."""
    limit = MAX_GROUPS if grouping.interval is None else MAX_BARS
    if group not in total and len(total) >= limit:
        bar: tuple[Any, ...] = () if grouping.interval is None else (None,)
        group = (OTHERS,) * len(grouping.fields) + bar
    total[group] += records
