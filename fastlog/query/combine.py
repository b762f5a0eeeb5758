"""Queries that programs make, beside those that users write."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fastlog.query.filters import Condition, Filters

T = TypeVar("T", int, float)


def both(query: Filters, other: Filters) -> Filters:
    """Return what matches where both do."""
    return Filters(
        since=_chosen(max, query.since, other.since),
        until=_chosen(min, query.until, other.until),
        level=_chosen(max, query.level, other.level),
        logger=query.logger or other.logger,
        host=query.host or other.host,
        grep=query.grep + other.grep,
        regex=query.regex + other.regex,
        where=query.where + other.where,
    )


def equals(field: str, value: object) -> Filters:
    """Return what matches where a column has this value."""
    return Filters(where=(Condition(field, "=", str(value)),))


def between(since: float | None, until: float | None) -> Filters:
    """Return what matches from one time on, and before another one."""
    return Filters(since=since, until=until)


def _chosen(choose: Callable[..., T], one: T | None, other: T | None) -> T | None:
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)
