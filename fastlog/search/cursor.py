"""Cursors: where one page of an answer ends, as a text that continues it.

A cursor names a record and a direction, or only a time. Records that arrive later do not move it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, cast

from fastlog.errors import ConfigError
from fastlog.query import Node, between, both, column
from fastlog.search.around import Identity, identity
from fastlog.search.spans import Span
from fastlog.search.stream import Found

Order = Literal["newest", "oldest"]
"""Which records come first."""

_FORM: Final = re.compile(
    r"(?P<order>newest|oldest):(?P<time>-?\d{1,20}(?:\.\d{1,20})?(?:e[+-]?\d{1,3})?)"
    r"(?::(?P<window>\d{1,12}(?:\.\d{1,6})?))?"
    r"(?::(?P<node>[\w-]{1,64}):(?P<offset>\d{1,19}):(?P<idx>\d{1,19}))?",
    re.ASCII,
)


class Cursor(NamedTuple):
    """Where a page begins: after a record, or at a time."""

    order: Order
    time: float
    """`created` of the record; or the time where the search of the page before has ended."""
    window: float | None = None
    """Seconds that the next page begins to search with; None if the cursor does not say it."""
    record: Identity | None = None
    """Node, offset and number of the record; None: nothing at the time was read."""

    @classmethod
    def behind(cls, found: Found, order: Order) -> Cursor:
        """Return the cursor of a page that ends with this record."""
        return cls(order, found.record.created, None, identity(found))

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Return the cursor of a text.

        Raises:
            ConfigError: It is none.
        """
        match = _FORM.fullmatch(text)
        if match is None or not math.isfinite(float(match["time"])):
            raise ConfigError(f"{text[:80]!r} is no cursor; take it from the page before")
        record = None
        if match["node"] is not None:
            record = (match["node"], int(match["offset"]), int(match["idx"]))
        window = None if match["window"] is None else float(match["window"])
        return cls(cast("Order", match["order"]), float(match["time"]), window, record)

    def __str__(self) -> str:
        window = "" if self.window is None else f":{self.window:.6f}"
        place = "" if self.record is None else ":{}:{}:{}".format(*self.record)
        return f"{self.order}:{self.time!r}{window}{place}"

    @property
    def span(self) -> Span:
        """The times at which the rest of the records may be."""
        if self.order == "oldest":
            return Span(self.time, math.inf)
        if self.record is None:
            return Span(-math.inf, self.time)
        return Span.up_to(self.time)

    def narrow(self, query: Node) -> Node:
        """Return the query without what comes before the cursor's time."""
        ends = (end if math.isfinite(end) else None for end in self.span)
        return both(query, between(column("created"), *ends))

    def rest(self, found: Iterator[Found]) -> Iterator[Found]:
        """Yield the records after the cursor's.

        Those of another journal with the same time may come before or after it. If its record was
        deleted, they are yielded: rather twice than never.

        Args:
            found: What a narrowed query finds, in the direction of the cursor.
        """
        if self.record is None:
            yield from found
            return
        unsure: list[Found] = []
        for each in found:
            if identity(each) == self.record:
                yield from found
                return
            if each.record.created != self.time:
                yield from (*unsure, each)
                yield from found
                return
            if not self._is_read(each):
                unsure.append(each)
        yield from unsure

    def _is_read(self, found: Found) -> bool:
        """Return whether a record with the time of the cursor surely comes before it."""
        assert self.record is not None
        node, *place = identity(found)
        own_node, *own = self.record
        return node == own_node and (place <= own if self.order == "oldest" else place >= own)
