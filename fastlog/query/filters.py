"""Filters: the tree that a query is parsed into."""

from __future__ import annotations

from typing import Final, NamedTuple

from fastlog.record import Record

COLUMNS = (*Record._fields, "node")
"""The columns of the table `records`, in the order in which they are printed."""
TIME_COLUMNS: Final = ("created", "received")
"""The columns that hold seconds since the epoch."""


class Condition(NamedTuple):
    """`field operator value`, as in `extra.user=77`."""

    field: str
    operator: str
    value: str
    now: float = 0.0
    """The moment, in seconds since the epoch, that a duration as the value of `created` or
    `received` is subtracted from."""


class Filters(NamedTuple):
    """What a record must match: all of the filters; of several loggers or hosts, one."""

    since: float | None = None
    """Seconds since the epoch, included."""
    until: float | None = None
    """Seconds since the epoch, not included."""
    level: int | None = None
    """The lowest `levelno`."""
    logger: tuple[str, ...] = ()
    """Names; each matches the logger itself and all loggers below it."""
    host: tuple[str, ...] = ()
    grep: tuple[str, ...] = ()
    """Text in `message` or `exc_text`, case ignored as in `expressions.compile_text`."""
    regex: tuple[str, ...] = ()
    """Regular expressions of RE2, searched for in `message` and `exc_text`."""
    where: tuple[Condition, ...] = ()
