"""Cursors: where one page of an answer ends, as a text that continues it.

A cursor names a record and a direction. Records that arrive later do not move it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from fastlog.errors import ConfigError
from fastlog.query import Node, between, both, column
from fastlog.search import Found

_FORM = re.compile(
    r"(?P<end>newest|oldest):(?P<created>-?[\d.]+(?:e[+-]?\d+)?):(?P<node>[\w-]*)"
    r":(?P<offset>\d{1,19}):(?P<idx>\d{1,19})",
    re.ASCII,
)


class Cursor(NamedTuple):
    """The last record of a page, and the end of the log that its first page began at."""

    oldest: bool
    """Whether pages go from the oldest record on; else from the newest back."""
    created: float
    node: str
    offset: int
    idx: int

    @classmethod
    def behind(cls, found: Found, *, oldest: bool) -> Cursor:
        """Return the cursor of a page that ends with this record."""
        record = found.record
        return cls(oldest, record.created, found.node, record.offset, record.idx)

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Return the cursor of a text.

        Raises:
            ConfigError: It is none.
        """
        match = _FORM.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            created = float(match["created"])
        except ValueError:
            raise ConfigError(
                f"--cursor: {text!r} is no cursor; take it from the line that the page before has"
                " printed on stderr"
            ) from None
        oldest = match["end"] == "oldest"
        return cls(oldest, created, match["node"], int(match["offset"]), int(match["idx"]))

    def __str__(self) -> str:
        end = "oldest" if self.oldest else "newest"
        return f"{end}:{self.created!r}:{self.node}:{self.offset}:{self.idx}"

    def narrow(self, query: Node) -> Node:
        """Return the query without what comes before the cursor's time."""
        if self.oldest:
            return both(query, between(column("created"), self.created, None))
        end = math.nextafter(self.created, math.inf)
        return both(query, between(column("created"), None, end))

    def rest(self, found: Iterator[Found]) -> Iterator[Found]:
        """Yield the records behind the cursor's.

        Args:
            found: what a narrowed query finds, in the direction of the cursor.
        """
        for each in found:
            if self._is_behind(each):
                yield each
                yield from found
                return
            if each.node == self.node and each.record[-2:] == (self.offset, self.idx):
                yield from found
                return

    def _is_behind(self, found: Found) -> bool:
        """Return whether a record is surely behind: the cursor's record may have been deleted."""
        record = found.record
        if record.created != self.created:
            return True
        place, own = (record.offset, record.idx), (self.offset, self.idx)
        return found.node == self.node and (place > own if self.oldest else place < own)
