"""Pages of records, from either end of the store, with a cursor where the next page begins.

A page is searched window by window, each with a longer span of time than the one before, as far as
the deadline allows. So a search that its deadline ends has come to a place where the next one
continues, also where nothing was found.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from fastlog.query import between, both, column
from fastlog.search import Found, Progress
from fastlog.search.around import identity
from fastlog.search.cursor import Cursor, Order
from fastlog.search.spans import Span, span_of
from fastlog.web.question import Question

FIRST_WINDOW: Final = 3600.0
"""Seconds of the first window."""
SHORTEST: Final = 1.0
GROWTH: Final = 4
SHRINKING: Final = 16
"""By which a window was too long that a deadline has ended."""
PATIENCE: Final = 10.0
"""Seconds that a window of the shortest length may take."""
MAX_BYTES: Final = 8 << 20
"""Characters of the texts of a page, after which it ends; a record may have megabytes."""


class _Patient(Progress):
    """The progress of the first window of a page, which may take longer than the deadline.

    So each page comes nearer to the end, however short its deadline is.
    """

    def __init__(self, whole: Progress) -> None:
        super().__init__(time.monotonic() + PATIENCE)
        self._whole = whole

    def must_stop(self) -> bool:
        if self._whole.stopped == "interrupt":
            self.stopped = "interrupt"
        return super().must_stop()


class Page(NamedTuple):
    """Some records in the order of the cursor."""

    records: list[Found]
    cursor: Cursor | None
    """Where the next page begins; None if there is none."""
    begin: Cursor | None
    """Where this page begins, whatever arrives later; None if the store is empty."""
    scanned: float
    """The share of the time of all records that was searched, from 0 to 1."""


def find_page(
    question: Question, order: Order, limit: int, start: Cursor | None, max_text: int = 0
) -> Page:
    """Search a page.

    Args:
        limit: The most records of it, at least 1.
        start: Where it begins; None for the end of the store.
        max_text: Characters that are shown of each text; 0 for all.
    """
    stored = question.store.bounds(question.query, question.unread, question.progress)
    if stored is None:
        return Page([], None, None, 1.0)
    whole = span_of(question.query).overlap(stored)
    edge = whole.until if order == "newest" else whole.since
    begin = place = start or Cursor(order, edge)
    window = max(SHORTEST, FIRST_WINDOW if place.window is None else place.window)
    span = whole.overlap(place.span)
    records: list[Found] = []
    size, completed = 0, 0.0
    while span.since < span.until:
        part, span = _split(span, order, window)
        is_least = place == start and window <= SHORTEST
        progress = _Patient(question.progress) if is_least else question.progress
        began = time.monotonic()
        found = _search(question, progress, order, part)
        for each in found if start is None else start.rest(found):
            if progress.must_stop():  # the record may be after a gap
                break
            if len(records) == limit or size > MAX_BYTES:
                return Page(records, place, begin, _share(whole, place))
            records.append(each)
            size += _size(each, max_text)
            place = Cursor(order, each.record.created, window, identity(each))
        if progress.must_stop():
            question.progress.must_stop()  # its deadline is over, too: the answer says so
            place = place._replace(window=completed or max(SHORTEST, window / SHRINKING))
            return Page(records, place, begin, _share(whole, place))
        completed = max(completed, window)
        window = _next_window(window, time.monotonic() - began, question.progress.remaining)
        place = Cursor(order, part.since if order == "newest" else part.until, window)
    return Page(records, None, begin, 1.0)


def _next_window(window: float, took: float, remaining: float) -> float:
    """Return the length of the next window: longer, but likely to be searched in time."""
    fitting = remaining / (2 * took) if took > 0 else GROWTH
    return max(SHORTEST, window * min(GROWTH, fitting))


def _size(found: Found, max_text: int) -> int:
    record = found.record
    texts = (record.message, record.extra, record.exc_text, record.stack_info)
    most = max_text or math.inf
    return int(sum(min(len(text), most) for text in texts if text))


def _split(span: Span, order: str, window: float) -> tuple[Span, Span]:
    """Return the window at the start of a span, and the rest."""
    if order == "oldest":
        middle = min(span.until, max(span.since + window, math.nextafter(span.since, math.inf)))
        return Span(span.since, middle), Span(middle, span.until)
    middle = max(span.since, min(span.until - window, math.nextafter(span.until, -math.inf)))
    return Span(middle, span.until), Span(span.since, middle)


def _search(question: Question, progress: Progress, order: str, span: Span) -> Iterator[Found]:
    return question.store.search(
        both(question.query, between(column("created"), span.since, span.until)),
        newest_first=order == "newest",
        unread=question.unread,
        progress=progress,
    )


def _share(whole: Span, place: Cursor) -> float:
    length = whole.until - whole.since
    done = whole.until - place.time if place.order == "newest" else place.time - whole.since
    return min(1.0, max(0.0, done / length)) if length > 0 else 1.0
