"""Matches: the records of a partition that a query finds, some pages at a time.

The searches of `fastlog.search` are above the sinks, and give rows in order of time. What deletes
needs to know where rows are, in the order in which they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from fastlog.query import EVERYTHING, Node, compile_query
from fastlog.query.tree import columns_of
from fastlog.sinks.postgres_connection import Connection
from fastlog.sinks.postgres_narrowing import PostgresNarrowing
from fastlog.sinks.postgres_rows import selected, with_compact


class Match(NamedTuple):
    """Where a record is, and which one it is."""

    ctid: str
    node: UUID
    offset: int
    idx: int


class Matches:
    """Finds the records of one partition that match a query.

    Args:
        table: The partition, with its schema.
    """

    def __init__(self, connection: Connection, table: str, query: Node) -> None:
        self._connection, self._table = connection, table
        narrowing = PostgresNarrowing(query)
        names = sorted(columns_of(narrowing.rest))
        self._extra = names.index("extra") if "extra" in names else None
        rest = narrowing.rest
        self._is_wanted = None if rest == EVERYTHING else compile_query(rest, names)
        columns = "".join(f", {selected(name)}" for name in names)
        self._sql = (
            f'SELECT ctid::text, node, "offset", idx{columns} FROM {table}'  # noqa: S608 our own text
            f" WHERE ctid >= %s::tid AND ctid < %s::tid AND {narrowing.condition.sql}"
        )
        self._parameters = narrowing.condition.parameters

    def find(self, page: int, end: int) -> list[Match]:
        """Return the records of some pages that match."""
        rows = self._connection.execute(
            self._sql, (f"({page},0)", f"({end},0)", *self._parameters), binary=True
        )
        return [Match._make(row[:4]) for row in rows if self._matches(row[4:])]

    def _matches(self, values: Sequence[Any]) -> bool:
        if self._is_wanted is None:
            return True
        if self._extra is not None:
            values = with_compact(values, self._extra)
        return self._is_wanted(values)

    def deletion(self, found: Sequence[Match]) -> tuple[str, tuple[object, ...]]:
        """Return a DELETE of records, and its parameters."""
        ctids, nodes, offsets, numbers = zip(*found, strict=True)
        # Another row may be at the place meanwhile.
        sql = (
            f"DELETE FROM {self._table} AS r WHERE r.ctid = ANY(%s::tid[])"  # noqa: S608 our own text
            ' AND (r.node, r."offset", r.idx) IN'
            " (SELECT * FROM unnest(%s::uuid[], %s::int8[], %s::int4[]))"
        )
        return sql, ([*ctids], [*nodes], [*offsets], [*numbers])
