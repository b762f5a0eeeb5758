"""Stores of records: what a command can ask, whichever database has the records.

SQL only narrows what is read. What matches is decided by the evaluator of `fastlog.query`, so a
question has the same answer everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from fastlog.config import nearest
from fastlog.errors import ConfigError
from fastlog.query import Node
from fastlog.search.arrivals import Batch, Part, day_arrivals, day_parts
from fastlog.search.day_reader import Unread
from fastlog.search.grouping import Group, Grouping
from fastlog.search.live import follow, newest
from fastlog.search.progress import Progress
from fastlog.search.stream import Found, search
from fastlog.search.totals import count

POSTGRES: Final = ("postgresql", "postgres")
"""The schemes of PostgreSQL's URLs."""


class RecordStore(Protocol):
    """A store that can be searched. `fastlog.search` documents the methods, as functions."""

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

    def parts(self, query: Node, unread: Unread | None = None) -> list[Part]:
        """Return the parts that may hold matches, as they are now."""

    def arrivals(
        self,
        part: Part,
        position: int,
        query: Node,
        progress: Progress,
        unread: Unread | None = None,
    ) -> Iterator[Batch]:
        """Yield the matches of a part behind a position, in order of arrival."""


@dataclass(frozen=True, slots=True)
class DayStore:
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
        """Yield the records that match, in order of `created`."""
        return search(self.logs, query, newest_first=newest_first, unread=unread, progress=progress)

    def count(
        self,
        query: Node,
        groupings: Sequence[Grouping],
        unread: Unread | None = None,
        progress: Progress | None = None,
    ) -> list[Counter[Group]]:
        """Count the records that match, by groups."""
        return count(self.logs, query, groupings, unread, progress)

    def newest(
        self,
        query: Node,
        count: int,
        unread: Unread | None = None,
        progress: Progress | None = None,
    ) -> tuple[list[Found], Any]:
        """Return the newest matches, oldest first, and the position where `follow` continues."""
        return newest(self.logs, query, count, unread, progress)

    def follow(
        self,
        query: Node,
        position: Any,
        pause: Callable[[float], object],
        unread: Unread | None = None,
    ) -> Iterator[list[Found]]:
        """Yield what arrives after the position, without end."""
        return follow(self.logs, query, position, pause, unread)

    def parts(self, query: Node, unread: Unread | None = None) -> list[Part]:
        """Return the parts that may hold matches, as they are now."""
        return day_parts(self.logs, query, unread)

    def arrivals(
        self,
        part: Part,
        position: int,
        query: Node,
        progress: Progress,
        unread: Unread | None = None,
    ) -> Iterator[Batch]:
        """Yield the matches of a part behind a position, in order of arrival."""
        return day_arrivals(self.logs, part, position, query, progress, unread)


def open_store(url: str) -> RecordStore:
    """Return the store that a URL names, without any I/O.

    Raises:
        ConfigError: It names none that can be searched.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and parts.path.startswith("/") and not parts.netloc:
        return DayStore(Path(parts.path))
    if parts.scheme in POSTGRES:
        try:
            from fastlog.search.postgres import PostgresStore  # psycopg takes a while to import
        except ImportError as error:
            raise ConfigError(f"{parts.scheme}: {error}") from None
        return PostgresStore(parts)
    hint = nearest(parts.scheme, ("sqlite", *POSTGRES))
    expected = "expected sqlite:///directory or postgresql://user@host/database"
    raise ConfigError(f"{expected}, got {url!r}{hint}")
