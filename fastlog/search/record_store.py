"""What a store of records can be asked, whichever database has them.

SQL only narrows what is read. What matches is decided by the evaluator of `fastlog.query`, so a
question has the same answer everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from fastlog.query import Node
from fastlog.search.around import Identity
from fastlog.search.day_reader import Unread
from fastlog.search.grouping import Group, Grouping
from fastlog.search.parts import Batch, Part
from fastlog.search.progress import Progress
from fastlog.search.spans import Span
from fastlog.search.stream import Found


class Arrivals(Protocol):
    """Looks for new records again and again, for one reader."""

    def read(
        self,
        query: Node,
        position: Any,
        unread: Unread | None = None,
        *,
        at_most: int,
        skipped: Callable[[int], object],
    ) -> Iterator[list[Found]]:
        """Yield what has arrived after the position, in batches, in order of arrival.

        At its end, it has moved the position.

        Args:
            at_most: Of more new records of a file or a journal, only the newest are looked at.
            skipped: Gets the number of the others.
        """

    def wait(self, pause: Callable[[float], object]) -> None:
        """Wait until it is time to look again.

        Args:
            pause: Waits for some seconds, or less.
        """


class RecordStore(Protocol):
    """A store that can be searched. Each kind of store is a subclass.

    `unread` gets the files that cannot be read. `progress` counts what is read, and ends the search
    when it must stop: what is yielded or returned then is incomplete.

    Raises:
        FastlogError: The store cannot be read; of day files, only where there is no `unread`.
    """

    def search(
        self,
        query: Node,
        *,
        newest_first: bool = False,
        unread: Unread | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Found]:
        """Yield the records that match, in order of `created`."""

    def count(
        self,
        query: Node,
        groupings: Sequence[Grouping],
        unread: Unread | None = None,
        progress: Progress | None = None,
    ) -> list[Counter[Group]]:
        """Count the records that match, by groups."""

    def newest(
        self,
        query: Node,
        count: int,
        unread: Unread | None = None,
        progress: Progress | None = None,
    ) -> tuple[list[Found], Any]:
        """Return the newest matches, oldest first, and the position where `follow` continues."""

    def follow(
        self,
        query: Node,
        position: Any,
        pause: Callable[[float], object],
        unread: Unread | None = None,
    ) -> Iterator[list[Found]]:
        """Yield what arrives after the position, without end."""

    def bounds(
        self, query: Node, unread: Unread | None = None, progress: Progress | None = None
    ) -> Span | None:
        """Return a span that has `created` of all records that may match; None if there are none.

        Only the times of the query are considered.
        """

    def find(
        self, place: Identity, unread: Unread | None = None, progress: Progress | None = None
    ) -> Found | None:
        """Return the record of a place; None if there is none, or if the search must stop."""

    def last_arrival(self, unread: Unread | None = None) -> Identity | None:
        """Return the place of the record that arrived last; None if there is none."""

    def missed(
        self,
        query: Node,
        place: Identity,
        unread: Unread | None = None,
        *,
        at_most: int,
        skipped: Callable[[int], object],
    ) -> Iterator[list[Found]]:
        """Yield what arrived after a record, in batches, in order of arrival, up to now.

        Args:
            place: If its record is gone, nothing is yielded.
            at_most, skipped: As in `Arrivals.read`.
        """

    def arrivals(self) -> AbstractContextManager[Arrivals]:
        """Begin to look for new records again and again."""

    def parts(self, query: Node, unread: Unread | None = None) -> list[Part]:
        """Return the parts that may hold matches, as they are now."""

    def read_part(
        self,
        part: Part,
        position: int,
        query: Node,
        progress: Progress,
        unread: Unread | None = None,
    ) -> Iterator[Batch]:
        """Yield the matches of a part after a position, in order of arrival.

        Args:
            position: 0, or that of a batch.
            progress: Counts the positions. Its total is the caller's.
        """

    def close(self) -> None:
        """Close what is kept open between two questions. The store may be asked again."""
