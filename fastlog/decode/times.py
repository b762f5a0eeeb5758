"""Readers of dates and times, of the standard library and of others; they give ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any, Final

from fastlog.decode.arguments import (
    all_small,
    is_sequence,
    is_small,
    is_text,
    sent_bytes,
    state_value,
    text_in,
    value_of,
)
from fastlog.decode.copyreg_helpers import unwrap
from fastlog.decode.inert_tree import NAME_LENGTH, Node, dotted, is_object, resolve
from fastlog.decode.work import Work

_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1)  # where datetime64 counts from: it has no zone
_TZFILE: Final = re.compile(r"zoneinfo/([\w+\-/]{1,64})\Z")


def datetime_text(node: Node, work: Work) -> Any:
    """Return the text of `datetime.datetime`, from its ten bytes."""
    raw = _packed(node, 10)
    if raw is None:
        return None
    zone, name = _zone_of(node["args"], work)
    high, low, month, day, hour, minute, second, *micro = raw
    micros = micro[0] << 16 | micro[1] << 8 | micro[2]
    try:
        moment = datetime(high << 8 | low, month & 0x7F, day, hour, minute, second, micros, zone)
    except ValueError:
        return None
    return moment.isoformat() + name


def time_text(node: Node, work: Work) -> Any:
    """Return the text of `datetime.time`, from its six bytes."""
    raw = _packed(node, 6)
    if raw is None:
        return None
    zone, name = _zone_of(node["args"], work)
    try:
        moment = time(raw[0] & 0x7F, raw[1], raw[2], int.from_bytes(raw[3:], "big"), zone)
    except ValueError:
        return None
    return moment.isoformat() + name


def date_text(node: Node, work: Work) -> Any:
    """Return the text of `datetime.date`, from its four bytes."""
    raw = _packed(node, 4)
    try:
        return date(int.from_bytes(raw[:2], "big"), raw[2], raw[3]).isoformat() if raw else None
    except ValueError:
        return None


def timedelta_text(node: Node, work: Work) -> Any:
    """Return the text of `datetime.timedelta`, as `str` shows it."""
    delta = _delta(node)
    return None if delta is None else str(delta)


def struct_time_text(node: Node, work: Work) -> Any:
    """Return the text of `time.struct_time`, with its UTC offset if it has one."""
    args = node["args"]
    if not 1 <= len(args) <= 2 or not all_small(args[0], 9):
        return None
    offset = value_of(args[1], "tm_gmtoff") if len(args) == 2 else None
    delta = _seconds(offset)
    year, month, day, hour, minute, second = args[0][:6]
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59))
        return moment.replace(tzinfo=None if delta is None else timezone(delta)).isoformat()
    except (ValueError, OverflowError):
        return None


def zone_text(node: Node, work: Work) -> Any:
    """Return the text of a zone: its name, or its offset as `datetime.timezone` shows it."""
    zone, name = _zone(node, work)
    return str(zone) if zone else name[1:-1]


def _packed(node: Node, length: int) -> bytes | None:
    """Return the packed state of a datetime, date or time: its first argument."""
    if not 1 <= len(node["args"]) <= 2:
        return None
    state = sent_bytes(node["args"][0], length)
    return state if state is not None and len(state) == length else None


def _delta(node: Any) -> timedelta | None:
    if not is_object(node) or not all_small(node["args"], 3):
        return None
    if dotted(node["class"]) != "datetime.timedelta":
        return None
    try:
        return timedelta(*node["args"])
    except OverflowError:
        return None


# Zones


def _zone_of(args: Any, work: Work) -> tuple[tzinfo | None, str]:
    return (None, "") if len(args) < 2 or args[1] is None else _zone(args[1], work)


def _zone(node: Any, work: Work) -> tuple[tzinfo | None, str]:
    """Return the zone as an offset if the pickle has it, else its name in brackets.

    The offset of `ZoneInfo("Europe/Berlin")` is in no pickle; it would depend on the tables of the
    server.
    """
    if not is_object(node):
        name = resolve(node["global"]) if type(node) is dict and "global" in node else "…"
        return None, f"[{name}]"
    if type(node["class"]) is str:
        node = unwrap(node, work)
    cls = dotted(node["class"])
    if cls in UTC_ZONES:
        return UTC, ""
    read = _OFFSETS.get(cls)
    offset = read(node) if read else None
    if offset is not None and abs(offset) < _DAY:
        return timezone(offset), ""
    named = _NAMES.get(cls)
    return None, f"[{(named(node) if named else None) or cls}]"


def _first_text(node: Node) -> str | None:
    args = node["args"]
    return text_in(args[0][:NAME_LENGTH]) if args and is_text(args[0]) else None


def _second(node: Node) -> Any:
    return node["args"][1] if len(node["args"]) == 2 else None


def _rule(node: Node) -> str | None:
    """Return the rule of a zone, as POSIX writes one: `EST5EDT`."""
    value = state_value(node, "_s")
    return text_in(value[:NAME_LENGTH]) if is_text(value) else None


def _seconds(value: Any) -> timedelta | None:
    return timedelta(seconds=value) if is_small(value) and abs(value) < 86_400 else None


def _minutes(node: Node) -> timedelta | None:
    value = node["args"][0] if node["args"] else None
    return timedelta(minutes=value) if is_small(value) and abs(value) < 1440 else None


def _local_offset(node: Node) -> timedelta | None:
    if state_value(node, "_hasdst") is not False:
        return None  # it depends on the date
    return _delta(state_value(node, "_std_offset"))


def _file_name(node: Node) -> str | None:
    """Return the name of a zone that dateutil has read from a file."""
    for value in (*node["args"][:4], state_value(node, "_filename")):
        if is_text(value) and (found := _TZFILE.search(text_in(value[-80:]))):
            return found[1]
    return None


UTC_ZONES: Final = frozenset(
    {"pytz._UTC", "dateutil.tz.tz.tzutc", "django.utils.timezone.UTC", "iso8601.iso8601.Utc"}
)
_OFFSETS: Final = {
    "datetime.timezone": lambda node: _delta(node["args"][0]) if node["args"] else None,
    "pytz._p": lambda node: _seconds(node["args"][1]) if len(node["args"]) == 4 else None,
    "pytz.FixedOffset": _minutes,
    "dateutil.tz.tz.tzoffset": lambda node: _delta(_second(node) or state_value(node, "_offset")),
    "dateutil.tz.tz.tzlocal": _local_offset,
}
_NAMES: Final = {
    "zoneinfo.ZoneInfo": _first_text,
    "zoneinfo.ZoneInfo._unpickle": _first_text,
    "backports.zoneinfo.ZoneInfo._unpickle": _first_text,
    "pytz._p": _first_text,
    "dateutil.tz.tz.tzfile": _file_name,
    "dateutil.tz.tz.tzstr": _rule,
    "dateutil.tz._tzfile._unpickle": _file_name,
}


# Times that are numbers

_TICKS: Final = {
    "W": 7 * 86_400,
    "D": 86_400,
    "h": 3600,
    "m": 60,
    "s": 1,
}
"""Seconds in a unit of numpy."""
_PARTS: Final = {"ms": 3, "us": 6, "ns": 9, "ps": 12, "fs": 15, "as": 18}
"""Digits after the decimal point of a unit below the second."""
NOT_A_TIME: Final = -(1 << 63)


def counted_moment(count: int, unit: str, *, zone: tzinfo | None = None) -> str | None:
    """Return the time `count` units after 1970, or None if it has no text.

    Args:
        count: Units, or `NOT_A_TIME`.
        unit: As numpy names it.
        zone: The zone of the result; the count is in UTC then.
    """
    if count == NOT_A_TIME:
        return "NaT"
    if unit in ("Y", "M"):
        months = count * 12 if unit == "Y" else count
        year, month = 1970 + months // 12, months % 12 + 1
        if not 1 <= year <= 9999:
            return None
        return f"{year:04}" if unit == "Y" else f"{year:04}-{month:02}"
    seconds, fraction = _split(count, unit)
    if seconds is None:
        return None
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
        if zone is not None:
            moment = moment.replace(tzinfo=UTC).astimezone(zone)
    except OverflowError:
        return None
    if unit in ("W", "D"):
        return moment.date().isoformat()
    text = moment.isoformat()
    return text[:19] + fraction + text[19:]


def counted_delta(count: int, unit: str) -> str | None:
    """Return `count` units as `str` shows a timedelta, or None if they have no text."""
    if count == NOT_A_TIME:
        return "NaT"
    if unit in ("Y", "M"):
        return f"{count} {'years' if unit == 'Y' else 'months'}"
    seconds, fraction = _split(count, unit)
    if seconds is None:
        return None
    try:
        return f"{timedelta(seconds=seconds)}{fraction}"
    except OverflowError:
        return None


def _split(count: int, unit: str) -> tuple[int | None, str]:
    """Return whole seconds and the text of the fraction: with no, 6, 9, … digits."""
    if unit in _TICKS:
        return count * _TICKS[unit], ""
    digits = _PARTS.get(unit)
    if digits is None:
        return None, ""
    seconds, rest = divmod(count, 10**digits)
    if not rest:
        return seconds, ""
    text = f"{rest:0{digits}}".ljust(6, "0")
    while len(text) > 6 and text.endswith("000"):
        text = text[:-3]
    return seconds, f".{text}"


# pandas

_RESOLUTIONS: Final = {7: "s", 8: "ms", 9: "us", 10: "ns"}
_PERIODS: Final = {
    "YearEnd": "Y", "MonthEnd": "M", "Day": "D", "Hour": "h", "Minute": "m", "Second": "s",
}  # fmt: skip


def timestamp_text(node: Node, work: Work) -> Any:
    """Return the text of `pandas.Timestamp`: with its offset, or in UTC if the pickle has only the
    name of its zone."""
    args = node["args"]
    if not 1 <= len(args) <= 4 or not is_small(args[0]):
        return None
    unit = _RESOLUTIONS.get(args[3]) if len(args) == 4 and is_small(args[3]) else "ns"
    zone, name = _zone(args[2], work) if len(args) > 2 and args[2] is not None else (None, "")
    if unit is None:
        return None
    text = counted_moment(args[0], unit, zone=zone or (UTC if name else None))
    return text and text + name


def pandas_timedelta_text(node: Node, work: Work) -> Any:
    """Return the text of `pandas.Timedelta`."""
    args = node["args"]
    if not 1 <= len(args) <= 2 or not is_small(args[0]):
        return None
    unit = _RESOLUTIONS.get(args[1]) if len(args) == 2 and is_small(args[1]) else "ns"
    return counted_delta(args[0], unit) if unit else None


def period_text(node: Node, work: Work) -> Any:
    """Return the time at which a `pandas.Period` of a common length begins."""
    args = node["args"]
    if len(args) != 3 or not is_small(args[2]) or not is_object(args[1]):
        return None
    frequency = args[1]
    unit = _PERIODS.get(dotted(frequency["class"]).rpartition(".")[2])
    if unit is None or not frequency["args"] or frequency["args"][0] != 1:
        return None
    return counted_moment(args[2], unit)


def not_a_time(node: Node, work: Work) -> Any:
    """Return the text of `pandas.NaT`."""
    return "NaT" if len(node["args"]) < 2 else None


UNIT_LENGTH = 7


def unit_of(args: Any) -> tuple[str, int] | None:
    """Return unit and step of a dtype, from the tuple in its state: `("us", 1, 1, 1)`."""
    if not is_sequence(args) or len(args) < 2 or not is_small(args[1]):
        return None
    unit = sent_bytes(args[0], UNIT_LENGTH)
    return (text_in(unit), args[1]) if unit else None
