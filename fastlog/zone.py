"""Times as text: in the local zone, or in one that the user names."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final

_QUARTER: Final = 900.0
"""Seconds. Offsets of zones change at multiples of it."""


class Zone:
    """Shows times, which are seconds since the epoch.

    Args:
        zone: `None` is the zone of this process. The offset is then shown only where the text would
            have two meanings: in the hour that the end of summer time repeats.
    """

    def __init__(self, zone: tzinfo | None = None) -> None:
        self.tzinfo = zone

    def text(self, seconds: object) -> str:
        """Return a date and a time with milliseconds; a time without a date as its number."""
        moment = self.moment(seconds)
        return str(seconds) if moment is None else moment.isoformat(" ", "milliseconds")

    def minute(self, seconds: float) -> str:
        """Return a date and a time without seconds, where these are zero."""
        moment = self.moment(seconds)
        if moment is None:
            return str(seconds)
        return moment.isoformat(" ", "seconds" if moment.second else "minutes")

    def iso(self, seconds: object) -> str | None:
        """Return a time with microseconds and offset, in UTC if no zone is named.

        Returns:
            `None` for a time that no date has.
        """
        moment = _date(seconds, UTC if self.tzinfo is None else self.tzinfo)
        return None if moment is None else moment.isoformat(timespec="microseconds")

    def moment(self, seconds: object) -> datetime | None:
        """Return a time with its offset if that is to be shown; `None` if no date has this time."""
        if self.tzinfo is not None:
            return _date(seconds, self.tzinfo)
        moment = _date(seconds, None)
        if moment is not None and _is_repeated(moment.timestamp() // _QUARTER * _QUARTER):
            return moment.astimezone()
        return moment


LOCAL: Final = Zone()


def _date(seconds: object, zone: tzinfo | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(seconds), zone)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return None


@lru_cache(maxsize=256)
def _is_repeated(seconds: float) -> bool:
    """Return whether the local clock shows the time of this moment twice."""
    moment = _date(seconds, None)
    if moment is None:
        return False
    try:
        return moment.replace(fold=0).timestamp() != moment.replace(fold=1).timestamp()
    except (ValueError, OverflowError, OSError):
        return False
