"""Records in order of `created` over all day files, as a stream.

A file is opened when the stream reaches its first record, and closed behind its last. Files whose
spans overlap (a client's clock was wrong, a day continues in a second file) are merged.
"""

from __future__ import annotations

import heapq
import math
import operator
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from fastlog.query import Filters
from fastlog.record import Record
from fastlog.search.day_reader import Day, Unread, open_day, read_days, unless_gone
from fastlog.search.day_search import DaySearch
from fastlog.search.layout import read_layout
from fastlog.search.progress import Progress, stoppable
from fastlog.search.rows import Row, checked

_CREATED = operator.itemgetter(0)


class Found(NamedTuple):
    """A record, and the id of the journal that it came from."""

    record: Record
    node: str


def search(
    logs: Path,
    filters: Filters,
    *,
    newest_first: bool = False,
    unread: Unread | None = None,
    progress: Progress | None = None,
) -> Iterator[Found]:
    """Yield the records that match, by `created`; of equal ones, those of the earlier file first.

    Records that arrive after the call are not included.

    Args:
        newest_first: yield exactly the reverse.
        unread: gets the files that cannot be read; the records of the others are yielded.
        progress: shows how far the search is, and can end it early.

    Raises:
        FastlogError: A file cannot be read, and there is no `unread`.
    """
    days = read_days(logs, filters.since, filters.until, unread)
    rows = merge_days(days, filters, newest_first=newest_first, unread=unread, progress=progress)
    return map(found, rows)


def merge_days(
    days: list[Day],
    filters: Filters,
    *,
    newest_first: bool,
    unread: Unread | None = None,
    progress: Progress | None = None,
) -> Iterator[Row]:
    """Yield the matching rows of files that are given in the order of their days."""
    if progress is not None:
        progress.total += sum(day.last_id for day in days)
    groups = _groups(days)
    if newest_first:
        groups = [group[::-1] for group in reversed(groups)]
    merged = chain.from_iterable(
        # Equal rows come in the order of the files, which is that of arrival.
        heapq.merge(
            *(_rows(day, filters, newest_first, unread, progress) for day in group),
            key=_CREATED,
            reverse=newest_first,
        )
        for group in groups
    )
    return merged if progress is None else _until_stopped(merged, progress)


def found(row: Row) -> Found:
    """Return a row as a record."""
    return Found(Record(*row[:-1]), row[-1])


def _until_stopped(rows: Iterator[Row], progress: Progress) -> Iterator[Row]:
    """Yield rows until the search must stop; then none, since one file may have ended earlier."""
    for row in rows:
        if progress.must_stop():
            return
        yield row


def _rows(
    day: Day,
    filters: Filters,
    newest_first: bool,
    unread: Unread | None,
    progress: Progress | None,
) -> Iterator[Row]:
    if progress is not None and progress.must_stop():
        return
    with (
        unless_gone(day.path, unread),
        closing(open_day(day.path)) as connection,
        stoppable(connection, progress),
    ):
        connection.execute("BEGIN")
        layout = read_layout(connection)
        day_search = DaySearch(connection, layout, filters, day.last_id, newest_first)
        with closing(day_search.rows()) as rows:
            yield from checked(rows)
        if progress is not None:
            progress.read += day.last_id


def _groups(days: list[Day]) -> list[list[Day]]:
    """Return the files in groups, in order: those of one group overlap and must be merged."""
    groups: list[list[Day]] = []
    end = -math.inf
    arrival = {day.path: position for position, day in enumerate(days)}
    for day in sorted(days, key=lambda day: day.first):
        if groups and day.first <= end:
            groups[-1].append(day)
        else:
            groups.append([day])
        end = max(end, day.last)
    return [sorted(group, key=lambda day: arrival[day.path]) for group in groups]
