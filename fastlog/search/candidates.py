"""Candidates: the entries of a chunk that may match, found in its whole text at once.

Whether a candidate matches is decided by its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from fastlog.query.expressions import Expression

NUL: Final = b"\0"
"""The first byte of an entry, and not in its text."""
WINDOW: Final = 4096
"""Bytes that are searched at once where an expression matches over several entries."""
LONG_WINDOW: Final = 128 << 10
"""Bytes that are searched at once elsewhere. A search can be stopped only between two windows, and
RE2 needs a second for a few megabytes with some expressions."""
DENSE: Final = 1024
"""An expression that matches in more entries of a chunk than this is left to the check of the rows,
which costs about as much as finding the place of a match."""


def candidates(
    text: bytes, expressions: list[Expression], must_stop: Callable[[], bool] = lambda: False
) -> Sequence[int]:
    """Return the numbers of the entries of a chunk that may match all expressions, in order.

    Some are missing when the search must stop.
    """
    found: set[int] | None = None
    for expression in expressions:
        numbers = list(islice(_entries(text, expression, must_stop), DENSE + 1))
        if len(numbers) <= DENSE:
            found = set(numbers) if found is None else found.intersection(numbers)
        if found is not None and not found:
            return ()
    return range(text.count(NUL)) if found is None else sorted(found)


def _entries(
    text: bytes, expression: Expression, must_stop: Callable[[], bool] = lambda: False
) -> Iterator[int]:
    """Yield the numbers of the entries in which a match begins.

    A match may go over several entries, and hide one inside an entry. So the search continues with
    the entry after the one in which it began.
    """
    entry, counted, at, is_narrow = -1, 0, 0, False  # entries are counted up to a match only
    end = _next_entry(text, LONG_WINDOW)
    while at < len(text) and not must_stop():
        match = expression.search(text, at, end)
        if match is None and end == len(text):
            return
        if match is None:
            at = end
        else:
            entry += text.count(NUL, counted, match.start() + 1)
            counted = match.start() + 1
            yield entry
            at = _next_entry(text, counted)
            is_narrow = is_narrow or match.end() > at
        if is_narrow:  # otherwise each search could read the rest of the window
            end = _next_entry(text, at + WINDOW)
        elif at >= end:
            end = _next_entry(text, at + LONG_WINDOW)


def _next_entry(text: bytes, at: int) -> int:
    """Return where the first entry begins that does not begin before `at`."""
    found = text.find(NUL, at)
    return len(text) if found < 0 else found
