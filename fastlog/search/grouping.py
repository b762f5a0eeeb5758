"""Groupings: by which values records are counted."""

from __future__ import annotations

from datetime import datetime, time, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

_DAY: Final = 24 * 3600


class Grouping(NamedTuple):
    """By what records are counted. Without fields and interval, all are one group."""

    fields: tuple[str, ...] = ()
    """Names as in a query. `level` is `levelname`, or `levelno` where that is missing."""
    interval: int | None = None
    """Seconds of a bar of a histogram; None for no histogram. Bars are counted from midnight."""
    zone: tzinfo | None = None
    """The zone of midnight; None for the local zone."""


@lru_cache(maxsize=4096)
def begin_of_bar(second: int, interval: int, zone: tzinfo | None) -> int | None:
    """Return the first second of the bar that a second is in; None for a time outside the calendar.

    Bars begin at midnight. The hour that a change of the clocks repeats has two bars.
    """
    try:
        local = datetime.fromtimestamp(second, zone)
        if interval >= _DAY:
            day = local.toordinal()
            first = datetime.fromordinal(day - day % (interval // _DAY))
            return int(datetime.combine(first, time(), zone).timestamp())
        offset = local.astimezone(zone).utcoffset()
    except (ValueError, OverflowError, OSError):
        return None
    shift = int(offset.total_seconds()) if offset is not None else 0
    return (second + shift) // interval * interval - shift
