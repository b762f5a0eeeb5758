"""Parsing of conditions and levels; checks of what is searched for in texts."""

from __future__ import annotations

import logging
import re

from fastlog.config import nearest
from fastlog.errors import ConfigError
from fastlog.query.expressions import compile_regex, compile_text
from fastlog.query.filters import COLUMNS, TIME_COLUMNS, Condition
from fastlog.query.moments import parse_moment

_LEVELS = logging.getLevelNamesMapping()
_CONDITION = re.compile(r"([^=!<>]+?)\s*(!=|>=|<=|=|>|<)\s*(.*)", re.DOTALL)


def parse_level(text: str) -> int:
    """Return the number of a level, which is given by name or number.

    Raises:
        ConfigError: There is no such level.
    """
    if re.fullmatch(r"\d{1,9}", text, re.ASCII):
        return int(text)
    if text.upper() not in _LEVELS:
        raise ConfigError(f"there is no level {text!r}{nearest(text, _LEVELS)}")
    return _LEVELS[text.upper()]


def parse_condition(text: str, now: float) -> Condition:
    """Parse `field=value`; the operator may also be `!=`, `>`, `<`, `>=` or `<=`.

    Args:
        now: seconds since the epoch, for a duration as the value.

    Raises:
        ConfigError: The text is no condition, or names a field that records do not have.
    """
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"expected field=value, got {text!r}")
    field, operator, value = match.groups()
    if field.startswith("extra."):
        if '"' in field or not all(field.split(".")):
            raise ConfigError(f"expected extra.NAME or extra.NAME.NAME, got {field!r}")
    elif field not in COLUMNS:
        hint = nearest(field, [*COLUMNS, "extra.NAME"])
        raise ConfigError(f"there is no field {field!r}{hint}")
    condition = Condition(field, operator, value, now)
    if field in TIME_COLUMNS:
        parse_time(condition)
    return condition


def parse_time(condition: Condition) -> float:
    """Return the value of a condition on a time, in seconds since the epoch.

    The value may be a plain number: seconds since the epoch, as the records show them.

    Raises:
        ConfigError: The value is no time.
    """
    value = condition.value
    return parse_moment(f"@{value}" if parse_number(value) is not None else value, condition.now)


def parse_number(text: str) -> int | float | None:
    """Return the number that a text is; None when it is no number."""
    if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", text, re.ASCII | re.IGNORECASE):
        return float(text)
    return None


def check_regex(pattern: str) -> str:
    """Return the pattern, if it is a regular expression.

    Raises:
        ConfigError: It is not; the text gives the reason.
    """
    compile_regex(pattern)
    return pattern


def check_text(text: str) -> str:
    """Return the text, if it can be searched for.

    Raises:
        ConfigError: It cannot; the text gives the reason.
    """
    compile_text(text)
    return text
