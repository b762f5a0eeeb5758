"""Clauses: filters as SQL conditions on the table `records`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fastlog.query.conditions import parse_number, parse_time
from fastlog.query.expressions import compile_regex, compile_text, matches
from fastlog.query.filters import TIME_COLUMNS, Condition, Filters


class Clause(NamedTuple):
    """One condition of a WHERE, and its parameters."""

    sql: str
    parameters: tuple[object, ...] = ()
    column: str = ""
    """The column that it is about; "" where it is about several."""


def clauses(filters: Filters) -> Iterator[Clause]:
    """Yield the conditions that each row must meet, except `since` and `until`."""
    if filters.level is not None:
        yield Clause("levelno >= ?", (filters.level,), "levelno")
    if filters.logger:
        yield _joined("OR", map(_logger_or_below, filters.logger))._replace(column="name")
    if filters.host:
        hosts = (Clause("host = ?", (host,)) for host in filters.host)
        yield _joined("OR", hosts)._replace(column="host")
    for text in filters.grep:
        yield Clause("(fl_contains(?, message) OR fl_contains(?, exc_text))", (text, text))
    for pattern in filters.regex:
        yield Clause("(fl_search(?, message) OR fl_search(?, exc_text))", (pattern, pattern))
    for condition in filters.where:
        yield _compare(condition)._replace(column=condition.field.partition(".")[0])


def all_of(parts: Iterable[Clause]) -> Clause:
    """Return one condition that holds where all of these hold."""
    return _joined("AND", parts)


def install_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that `clauses` uses beyond SQLite's own."""
    connection.create_function("fl_search", 2, _search, deterministic=True)
    connection.create_function("fl_contains", 2, _contains, deterministic=True)


def _search(pattern: str, text: str | None) -> bool:
    return text is not None and matches(compile_regex(pattern), text)


def _contains(part: str, text: str | None) -> bool:
    return text is not None and matches(compile_text(part), text)


def _joined(operator: str, some: Iterable[Clause]) -> Clause:
    parts = list(some)
    parameters = tuple(value for part in parts for value in part.parameters)
    sql = f" {operator} ".join(part.sql for part in parts)
    return Clause(f"({sql})" if parts else "true", parameters)


def _logger_or_below(logger: str) -> Clause:
    # Every name that starts with "logger." sorts between that and "logger/", as "/" follows ".".
    return Clause("(name = ? OR name >= ? AND name < ?)", (logger, f"{logger}.", f"{logger}/"))


def _compare(condition: Condition) -> Clause:
    value_sql, type_sql = _field_sql(condition.field)
    operator, text = condition.operator, condition.value
    if condition.field in TIME_COLUMNS:
        return _ordered(value_sql, operator, parse_time(condition))
    number = parse_number(text)
    if operator in ("=", "!="):
        equal = _equal(value_sql, type_sql, text, number)
        # A record without the field is not equal to anything.
        return equal if operator == "=" else Clause(f"NOT ifnull({equal.sql}, 0)", equal.parameters)
    if number is not None:
        ordered = _ordered(value_sql, operator, number)
        return Clause(f"(typeof({value_sql}) IN ('integer', 'real') AND {ordered.sql})", (number,))
    return Clause(f"(typeof({value_sql}) = 'text' AND {value_sql} {operator} ?)", (text,))


def _ordered(value_sql: str, operator: str, number: float) -> Clause:
    return Clause(f"{value_sql} {operator} ?", (number,))


def _equal(value_sql: str, type_sql: str | None, text: str, number: float | None) -> Clause:
    alternatives = [Clause(f"{value_sql} = ?", (text,))]
    if number is not None:
        alternatives.append(Clause(f"{value_sql} = ?", (number,)))
    if type_sql is not None and text in ("true", "false", "null"):
        alternatives.append(Clause(f"{type_sql} = ?", (text,)))
    return _joined("OR", alternatives)


def _field_sql(field: str) -> tuple[str, str | None]:
    """Return SQL for the value of a field, and SQL for its JSON type, which only extras have.

    `extra.a.b` is `b` inside `a`, or else the attribute whose name is `a.b`.
    """
    if field == "extra" or not field.startswith("extra."):
        return f"[{field}]", None
    steps = field.removeprefix("extra.").split(".")
    paths = ["$" + "".join(f'."{step}"' for step in steps)]
    if len(steps) > 1:
        paths.append(f'$."{".".join(steps)}"')
    values, types = (
        [f"{function}(extra, {_quoted(path)})" for path in paths]
        for function in ("json_extract", "json_type")
    )
    if len(paths) == 1:
        return values[0], types[0]
    return f"coalesce({', '.join(values)})", f"coalesce({', '.join(types)})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
