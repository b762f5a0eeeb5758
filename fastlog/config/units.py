"""Parse and format sizes and times with units: "64 MiB", "10GB", "30 days", "1h30m"."""

from __future__ import annotations

import math
import re

_SIZES = {
    **dict.fromkeys(("", "b", "byte", "bytes"), 1),
    **dict.fromkeys(("k", "kib"), 1024),
    **dict.fromkeys(("m", "mib"), 1024**2),
    **dict.fromkeys(("g", "gib"), 1024**3),
    **dict.fromkeys(("t", "tib"), 1024**4),
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}
_TIMES = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400.0),
}
SIZE_NAMES = ("bytes", "KiB", "MiB", "GiB", "TiB", "kB", "MB", "GB", "TB")
TIME_NAMES = ("ms", "s", "seconds", "min", "minutes", "hours", "days", "weeks")
"""The units that errors suggest. Others are accepted too."""
MAX_SIZE = (1 << 63) - 1
"""The largest size: no file can have more bytes."""
_AMOUNT = r"\d+(?:\.\d+)?"
_SIZE = re.compile(rf"({_AMOUNT})\s*([a-z]*)", re.ASCII)
_PART = re.compile(rf"({_AMOUNT})\s*([a-z]+)\s*", re.ASCII)


def parse_size(text: str) -> int:
    """Parse a size in bytes. `KiB`, `MiB`, `K`, `M` … are powers of 1024; `kB`, `MB` … of 1000.

    Raises:
        ValueError: the text is not a size, or one of more than `MAX_SIZE` bytes.
    """
    match = _SIZE.fullmatch(text.strip().replace("_", "").lower())
    if match is None or match[2] not in _SIZES:
        raise ValueError(f"not a size: {text!r}")
    amount = float(match[1]) if "." in match[1] else int(match[1])
    size = amount * _SIZES[match[2]]
    if size > MAX_SIZE:
        raise ValueError(f"not a size: {text!r}")
    return int(size)


def parse_duration(text: str) -> float:
    """Parse a time in seconds: one or more numbers with units, or a number of seconds.

    Raises:
        ValueError: the text is not a time.
    """
    rest = text.strip().lower()
    if re.fullmatch(_AMOUNT, rest, re.ASCII):
        seconds = float(rest)
    else:
        seconds, at = 0.0, 0
        while match := _PART.match(rest, at):
            if match[2] not in _TIMES:
                break
            seconds += float(match[1]) * _TIMES[match[2]]
            at = match.end()
        if at != len(rest) or not rest:
            raise ValueError(f"not a time: {text!r}")
    if not math.isfinite(seconds):
        raise ValueError(f"not a time: {text!r}")
    return seconds


def format_size(size: float) -> str:
    """Format a size, such as `64 MiB` or `1.5 GiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{_figure(size)} {unit}"
        size /= 1024
    return f"{_figure(size)} TiB"


def format_duration(seconds: float) -> str:
    """Format a time in the largest unit of which it has at least two, such as `36 hours`."""
    for name, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{_figure(seconds / length)} {name}"
    return f"{_figure(seconds)} s"


def _figure(number: float) -> str:
    """Format with three digits, or more before the decimal point."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"
