"""Context: the records around a match that its process, or its logger, has logged.

Matches come in order of time. The records around a match are searched when it is printed. No record
is printed twice: where the contexts of two matches overlap, they are one group.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from fastlog.query import Node, between, both, column, equals
from fastlog.search import Found, Progress, Unread
from fastlog.search.store import RecordStore

REACH: Final = 86400.0
"""Seconds before and after a match in which its context is looked for."""
BY: Final = {"process": ("host", "process"), "logger": ("name",)}
"""The columns that records of one context have in common."""

Key = tuple[object, ...]
Position = tuple[float, int, int]
"""`created`, offset and number: the order of the records of one process."""


class Line(NamedTuple):
    """A record of a context."""

    found: Found
    is_match: bool
    begins_group: bool


class _PartOf(Progress):
    """The progress of one of many short searches, which stops with the whole."""

    def __init__(self, whole: Progress) -> None:
        super().__init__()
        self._whole = whole

    def must_stop(self) -> bool:
        self._whole.must_stop()
        self.stopped = self._whole.stopped
        return self.stopped is not None


class Context(NamedTuple):
    """Which records around a match are printed."""

    store: RecordStore
    before: int
    after: int
    columns: tuple[str, ...]
    """Of `BY`."""
    unread: Unread | None = None
    progress: Progress | None = None

    def lines(self, matches: Sequence[Found]) -> Iterator[Line]:
        """Yield the matches with their contexts.

        Args:
            matches: in order of time.
        """
        marked = {_identity(match) for match in matches}
        printed: dict[Key, Position] = {}
        last_key: Key | None = None
        for match in matches:
            key, last = self._key(match), printed.get(self._key(match))
            if self.progress is not None and self.progress.must_stop():
                if last is None or _position(match) > last:
                    yield Line(match, is_match=True, begins_group=True)
                continue
            some, is_adjacent = self._around(match, last)
            for at, found in enumerate(some):
                begins = at == 0 and not (is_adjacent and key == last_key)
                yield Line(found, _identity(found) in marked, begins)
            if some:
                printed[key], last_key = _position(some[-1]), key

    def _around(self, match: Found, last: Position | None) -> tuple[list[Found], bool]:
        """Return a match and its context, without what was printed up to a position.

        Returns:
            The records, and whether they follow the printed ones without a gap.
        """
        # One more shows whether there is a gap.
        before = list(islice(self._search(match, newest_first=True), self.before + 1))[::-1]
        after = list(islice(self._search(match, newest_first=False), self.after))
        is_adjacent = last is not None and any(_position(one) <= last for one in (*before, match))
        if not is_adjacent:
            before = before[max(0, len(before) - self.before) :]
        some = [*before, match, *after]
        return [one for one in some if last is None or _position(one) > last], is_adjacent

    def _search(self, match: Found, *, newest_first: bool) -> Iterator[Found]:
        """Yield what the process of a match has logged before or after it, the nearest first."""
        created = match.record.created
        if newest_first:
            span = (created - REACH, math.nextafter(created, math.inf))
        else:
            span = (created, created + REACH)
        found = self.store.search(
            both(between(column("created"), *span), *self._same(match)),
            newest_first=newest_first,
            unread=self.unread,
            progress=None if self.progress is None else _PartOf(self.progress),
        )
        key, own = self._key(match), _position(match)
        wanted: Callable[[Position], bool] = own.__gt__ if newest_first else own.__lt__
        return (one for one in found if self._key(one) == key and wanted(_position(one)))

    def _same(self, match: Found) -> Iterator[Node]:
        for name in self.columns:
            yield equals(column(name), getattr(match.record, name))

    def _key(self, found: Found) -> Key:
        return tuple(getattr(found.record, name) for name in self.columns)


def _identity(found: Found) -> tuple[object, ...]:
    return (found.node, found.record.offset, found.record.idx)


def _position(found: Found) -> Position:
    record = found.record
    return (record.created, record.offset, record.idx)
