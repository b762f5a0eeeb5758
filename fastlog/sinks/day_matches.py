"""Matches: the entries of a day file that a query finds, in steps of bounded size.

The searches of `fastlog.search` are above the sinks, and give rows in order of time. What deletes
needs ids, in the order in which the file has them.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Final, NamedTuple

from fastlog.query import EVERYTHING, Node, both, compile_query
from fastlog.query.tree import columns_of, conjuncts
from fastlog.record import PROCESS, SITE
from fastlog.sinks.day_schema import JOIN

STEP: Final = 2048
"""Entries that are looked at in one step."""


class Piece(NamedTuple):
    """Consecutive entries: those of a chunk, or some that no chunk covers."""

    first_id: int
    last_id: int


def pieces(connection: sqlite3.Connection, after: int = 0) -> list[Piece]:
    """Return all entries of a file in pieces, in order.

    Args:
        after: Leave out the pieces that end at this id or before.
    """
    chunks = connection.execute(
        "SELECT first_id, last_id FROM chunks WHERE last_id > ? ORDER BY last_id", (after,)
    )
    found = [Piece(*row) for row in chunks]
    [(covered, last_id)] = connection.execute(
        "SELECT (SELECT ifnull(max(last_id), 0) FROM chunks),"
        " (SELECT ifnull(max(id), 0) FROM entries)"
    )
    for first in range(max(covered, after) + 1, last_id + 1, STEP):
        found.append(Piece(first, min(first + STEP - 1, last_id)))
    return found


class Matches:
    """Finds the entries of one file that match a query.

    Args:
        connection: To a file of the current version.
    """

    def __init__(self, connection: sqlite3.Connection, query: Node) -> None:
        self._connection = connection
        parts = conjuncts(query)
        self._sites = _Recurring(connection, "sites", SITE, parts)
        self._processes = _Recurring(connection, "processes", PROCESS, parts)
        decided = [*self._sites.parts, *self._processes.parts]
        rest = both(*(part for part in parts if part not in decided))
        names = sorted(columns_of(rest))
        self._is_wanted = None if rest == EVERYTHING else compile_query(rest, names)
        columns = ", ".join(["entries.id", *(f"[{name}]" for name in names)])
        # Without columns of other tables, SQLite leaves the joins out.
        self._select = f"SELECT {columns} FROM {JOIN} WHERE entries.id BETWEEN ? AND ?"  # noqa: S608 our own text

    def find(self, piece: Piece) -> list[int]:
        """Return the ids of the entries of a piece that match, in order."""
        conditions, parameters = [self._select], list[object](piece)
        for key, table in (("site_id", self._sites), ("process_id", self._processes)):
            if (wanted := table.wanted()) is not None:
                conditions.append(f"{key} IN (SELECT value FROM json_each(?))")  # noqa: S608 our own text
                parameters.append(json.dumps(sorted(wanted)))
        sql = f"{' AND '.join(conditions)} ORDER BY entries.id"
        is_wanted = self._is_wanted
        rows = self._connection.execute(sql, parameters)
        return [row[0] for row in rows if is_wanted is None or is_wanted(row[1:])]


class _Recurring:
    """The rows of `sites` or `processes` that match the parts of a query which are about them."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        table: str,
        columns: tuple[str, ...],
        parts: tuple[Node, ...],
    ) -> None:
        self.parts = [part for part in parts if columns_of(part) and columns_of(part) <= {*columns}]
        names = ", ".join(f"[{name}]" for name in columns)
        self._connection = connection
        self._select = f"SELECT id, {names} FROM {table} WHERE id > ?"  # noqa: S608 our own text
        self._is_wanted = compile_query(both(*self.parts), columns)
        self._known = 0
        self._wanted: set[int] = set()

    def wanted(self) -> set[int] | None:
        """Return the ids of the rows that match; None if all do. New rows are read each time."""
        if not self.parts:
            return None
        for key, *row in self._connection.execute(self._select, (self._known,)):
            self._known = max(self._known, key)
            if self._is_wanted(row):
                self._wanted.add(key)
        return self._wanted
