"""Conditions of SQL with their parameters, and how they are combined."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Clause(NamedTuple):
    """A condition of a WHERE, and its parameters."""

    sql: str
    parameters: tuple[object, ...] = ()


def all_of(parts: Iterable[Clause]) -> Clause:
    """Return one condition that holds where all of these hold."""
    return _joined("AND", list(parts))


def any_of_clauses(parts: Iterable[Clause]) -> Clause:
    """Return one condition that holds where one of these does."""
    return _joined("OR", list(parts))


def _joined(operator: str, parts: list[Clause]) -> Clause:
    if not parts:
        return Clause("true" if operator == "AND" else "false")
    parameters = tuple(value for part in parts for value in part.parameters)
    return Clause(f"({f' {operator} '.join(part.sql for part in parts)})", parameters)
