"""Records in order of `created` over all day files, as a stream.

A file is opened when the stream reaches its first record, and closed after its last. Files whose
spans overlap (a client's clock was wrong, a day continues in a second file) are merged.
"""

from __future__ import annotations

import heapq
import math
import operator
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, takewhile
from pathlib import Path
from typing import NamedTuple

from fastlog.query import EVERYTHING, Node
from fastlog.record import Record
from fastlog.search.day_reader import Day, Unread, open_day, read_days, unless_gone
from fastlog.search.day_search import DaySearch
from fastlog.search.progress import Progress, stopped_by
from fastlog.search.rows import Row
from fastlog.search.spans import span_of

_CREATED = operator.itemgetter(0)


class Found(NamedTuple):
    """A record, and the id of the journal that it came from."""

    record: Record
    node: str


def search(
    logs: Path,
    query: Node = EVERYTHING,
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
        progress: counts what was read. If the search must stop, the records end.

    Raises:
        FastlogError: A file cannot be read, and there is no `unread`.
    """
    days = read_days(logs, span_of(query), unread)
    progress = progress or Progress()
    progress.total = sum(day.last_id for day in days)
    rows = merge_days(days, query, progress, newest_first=newest_first, unread=unread)
    return map(found, rows)


def merge_days(
    days: list[Day],
    query: Node,
    progress: Progress,
    *,
    newest_first: bool,
    unread: Unread | None = None,
) -> Iterator[Row]:
    """Yield the matching rows of files that are given in the order of their days."""
    groups = _groups(days)
    if newest_first:
        groups = [group[::-1] for group in reversed(groups)]
    merged = chain.from_iterable(
        # Equal rows come in the order of the files, which is that of arrival.
        heapq.merge(
            *(_rows(day, query, progress, newest_first, unread) for day in group),
            key=_CREATED,
            reverse=newest_first,
        )
        for group in groups
    )
    # Where one file has ended early, the rows of others would be after a gap.
    return takewhile(lambda _: not progress.must_stop(), merged)


def found(row: Row) -> Found:
    """Return a row as a record."""
    return Found(Record(*row[:-1]), row[-1])


def _rows(
    day: Day, query: Node, progress: Progress, newest_first: bool, unread: Unread | None
) -> Iterator[Row]:
    if progress.must_stop():
        return
    with (
        unless_gone(day.path, unread),
        closing(open_day(day.path)) as connection,
        stopped_by(progress, connection),
    ):
        connection.execute("BEGIN")
        search = DaySearch(connection, query, day.last_id, progress, newest_first=newest_first)
        with closing(search.matches()) as rows:
            yield from rows


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
