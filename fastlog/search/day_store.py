"""The store of the `sqlite:` sink: the day files of a directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastlog.query import Node
from fastlog.search.around import Identity
from fastlog.search.day_reader import Unread, read_days
from fastlog.search.grouping import Group, Grouping
from fastlog.search.live import INTERVAL, follow, last_arrival, missed, newest, read_new
from fastlog.search.lookup import find_record
from fastlog.search.parts import Batch, Part, day_parts, read_day_part
from fastlog.search.progress import Progress
from fastlog.search.record_store import Arrivals, RecordStore
from fastlog.search.spans import Span, span_of
from fastlog.search.stream import Found, search
from fastlog.search.totals import count


@dataclass(frozen=True)
class DayStore(RecordStore):
    """The day files of a directory."""

    logs: Path

    def search(
        self,
        query: Node,
        *,
        newest_first: bool = False,
        unread: Unread | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Found]:
        return search(self.logs, query, newest_first=newest_first, unread=unread, progress=progress)

    def count(
        self,
        query: Node,
        groupings: Sequence[Grouping],
        unread: Unread | None = None,
        progress: Progress | None = None,
    ) -> list[Counter[Group]]:
        return count(self.logs, query, groupings, unread, progress)

    def bounds(
        self, query: Node, unread: Unread | None = None, progress: Progress | None = None
    ) -> Span | None:
        """Return a span that has the `created` of all records of the files that may match."""
        days = read_days(self.logs, span_of(query), unread)
        if not days:
            return None
        return Span(min(day.first for day in days), Span.up_to(max(day.last for day in days)).until)

    def find(
        self, place: Identity, unread: Unread | None = None, progress: Progress | None = None
    ) -> Found | None:
        return find_record(self.logs, *place, unread=unread, progress=progress)

    def newest(
        self,
        query: Node,
        count: int,
        unread: Unread | None = None,
        progress: Progress | None = None,
    ) -> tuple[list[Found], Any]:
        return newest(self.logs, query, count, unread, progress)

    def follow(
        self,
        query: Node,
        position: Any,
        pause: Callable[[float], object],
        unread: Unread | None = None,
    ) -> Iterator[list[Found]]:
        return follow(self.logs, query, position, pause, unread)

    def last_arrival(self, unread: Unread | None = None) -> Identity | None:
        return last_arrival(self.logs, unread)

    def missed(
        self,
        query: Node,
        place: Identity,
        unread: Unread | None = None,
        *,
        at_most: int,
        skipped: Callable[[int], object],
    ) -> Iterator[list[Found]]:
        return missed(self.logs, query, place, unread, at_most=at_most, skipped=skipped)

    def arrivals(self) -> AbstractContextManager[_DayArrivals]:
        return nullcontext(_DayArrivals(self.logs))

    def parts(self, query: Node, unread: Unread | None = None) -> list[Part]:
        return day_parts(self.logs, query, unread)

    def read_part(
        self,
        part: Part,
        position: int,
        query: Node,
        progress: Progress,
        unread: Unread | None = None,
    ) -> Iterator[Batch]:
        return read_day_part(self.logs, part, position, query, progress, unread)

    def close(self) -> None:
        """Do nothing: no file is open between two questions."""


class _DayArrivals(Arrivals):
    def __init__(self, logs: Path) -> None:
        self._logs = logs

    def read(
        self,
        query: Node,
        position: Any,
        unread: Unread | None = None,
        *,
        at_most: int,
        skipped: Callable[[int], object],
    ) -> Iterator[list[Found]]:
        return read_new(self._logs, query, position, unread, at_most=at_most, skipped=skipped)

    def wait(self, pause: Callable[[float], object]) -> None:
        pause(INTERVAL)
