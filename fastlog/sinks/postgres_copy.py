"""COPY of records into a PostgreSQL store, by a sink or an import."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final
from uuid import UUID

from fastlog.decode import copy_rows
from fastlog.sinks.postgres_chunks import cover_added, lock_chunks, read_covered
from fastlog.sinks.postgres_connection import Connection, Target

if TYPE_CHECKING:
    from fastlog.decode import Decoded

_FIELDS: Final = ", ".join(f'"{name}"' for name in copy_rows.FIELDS)


def copy_into(connection: Connection, target: Target, data: Iterable[bytes]) -> None:
    """Store tuples of `copy_rows`. While more of them are made, the database stores the first.

    Raises:
        psycopg.Error: The database cannot store them.
    """
    statement = f"COPY {target.schema}.records ({_FIELDS}) FROM STDIN (FORMAT BINARY)"
    with connection.cursor().copy(statement) as copy:
        copy.write(copy_rows.HEADER)
        for part in data:
            copy.write(part)
        copy.write(copy_rows.TRAILER)


def without_imported(
    connection: Connection, target: Target, node: UUID, blocks: Sequence[Decoded]
) -> list[bytes]:
    """Return the tuples of blocks without the records that an import has added before.

    The records that are left get their chunks here, as far as their journal is covered: it may be,
    beyond the cursor of its sink. So this is done in the transaction that stores them, and has
    moved the cursor.
    """
    known: defaultdict[int, set[int]] = defaultdict(set)
    for offset, idx in connection.execute(
        f'SELECT "offset", idx FROM {target.schema}.records'  # noqa: S608 our own text
        ' WHERE node = %s AND "offset" BETWEEN %s AND %s',
        (node, blocks[0].block.offset, blocks[-1].block.offset),
    ):
        known[offset].add(idx)
    data = [copy_rows.without(each.copy, known[each.block.offset]) for each in blocks]
    lock_chunks(connection, target.schema, node)
    covered = read_covered(connection, target.schema, node)
    records = chain.from_iterable(map(copy_rows.decode, data))
    cover_added(
        connection, target.schema, node, [each for each in records if each.offset < covered]
    )
    return data
