"""What to look for, and the SQL that finds it."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from fastlog.config import nearest
from fastlog.errors import ConfigError
from fastlog.query.moments import parse_moment
from fastlog.record import Record

COLUMNS = (*Record._fields, "node")
"""The columns of the table `records`, in the order in which they are printed."""

_LEVELS = logging.getLevelNamesMapping()
_TIMES = ("created", "received")
_CONDITION = re.compile(r"([^=!<>]+?)\s*(!=|>=|<=|=|>|<)\s*(.*)", re.DOTALL)


class Condition(NamedTuple):
    """`field operator value`, as in `extra.user=77`."""

    field: str
    operator: str
    value: str
    now: float = 0.0
    """What a duration as the value of `created` or `received` counts back from."""


class Filters(NamedTuple):
    """All must match; of several loggers or hosts, one must."""

    since: float | None = None
    """Seconds since the epoch, included."""
    until: float | None = None
    """Seconds since the epoch, not included."""
    level: int | None = None
    """The lowest `levelno`."""
    logger: tuple[str, ...] = ()
    """Names; each stands for itself and all below it."""
    host: tuple[str, ...] = ()
    grep: tuple[str, ...] = ()
    """Text in `message` or `exc_text`, in any case."""
    regex: tuple[str, ...] = ()
    """Python regular expressions, searched for in `message` and `exc_text`."""
    where: tuple[Condition, ...] = ()


class Clause(NamedTuple):
    """A part of a WHERE, and its parameters."""

    sql: str
    parameters: tuple[object, ...] = ()


def parse_level(text: str) -> int:
    """The number of a level's name, or the number itself.

    Raises:
        ConfigError: there is no such level.
    """
    if re.fullmatch(r"\d{1,9}", text, re.ASCII):
        return int(text)
    if text.upper() not in _LEVELS:
        raise ConfigError(f"there is no level {text!r}{nearest(text, _LEVELS)}")
    return _LEVELS[text.upper()]


def parse_condition(text: str, now: float) -> Condition:
    """`field=value`; also `!=`, `>`, `<`, `>=`, `<=`.

    Raises:
        ConfigError: it is no condition, or names a field that records do not have.
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
    if field in _TIMES:
        parse_moment(_as_moment(value), now)
    return Condition(field, operator, value, now)


def clauses(filters: Filters) -> Iterator[Clause]:
    """What each row must fulfil, besides the bounds of time (the search sets those)."""
    if filters.level is not None:
        yield Clause("levelno >= ?", (filters.level,))
    if filters.logger:
        yield _any(map(_below, filters.logger))
    if filters.host:
        yield _any(Clause("host = ?", (host,)) for host in filters.host)
    for text in filters.grep:
        yield _contains(text)
    for pattern in filters.regex:
        yield Clause("(fl_search(?, message) OR fl_search(?, exc_text))", (pattern, pattern))
    for condition in filters.where:
        yield _compare(condition)


def install_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that `clauses` uses beyond SQLite's own."""
    connection.create_function("fl_search", 2, _search, deterministic=True)
    connection.create_function("fl_contains", 2, _has_text, deterministic=True)


def check_regex(pattern: str) -> str:
    """The pattern, if it is a regular expression.

    Raises:
        ConfigError: it is not, and why.
    """
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"not a regular expression: {pattern!r}: {error}") from None
    return pattern


def _search(pattern: str, text: str | None) -> bool:
    return text is not None and re.search(pattern, text) is not None  # re caches the pattern


def _has_text(folded: str, text: str | None) -> bool:
    return text is not None and folded in text.casefold()


def _any(alternatives: Iterator[Clause]) -> Clause:
    parts = list(alternatives)
    parameters = tuple(value for part in parts for value in part.parameters)
    return Clause("(" + " OR ".join(part.sql for part in parts) + ")", parameters)


def _below(logger: str) -> Clause:
    # every name that starts with "logger." lies between it and "logger/", the next character
    return Clause("(name = ? OR name >= ? AND name < ?)", (logger, f"{logger}.", f"{logger}/"))


def _contains(text: str) -> Clause:
    if text.isascii():  # LIKE ignores the case of ASCII only, but is ten times as fast
        escaped = re.sub(r"([\\%_])", r"\\\1", text)
        sql = r"(message LIKE ? ESCAPE '\' OR exc_text LIKE ? ESCAPE '\')"
        return Clause(sql, (f"%{escaped}%",) * 2)
    folded = text.casefold()
    return Clause("(fl_contains(?, message) OR fl_contains(?, exc_text))", (folded, folded))


def _compare(condition: Condition) -> Clause:
    field, operator, value, now = condition
    target, kind = _target(field)
    if field in _TIMES:
        return _ordered(target, operator, parse_moment(_as_moment(value), now))
    number = _number(value)
    if operator in ("=", "!="):
        equal = _equal(target, kind, value, number)
        # a record without the field is not equal to anything
        return equal if operator == "=" else Clause(f"NOT ifnull({equal.sql}, 0)", equal.parameters)
    if number is not None:
        ordered = _ordered(target, operator, number)
        return Clause(f"(typeof({target}) IN ('integer', 'real') AND {ordered.sql})", (number,))
    return Clause(f"(typeof({target}) = 'text' AND {target} {operator} ?)", (value,))


def _ordered(target: str, operator: str, number: float) -> Clause:
    return Clause(f"{target} {operator} ?", (number,))


def _equal(target: str, kind: str | None, value: str, number: int | float | None) -> Clause:
    alternatives = [Clause(f"{target} = ?", (value,))]
    if number is not None:
        alternatives.append(Clause(f"{target} = ?", (number,)))
    if kind is not None and value in ("true", "false", "null"):
        alternatives.append(Clause(f"{kind} = ?", (value,)))
    return _any(iter(alternatives))


def _target(field: str) -> tuple[str, str | None]:
    """The SQL of a field's value, and that of its JSON type where it has one.

    `extra.a.b` is `b` inside `a`, or else the attribute whose name is `a.b`.
    """
    if field == "extra" or not field.startswith("extra."):
        return f"[{field}]", None
    steps = field.removeprefix("extra.").split(".")
    paths = ["$" + "".join(f'."{step}"' for step in steps)]
    if len(steps) > 1:
        paths.append(f'$."{".".join(steps)}"')
    values, kinds = (
        [f"{function}(extra, {_quoted(path)})" for path in paths]
        for function in ("json_extract", "json_type")
    )
    if len(paths) == 1:
        return values[0], kinds[0]
    return f"coalesce({', '.join(values)})", f"coalesce({', '.join(kinds)})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _number(text: str) -> int | float | None:
    if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", text, re.ASCII | re.IGNORECASE):
        return float(text)
    return None


def _as_moment(value: str) -> str:
    """The value of `created` may be seconds since the epoch, as the records show them."""
    return f"@{value}" if _number(value) is not None else value
