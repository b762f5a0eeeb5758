"""Context: the records around a match that its process, or its logger, has logged.

Matches come in order of time. The records around a match are searched when it is printed. No record
is printed twice: where the contexts of two matches overlap, they are one group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from fastlog.search import Found, Progress, Unread
from fastlog.search.around import Position, identity, in_common, next_to, position

Key = tuple[object, ...]


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

    logs: Path
    before: int
    after: int
    columns: tuple[str, ...]
    """Of `around.BY`."""
    unread: Unread | None = None
    progress: Progress | None = None

    def lines(self, matches: Sequence[Found]) -> Iterator[Line]:
        """Yield the matches with their contexts.

        Args:
            matches: in order of time.
        """
        marked = {identity(match) for match in matches}
        printed: dict[Key, Position] = {}
        last_key: Key | None = None
        for match in matches:
            key, last = self._key(match), printed.get(self._key(match))
            if self.progress is not None and self.progress.must_stop():
                if last is None or position(match) > last:
                    yield Line(match, is_match=True, begins_group=True)
                continue
            some, is_adjacent = self._around(match, last)
            for at, found in enumerate(some):
                begins = at == 0 and not (is_adjacent and key == last_key)
                yield Line(found, identity(found) in marked, begins)
            if some:
                printed[key], last_key = position(some[-1]), key

    def _around(self, match: Found, last: Position | None) -> tuple[list[Found], bool]:
        """Return a match and its context, without what was printed up to a position.

        Returns:
            The records, and whether they follow the printed ones without a gap.
        """
        # One more shows whether there is a gap.
        before = list(islice(self._search(match, newest_first=True), self.before + 1))[::-1]
        after = list(islice(self._search(match, newest_first=False), self.after))
        is_adjacent = last is not None and any(position(one) <= last for one in (*before, match))
        if not is_adjacent:
            before = before[max(0, len(before) - self.before) :]
        some = [*before, match, *after]
        return [one for one in some if last is None or position(one) > last], is_adjacent

    def _search(self, match: Found, *, newest_first: bool) -> Iterator[Found]:
        """Yield what the process of a match has logged before or after it, the nearest first."""
        return next_to(
            self.logs,
            match,
            in_common(match, self.columns),
            newest_first=newest_first,
            unread=self.unread,
            progress=None if self.progress is None else _PartOf(self.progress),
        )

    def _key(self, found: Found) -> Key:
        return tuple(getattr(found.record, name) for name in self.columns)
