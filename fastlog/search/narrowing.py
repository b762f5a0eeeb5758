"""Narrowing: what a query says about the rows of a day file as SQL, and what remains to decide.

Call sites and processes are decided first, each once, by the evaluator: the rows that refer to
those that match are found by their ids. Times are compared by SQLite. All the rest of a query is
decided for each row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from fastlog.query import EVERYTHING, Node, both, compile_query
from fastlog.query.fields import TIMES
from fastlog.query.tree import And, Compares, Not, Or, columns_of, conjuncts
from fastlog.search.layout import RECURRING, Layout, Recurring
from fastlog.sinks.clauses import Clause, all_of, any_of_clauses


def ids_clause(each: Recurring, ids: Iterable[int]) -> Clause:
    """Return the condition that an entry refers to one of these rows."""
    return Clause(f"{each.key} IN (SELECT value FROM json_each(?))", (json.dumps([*ids]),))  # noqa: S608 our own text


class Narrowing:
    """What one file says about a query.

    Args:
        connection: In a transaction, so that all that is read is of one state of the file.
    """

    def __init__(self, connection: sqlite3.Connection, layout: Layout, query: Node) -> None:
        self._connection, self._layout = connection, layout
        self._parts = conjuncts(query)
        self._found: dict[Node, Clause | None] = {}
        self._tables: dict[str, dict[int, tuple[Any, ...]]] = {}

    @cached_property
    def condition(self) -> Clause:
        """A condition on the rows of `layout.source` that holds where the query does."""
        found = (self._superset(part) for part in self._parts)
        return all_of(clause for clause in found if clause is not None)

    @cached_property
    def rest(self) -> Node:
        """What is to be decided for each row that meets the condition."""
        return both(*(part for part in self._parts if self._exact(part) is None))

    @property
    def is_exact(self) -> bool:
        """Whether the condition holds only where the query does."""
        return self.rest == EVERYTHING

    def wanted(self, each: Recurring) -> dict[int, tuple[Any, ...]] | None:
        """Return the rows of a table that entries must refer to, by id.

        None if the query does not restrict them.
        """
        parts = [part for part in self._parts if _is_about(part, each)]
        if not parts or not self._layout.is_split:
            return None
        is_wanted = compile_query(both(*parts), each.columns)
        return {key: row for key, row in self.rows(each).items() if is_wanted(row)}

    def _superset(self, node: Node) -> Clause | None:
        """Return a condition that holds where a part of the query does; None if none is known."""
        if (exact := self._exact(node)) is not None:
            return exact
        if not isinstance(node, And | Or):
            return None
        parts = [self._superset(part) for part in node.parts]
        known = [clause for clause in parts if clause is not None]
        if isinstance(node, And):
            return all_of(known)
        return any_of_clauses(known) if len(known) == len(parts) else None

    def _exact(self, node: Node) -> Clause | None:
        """Return a condition that holds exactly where a part of the query does; None: unknown."""
        if node not in self._found:
            self._found[node] = self._find_exact(node)
        return self._found[node]

    def _find_exact(self, node: Node) -> Clause | None:
        if isinstance(node, Compares) and node.field.name in TIMES:
            return Clause(f"{node.field.name} {node.operator} ?", (node.value,))
        for each in RECURRING if self._layout.is_split else ():
            if _is_about(node, each):
                return self._by_id(each, node)
        if isinstance(node, Not):
            inner = self._exact(node.part)
            return inner and Clause(f"NOT {inner.sql}", inner.parameters)
        if isinstance(node, And | Or):
            parts = [self._exact(part) for part in node.parts]
            known = [clause for clause in parts if clause is not None]
            if len(known) == len(parts):
                return all_of(known) if isinstance(node, And) else any_of_clauses(known)
        return None

    def _by_id(self, each: Recurring, node: Node) -> Clause:
        """Return the condition that an entry refers to a row that matches."""
        is_wanted = compile_query(node, each.columns)
        rows = self.rows(each)
        wanted = [key for key, row in rows.items() if is_wanted(row)]
        if len(wanted) <= len(rows) // 2:
            return ids_clause(each, wanted)
        other = ids_clause(each, rows.keys() - {*wanted})
        return Clause(f"NOT {other.sql}", other.parameters)

    def rows(self, each: Recurring) -> dict[int, tuple[Any, ...]]:
        """Return all rows of a table, by id; they are read once."""
        if each.table not in self._tables:
            self._tables[each.table] = read_recurring(self._connection, each)
        return self._tables[each.table]


def read_recurring(connection: sqlite3.Connection, each: Recurring) -> dict[int, tuple[Any, ...]]:
    """Return the rows of a table of recurring values, by id."""
    names = ", ".join(f"[{name}]" for name in each.columns)
    rows = connection.execute(f"SELECT id, {names} FROM {each.table}")  # noqa: S608 our own text
    return {key: row for key, *row in rows}


def _is_about(node: Node, each: Recurring) -> bool:
    """Return whether a part of a query is about recurring values of one table, and no other."""
    columns = columns_of(node)
    return bool(columns) and columns <= {*each.columns}
