"""Moments: `1h` ago, `yesterday`, `2026-11-23 14:30`, `14:30`."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta, tzinfo

from fastlog.config import parse_duration
from fastlog.errors import ConfigError

_NUMBER = re.compile(r"[\d.]+")


def parse_moment(text: str, now: float, zone: tzinfo | None = None) -> float:
    """Return a moment in seconds since the epoch.

    A date is its first second.

    Args:
        text: a duration (that long before `now`), an ISO 8601 date or time, `now`, `today`,
            `yesterday`, or `@` and seconds since the epoch.
        now: seconds since the epoch.
        zone: that of a text without one; `None`: the local one.

    Raises:
        ConfigError: The text is none of these.
    """
    word = text.strip()
    midnight = datetime.combine(datetime.fromtimestamp(now, zone).date(), time(), zone)
    days = {"today": midnight, "yesterday": midnight - timedelta(days=1)}
    try:
        if word.lower() == "now":
            return now
        if word.lower() in days:
            return days[word.lower()].timestamp()
        if word.startswith("@"):
            return float(word[1:])
        if not _NUMBER.fullmatch(word):
            return _parse_duration_or_iso(word, now, midnight)
    except (ValueError, OverflowError):
        pass
    raise ConfigError(
        f"expected a time such as 1h, 2026-11-23, '2026-11-23 14:30' or yesterday, got {text!r}"
    )


def _parse_duration_or_iso(word: str, now: float, midnight: datetime) -> float:
    try:
        return now - parse_duration(word.removesuffix(" ago"))
    except ValueError:
        pass
    if re.match(r"\d\d?:", word):
        clock = time.fromisoformat(word.zfill(5) if len(word) < 5 else word)
        return datetime.combine(midnight.date(), clock, midnight.tzinfo).timestamp()
    moment = datetime.fromisoformat(word)
    return (moment if moment.tzinfo else moment.replace(tzinfo=midnight.tzinfo)).timestamp()
