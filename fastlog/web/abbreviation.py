"""Abbreviation: long texts of records, cut for lists. A record by its id is whole."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fastlog.query.evaluate import decode_extra

SMALL: Final = 200
"""Characters of a value of an extra that stays in a long `extra`."""
MOST_NAMES: Final = 100
"""Attributes that stay in a long `extra`."""
LONGEST_VALUE: Final = 1000
"""Characters of the longest value of a field in counts. Longer ones are of no use in a query."""
_ENDS: Final = ("exc_text", "stack_info")
"""Texts that say most at their end."""


def abbreviate(values: dict[str, Any], extra: str, most: int) -> None:
    """Cut the long texts of a record, and enter their lengths as `abbreviated`.

    Args:
        values: The columns of the record; they are changed.
        extra: Its `extra`, as JSON.
        most: Characters of the longest text.
    """
    lengths: dict[str, int] = {}
    for name, value in values.items():
        if isinstance(value, str) and len(value) > most:
            lengths[name] = len(value)
            values[name] = value[-most:] if name in _ENDS else value[:most]
    if len(extra) > most:
        lengths["extra"] = len(extra)
        values["extra"] = _small_parts(decode_extra(extra))
    if lengths:
        values["abbreviated"] = lengths


def _small_parts(extra: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that are short; of long texts their begin."""
    parts: dict[str, Any] = {}
    for name, value in extra.items():
        if len(parts) == MOST_NAMES:
            break
        if len(name) > SMALL:
            continue
        if isinstance(value, str):
            parts[name] = value if len(value) <= SMALL else f"{value[:SMALL]}…"
        elif len(msgspec.json.encode(value)) <= SMALL:
            parts[name] = value
    return parts


def shorten(value: object) -> object:
    """Return a value of a field as counts show it: of a long text the start, and `…`."""
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        return f"{value[:LONGEST_VALUE]}…"
    return value
