"""Moments: `1h` ago, `yesterday`, `monday`, `2026-11-23 14:30`, `14:30 Europe/Berlin`, `boot`.

A date means a whole day, and `14:30` a whole minute: the end of what is written is kept beside its
begin, so that `created:2026-11-23` matches that day and `created>2026-11-23` what came after it.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Final, NamedTuple

from fastlog.config import closest, parse_duration
from fastlog.errors import ConfigError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WORDS: Final = ("now", "today", "yesterday", "boot", *_WEEKDAYS)
_MONTH: Final = r"(\d{4})-(\d\d)"
_DATE_AND_TIME: Final = (
    r"(?P<date>\d{4}-\d\d-\d\d)?"
    r"(?:(?(date)[T ]\s*)(?P<clock>\d\d?:\d\d(?::\d\d(?:[.,]\d{1,9})?)?))?"
    r"\s*(?P<zone>Z|z|[+-]\d\d(?::?\d\d)?|[A-Za-z][\w/+-]*)?"
)
"""These are compiled when they are used: few queries have a time."""
_DAY: Final = timedelta(days=1)
_MIDNIGHT: Final = time()
_EARLIEST_NUMBER: Final = 1e8
"""Seconds since the epoch, in 1973. A smaller number is probably a year or a count."""


class TimeContext(NamedTuple):
    """What the words of a time refer to."""

    now: float
    """Seconds since the epoch."""
    zone: tzinfo | None = None
    """The zone of times that name none; None for the local zone."""
    boot: float | None = None
    """When the server was last started, in seconds since the epoch; None if it is not known."""


class Moment(NamedTuple):
    """A span of time, as long as what was written is exact."""

    first: float
    """Seconds since the epoch."""
    end: float
    """The first second after the span; equal to `first` for an instant."""


def parse_moment(text: str, context: TimeContext) -> Moment:
    """Return the moment that a text means.

    Args:
        text: `now`, `today`, `yesterday`, `boot`, the name of a weekday, a duration (that long
            before now), a date or time in the form of ISO 8601 with the name or the offset of a
            zone if any, or a number of seconds since the epoch, perhaps behind `@`.

    Raises:
        ConfigError: The text is none of these, or the time does not exist in its zone, or exists
            twice.
    """
    word = text.strip()
    try:
        found = _parse(word, context)
    except (ValueError, OverflowError, OSError):
        found = None
    if found is not None:
        return found
    if (close := closest(word, _WORDS, 0.7)) is not None:
        raise ConfigError(f"{text!r} is no time; did you mean {close!r}?")
    raise ConfigError(
        "expected a time such as 1h, yesterday, monday, 2026-11-23, '2026-11-23 14:30'"
        f" or 14:30, got {text!r}"
    )


def _parse(word: str, context: TimeContext) -> Moment | None:
    folded = word.casefold()
    if folded == "now":
        return Moment(context.now, context.now)
    if folded == "boot":
        return _boot(context)
    if (day := _named_day(folded, context)) is not None:
        return _day(day, context.zone)
    if re.fullmatch(r"@?-?\d+(\.\d*)?", word, re.ASCII):
        return _epoch(word)
    if match := re.fullmatch(_MONTH, word, re.ASCII):
        first = date(int(match[1]), int(match[2]), 1)
        following = (first + 31 * _DAY).replace(day=1)
        return Moment(_midnight(first, context.zone), _midnight(following, context.zone))
    try:
        before = context.now - parse_duration(folded.removeprefix("-").removesuffix(" ago"))
    except ValueError:
        return _date_and_time(word, context)
    return Moment(before, before)


def _boot(context: TimeContext) -> Moment:
    if context.boot is None:
        raise ConfigError("'boot' is the last start of the server, which is not known here")
    return Moment(context.boot, context.boot)


def _named_day(word: str, context: TimeContext) -> date | None:
    """Return the day of a word, which is today or before; None if it is no such word."""
    today = datetime.fromtimestamp(context.now, context.zone).date()
    if word in ("today", "yesterday"):
        return today if word == "today" else today - _DAY
    if word in _WEEKDAYS:
        return today - (today.weekday() - _WEEKDAYS.index(word)) % 7 * _DAY
    return None


def _epoch(word: str) -> Moment | None:
    seconds = float(word.removeprefix("@"))
    if not word.startswith("@") and seconds < _EARLIEST_NUMBER:
        raise ConfigError(
            f"{word!r} is no time; for seconds since the epoch write @{word},"
            f" for a duration give its unit, as in {word}s"
        )
    return Moment(seconds, seconds)


def _date_and_time(word: str, context: TimeContext) -> Moment | None:
    match = re.fullmatch(_DATE_AND_TIME, word, re.ASCII)
    if match is None or not (match["date"] or match["clock"]):
        return None
    zone = context.zone if match["zone"] is None else _zone(match["zone"])
    day = (
        date.fromisoformat(match["date"])
        if match["date"]
        else datetime.fromtimestamp(context.now, zone).date()
    )
    if match["clock"] is None:
        return _day(day, zone)
    return _clock(day, match["clock"], zone)


def _clock(day: date, text: str, zone: tzinfo | None) -> Moment:
    """Return the moment of a time of day, as exact as it is written."""
    hour_minute, _, fraction = text.replace(",", ".").partition(".")
    local = datetime.combine(day, time.fromisoformat(hour_minute.zfill(len("00:00"))))
    first = _seconds(local, zone) + (float(f"0.{fraction}") if fraction else 0.0)
    if len(fraction) >= 6:  # a float has no more digits: take the nearest microsecond
        return Moment(first - 5e-7, first + 5e-7)
    if fraction:
        return Moment(first, first + 10.0 ** -len(fraction))
    return Moment(first, first + (1.0 if text.count(":") == 2 else 60.0))


def _zone(text: str) -> tzinfo:
    if text in ("Z", "z"):
        return UTC
    if text[0] in "+-":
        digits = text[1:].replace(":", "").ljust(4, "0")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        return timezone(-offset if text[0] == "-" else offset)
    return parse_zone(text)


def parse_zone(name: str) -> ZoneInfo:
    """Return a time zone by its name in the IANA database, as in `Europe/Berlin`.

    Raises:
        ConfigError: There is none of this name.
    """
    import zoneinfo  # it takes a while to import, and few queries name a zone

    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        close = closest(name, [*zoneinfo.available_timezones(), *_WORDS], 0.7)
        hint = f"; did you mean {close!r}?" if close is not None else ""
        raise ConfigError(f"there is no time zone {name!r}{hint}") from None


def _day(day: date, zone: tzinfo | None) -> Moment:
    return Moment(_midnight(day, zone), _midnight(day + _DAY, zone))


def _midnight(day: date, zone: tzinfo | None) -> float:
    return datetime.combine(day, _MIDNIGHT, zone).timestamp()


def _seconds(local: datetime, zone: tzinfo | None) -> float:
    """Return the seconds since the epoch of a time of a zone.

    Raises:
        ConfigError: A change of the clocks makes it exist twice, or not at all.
    """
    passes = [local.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
    first, second = (each.timestamp() for each in passes)
    if first == second:
        return first
    shown = local.isoformat("T", "minutes")
    if first > second:
        raise ConfigError(f"{shown} does not exist: the clocks were put forward then")
    offsets = [f"{each.astimezone(zone):%z}" for each in passes]
    choices = " or ".join(f"{shown}{offset[:3]}:{offset[3:]}" for offset in offsets)
    raise ConfigError(f"{shown} was twice: the clocks were put back then; write {choices}")
