"""Erase from a PostgreSQL store: deletes the records that match, some in each transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from typing import Final
from urllib.parse import SplitResult
from uuid import UUID

from fastlog.query import Node
from fastlog.search.postgres import PostgresStore
from fastlog.search.stream import Found
from fastlog.sinks.postgres_chunks import COUNTED
from fastlog.sinks.postgres_connection import (
    Connection,
    connect,
    own_transaction,
    parse_url,
    unavailable,
)
from fastlog.sinks.postgres_erasure import delete_records
from fastlog.sinks.postgres_schema import prepare

BATCH: Final = 1000
"""Records of one transaction."""


def erase(
    url: SplitResult, query: Node, note: Callable[[int], object]
) -> tuple[int, dict[str, int]]:
    """Delete the records of a store that match, and the dead rows that this leaves.

    Args:
        note: gets the number of deleted records after each transaction.

    Returns:
        Their number, and for each journal the greatest offset of a block that had one of them.

    Raises:
        FastlogError: The database cannot be used. What was deleted until then stays deleted.
    """
    target = parse_url(url)
    records, newest = 0, dict[str, int]()
    with closing(connect(target)) as connection, unavailable(target):
        prepare(connection, target)
        found = PostgresStore(url).search(query)
        while some := list(islice(found, BATCH)):
            records += (number := _erase(connection, target.schema, some))
            for each in some:
                offset = each.record.offset
                newest[each.node] = max(offset, newest.get(each.node, 0))
            note(number)
        if records:
            for table in ("records", "chunks", *COUNTED):
                connection.execute(f"VACUUM {target.schema}.{table}")
    return records, newest


def _erase(connection: Connection, schema: str, some: Sequence[Found]) -> int:
    times = [each.record.created for each in some]
    nodes = [UUID(each.node) for each in some]
    # A sink may be making chunks.
    with own_transaction(connection, 0, lock_timeout="60s"):
        return delete_records(
            connection,
            schema,
            {*nodes},
            f"DELETE FROM {schema}.records AS r"  # noqa: S608 our own text
            " USING unnest(%s::uuid[], %s::int8[], %s::int4[]) AS gone (node, at, idx)"
            ' WHERE r.node = gone.node AND r."offset" = gone.at AND r.idx = gone.idx'
            # The index of times finds them.
            " AND r.created_at BETWEEN to_timestamp(%s) - interval '1 second'"
            " AND to_timestamp(%s) + interval '1 second'",
            (
                nodes,
                [each.record.offset for each in some],
                [each.record.idx for each in some],
                *(min(times), max(times)),
            ),
        )
