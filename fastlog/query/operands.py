"""Comparisons of a field with a value, as leaves of the tree: what an operator means for each kind.

Errors say what is wrong with the value. They do not say where: the parser adds that.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Final, NamedTuple, cast

from fastlog.config import closest, nearest
from fastlog.errors import ConfigError
from fastlog.query.expressions import compile_regex, compile_text
from fastlog.query.fields import ANYWHERE, NOTE, SPECIAL, Field, Kind, column, resolve
from fastlog.query.moments import TimeContext, parse_moment
from fastlog.query.tree import (
    EVERYTHING,
    Below,
    Compares,
    Contains,
    Equals,
    Exists,
    Matches,
    Node,
    Not,
    Operator,
    any_of,
    both,
    whole,
)

LEVELS: Final = logging.getLevelNamesMapping()
_ADDRESS_BEGIN: Final = r"\d{1,3}(\.\d{1,3}){0,2}\.?"


class Operand(NamedTuple):
    """A value as it is written after an operator."""

    at: int
    """Where it begins in the query."""
    text: str
    """Without quotes and escapes; a `*` in it may be a wildcard, or stand for itself."""
    parts: tuple[str, ...]
    """The texts between the wildcards; just the text if there is no wildcard."""
    is_quoted: bool = False
    is_regex: bool = False

    @property
    def has_wildcard(self) -> bool:
        """Whether any characters may stand somewhere in it."""
        return len(self.parts) > 1

    @property
    def pattern(self) -> str:
        """The expression for a text that has any characters where there is a wildcard."""
        return ".*".join(map(re.escape, self.parts))


def parse_level(text: str) -> int:
    """Return the number of a level, which is given by name or number.

    Raises:
        ConfigError: There is no such level.
    """
    if re.fullmatch(r"\d{1,9}", text, re.ASCII):
        return int(text)
    if text.upper() not in LEVELS:
        raise ConfigError(f"there is no level {text!r}{nearest(text, LEVELS)}")
    return LEVELS[text.upper()]


def parse_number(text: str) -> int | float | None:
    """Return the number that a text is; None when it is no number."""
    if re.fullmatch(r"[+-]?\d{1,4000}", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", text, re.ASCII | re.IGNORECASE):
        return float(text)
    return None


def phrase(text: str) -> Node:
    """Return the leaf for a text in message, traceback or extras.

    Raises:
        ConfigError: The text cannot be looked for.
    """
    return _contains(ANYWHERE, text)


def regex(pattern: str) -> Node:
    """Return the leaf for a regular expression that is found in message, traceback or extras.

    Raises:
        ConfigError: It is none; the text gives the reason.
    """
    return _matches(ANYWHERE, pattern)


def operand_of(text: str) -> Operand:
    """Return a text as a value in which `*` is a wildcard."""
    return Operand(0, text, tuple(text.split("*")))


def word(operand: Operand) -> Node:
    """Return the leaf for a text that names no field.

    Raises:
        ConfigError: The text cannot be looked for.
    """
    if _is_anything(operand):
        return EVERYTHING
    if operand.has_wildcard:
        return _matches(ANYWHERE, f"(?is){'.*?'.join(map(re.escape, operand.parts))}")
    return _contains(ANYWHERE, operand.text)


def check_field(name: str) -> None:
    """Check the name of a field.

    Raises:
        ConfigError: There is none of this name.
    """
    if name not in SPECIAL:
        resolve(name)


def compare(name: str, operator: str, operand: Operand, context: TimeContext) -> Node:
    """Return the tree for `name operator value`. `:` is the same as `=`.

    Raises:
        ConfigError: The field does not exist, or cannot be compared with this value.
    """
    if operator == "!=":
        return Not(compare(name, "=", operand, context))
    if operator == ":":
        operator = "="
    if name == "has":
        return _has(operator, operand)
    if name == "level":
        return _level(operator, operand)
    if name == "logger":
        return _logger(operator, operand)
    field = resolve(name)
    if operator == "=" and _is_anything(operand):
        return Exists(field)
    if field.kind is Kind.TIME:
        return _time(field, operator, operand, context)
    if operator == "=":
        return _EQUALS[field.kind](field, operand)
    return _ordered(field, operator, operand)


def _is_anything(operand: Operand) -> bool:
    return operand.has_wildcard and not any(operand.parts)


def _has(operator: str, operand: Operand) -> Node:
    if operator != "=" or operand.has_wildcard or operand.is_regex:
        raise ConfigError("has: takes the name of a field, as in has:traceback or has:extra.user")
    return Exists(column("levelno") if operand.text == "level" else _named(operand.text))


def _named(name: str) -> Field:
    return column("name") if name == "logger" else resolve(name)


def _level(operator: str, operand: Operand) -> Node:
    name, number = column("levelname"), column("levelno")
    if operator != "=":
        return Compares(number, cast("Operator", operator), parse_level(operand.text))
    if operand.is_regex:
        return _matches(name, operand.text)
    if _is_anything(operand):
        return any_of([Exists(number), Exists(name)])
    if operand.has_wildcard:
        return _matches(name, whole(operand.pattern, ignore_case=True))
    if re.fullmatch(r"\d{1,9}", operand.text, re.ASCII):
        return Equals(number, operand.text, int(operand.text))
    by_name = _matches(name, whole(operand.pattern, ignore_case=True))
    known = LEVELS.get(operand.text.upper())
    if known is not None:
        return any_of([Equals(number, str(known), known), by_name])
    if (meant := _misspelt_level(operand.text)) is not None:
        raise ConfigError(
            f"there is no level {operand.text!r}; did you mean {meant!r}?"
            f" A level of your own is levelname:{operand.text}"
        )
    return by_name


def _misspelt_level(text: str) -> str | None:
    """Return the level that a name is nearly, or abbreviates; None for a name of its own."""
    names = [name.lower() for name in LEVELS]
    begun = [name for name in names if name.startswith(text.lower())]
    return begun[0] if begun else closest(text, names, 0.75)


def _logger(operator: str, operand: Operand) -> Node:
    name = column("name")
    if operator != "=":
        return _ordered(name, operator, operand)
    if operand.is_regex or operand.has_wildcard:
        return Exists(name) if _is_anything(operand) else _equals_text(name, operand)
    if not operand.text:
        raise ConfigError("the name of a logger is empty; logger:* is any, NOT logger:* is none")
    return Below(name, operand.text)


def _time(field: Field, operator: str, operand: Operand, context: TimeContext) -> Node:
    if operand.is_regex or operand.has_wildcard:
        raise ConfigError(
            f"{field.name} is a time: compare it, as in {field.name}>1h, {field.name}:2026-11-23"
            f" or {field.name}:[yesterday TO now]"
        )
    first, end = parse_moment(operand.text, context)
    from_first = Compares(field, ">=", first)
    before_end = Compares(field, "<" if end > first else "<=", end)
    if operator == "=":
        return both(from_first, before_end)
    if operator in (">=", "<="):
        return from_first if operator == ">=" else before_end
    if operator == "<":
        return Compares(field, "<", first)
    return Compares(field, ">=" if end > first else ">", end)


def _ordered(field: Field, operator: str, operand: Operand) -> Node:
    if operand.is_regex or operand.has_wildcard:
        raise ConfigError(f"{operator} takes a value as it is; use {field.name}:VALUE here")
    number = None if operand.is_quoted else parse_number(operand.text)
    if field.kind is Kind.NUMBER and number is None:
        number = _number(field, operand)
    is_number = number is not None and field.kind in (Kind.NUMBER, Kind.EXTRA)
    value = number if is_number else operand.text
    assert value is not None
    return Compares(field, cast("Operator", operator), value)


def _number(field: Field, operand: Operand) -> int | float:
    number = parse_number(operand.text)
    if number is None and field.name == "levelno":
        number = parse_level(operand.text)
    if number is None:
        raise ConfigError(f"{field.name} is a number, got {operand.text!r}")
    return number


def _equals_number(field: Field, operand: Operand) -> Node:
    if operand.is_regex or operand.has_wildcard:
        return _equals_text(field, operand)
    return Equals(field, operand.text, _number(field, operand))


def _equals_text(field: Field, operand: Operand) -> Node:
    if operand.is_regex:
        return _matches(field, operand.text)
    if operand.has_wildcard:
        return _matches(field, whole(operand.pattern, ignore_case=False))
    if field.name == "host" and re.fullmatch(_ADDRESS_BEGIN, operand.text, re.ASCII):
        begin = operand.text.rstrip(".")
        raise ConfigError(
            f"{operand.text} is no whole address; host:{begin}.* matches all that begin with it"
        )
    return Equals(field, operand.text, None)


def _equals_extra(field: Field, operand: Operand) -> Node:
    if operand.is_regex or operand.has_wildcard:
        return _equals_text(field, operand)
    return Equals(field, operand.text, parse_number(operand.text))


def _contained(field: Field, operand: Operand) -> Node:
    if operand.is_regex:
        return _matches(field, operand.text)
    if operand.has_wildcard and field is not NOTE:
        return _matches(field, whole(operand.pattern, ignore_case=True))
    if operand.has_wildcard:
        return _matches(field, f"(?is){operand.pattern}")
    return _contains(field, operand.text)


_EQUALS: Final[dict[Kind, Callable[[Field, Operand], Node]]] = {
    Kind.TEXT: _equals_text,
    Kind.CONTAINED: _contained,
    Kind.NUMBER: _equals_number,
    Kind.EXTRA: _equals_extra,
}


def _contains(field: Field, text: str) -> Node:
    if not text:
        raise ConfigError("the text is empty, and every record would match; leave it out")
    compile_text(text)
    return Contains(field, text)


def _matches(field: Field, pattern: str) -> Node:
    if not pattern:
        raise ConfigError("the regular expression is empty, and every record would match")
    compile_regex(pattern)
    return Matches(field, pattern)
