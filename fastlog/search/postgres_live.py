"""What arrives in a PostgreSQL store: how far each journal is stored, and the records behind that.

The rows of a block and the cursor of its journal are of one transaction. So what is below the
cursor is there, and what comes later is above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from fastlog.query import Node, compile_query
from fastlog.search.around import Identity
from fastlog.search.day_reader import Unread
from fastlog.search.postgres_rows import RowReader, is_at
from fastlog.search.record_store import Arrivals
from fastlog.search.stream import Found, found
from fastlog.sinks.postgres_connection import CHANNEL, Connection
from fastlog.sinks.postgres_narrowing import PostgresNarrowing

INTERVAL: Final = 0.5
"""Seconds between two looks for new records where no notification comes, as behind pgbouncer."""
SPACING: Final = 0.05
"""The least seconds between two looks, however often sinks notify."""
BATCH: Final = 500
"""Records of one batch."""

Position = dict[str, int]
"""For each journal, the offset up to which its records were seen."""


def read_cursors(connection: Connection, schema: str) -> Position:
    """Return how far each journal is stored, that one first which was stored into last."""
    rows = connection.execute(
        f"SELECT replace(node::text, '-', ''), \"offset\" FROM {schema}.cursors"  # noqa: S608 our own text
        " ORDER BY updated DESC"
    )
    return dict(rows.fetchall())


def read_ends(connection: Connection, schema: str) -> Position:
    """Return up to where each journal may have records, those of imports included, in that order.

    What an import adds does not arrive: `read_cursors` does not tell of it.
    """
    rows = connection.execute(
        f"SELECT replace(node::text, '-', ''), greatest(\"offset\", imported)"  # noqa: S608 our own text
        f" FROM {schema}.cursors ORDER BY updated DESC"
    )
    return dict(rows.fetchall())


class PostgresArrivals(Arrivals):
    """Looks for new records. A notification of a sink ends a wait at once.

    Args:
        connection: One of its own, since its session gets the notifications of the sinks.
    """

    def __init__(self, connection: Connection, schema: str, reader: RowReader) -> None:
        self._connection, self._schema, self._reader = connection, schema, reader
        connection.execute(f"LISTEN {CHANNEL}")

    def read(
        self,
        query: Node,
        position: Position,
        unread: Unread | None = None,
        *,
        at_most: int | None = None,
        skipped: Callable[[int], object] = lambda _: None,
    ) -> Iterator[list[Found]]:
        for node, end in read_cursors(self._connection, self._schema).items():
            begin = position.get(node, 0)
            if end > begin:
                yield from read_span(self._reader, query, node, (begin, -1), end, at_most, skipped)
            # After a crash of the server the cursor may be lower: the same blocks are stored again.
            position[node] = max(begin, end)

    def wait(self, pause: Callable[[float], object]) -> None:
        pause(SPACING)
        for _ in self._connection.notifies(timeout=INTERVAL, stop_after=1):
            pass


def read_span(
    reader: RowReader,
    query: Node,
    node: str,
    behind: tuple[int, int],
    end: int,
    at_most: int | None = None,
    skipped: Callable[[int], object] = lambda _: None,
) -> Iterator[list[Found]]:
    """Yield what matches of a journal from after a record up to an offset, in batches, in order.

    Args:
        behind: Offset and number of the record.
        at_most: Of more records, only the newest are looked at.
        skipped: Gets the number of the others.
    """
    first, left_out = reader.last_arrived(node, behind, end, at_most)
    if left_out:
        skipped(left_out)
    narrowing = PostgresNarrowing(query)
    is_wanted = compile_query(narrowing.rest)
    rows = filter(is_wanted, reader.arrived(narrowing.condition, node, first, end))
    while batch := [found(row) for row in islice(rows, BATCH)]:
        yield batch


def missed(
    connection: Connection,
    schema: str,
    reader: RowReader,
    query: Node,
    place: Identity,
    at_most: int,
    skipped: Callable[[int], object],
) -> Iterator[list[Found]]:
    """Yield what arrived after a record, in batches, each journal in order, up to now.

    Which records of another journal arrived before it is not known. So of those, the ones that were
    received at its time or later are yielded: rather twice than never.
    """
    record = next(reader.where(is_at(*place)), None)
    if record is None:
        return
    received = found(record).record.received
    for node, end in read_cursors(connection, schema).items():
        if node == place[0]:
            behind: tuple[int, int] | None = place[1:]
        else:
            behind = reader.before_receipt(node, received)
        if behind is not None:
            yield from read_span(reader, query, node, behind, end, at_most, skipped)
