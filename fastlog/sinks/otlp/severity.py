"""OpenTelemetry's number of a level."""

from __future__ import annotations

from typing import Final

UNSPECIFIED: Final = 0
_FIRST, _LAST = 1, 24


def severity_number(levelno: int | None) -> int:
    """Return the severity number, from 1 (TRACE) to 24 (FATAL4); 0 if there is no level.

    OpenTelemetry has four numbers for each of its six ranges, Python ten numbers from one level to
    the next: DEBUG (10) is 5, INFO 9, WARNING 13, ERROR 17, CRITICAL 21, and levels in between are
    in between, so that the order stays.
    """
    if not levelno:  # NOTSET
        return UNSPECIFIED
    return max(_FIRST, min(_LAST, 4 * levelno // 10 + 1))
