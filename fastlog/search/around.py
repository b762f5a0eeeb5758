"""Around: the records before and after one that have something in common with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from fastlog.query import Node, between, both, column, equals
from fastlog.search.day_reader import Unread
from fastlog.search.progress import Progress
from fastlog.search.stream import Found

REACH: Final = 86400.0
"""Seconds before and after a record in which those around it are looked for."""
BY: Final = {"process": ("host", "process"), "logger": ("name",)}
"""The columns that the records around one may have in common with it."""

Identity = tuple[str, int, int]
"""Journal, block and number of a record in the block."""
Position = tuple[float, int, int, str]
"""What records around one are ordered by: `created`, block, number, journal."""


def identity(found: Found) -> Identity:
    """Return journal, block and number of a record."""
    return (found.node, found.record.offset, found.record.idx)


def position(found: Found) -> Position:
    """Return the place of a record among those around it."""
    node, offset, idx = identity(found)
    return (found.record.created, offset, idx, node)


def in_common(found: Found, columns: Iterable[str]) -> Node:
    """Return the query of the records that have these columns in common with one."""
    return both(*(equals(column(name), getattr(found.record, name)) for name in columns))


def next_by(
    find: Callable[..., Iterator[Found]],
    found: Found,
    same: Node,
    *,
    newest_first: bool,
    unread: Unread | None = None,
    progress: Progress | None = None,
) -> Iterator[Found]:
    """Yield what comes before or after a record, the nearest first.

    Args:
        find: The method `search` of a store.
        same: What it must match: `in_common`, or another query.
        newest_first: What comes before.
        unread, progress: As in `search`.
    """
    created = found.record.created
    if newest_first:
        span = (created - REACH, math.nextafter(created, math.inf))
    else:
        span = (created, created + REACH)
    query = both(between(column("created"), *span), same)
    own = position(found)
    for each in find(query, newest_first=newest_first, unread=unread, progress=progress):
        if position(each) < own if newest_first else position(each) > own:
            yield each
