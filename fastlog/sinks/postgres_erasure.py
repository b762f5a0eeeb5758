"""Erasure: deletes records of a PostgreSQL store, with what chunks and counts have of them.

All is of one transaction, which also hinders sinks to make chunks of these journals meanwhile. So
rows, chunks and counts agree at every moment, and whatever kills the process, nothing is halved.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import date
from typing import Final, NamedTuple
from uuid import UUID

from fastlog import zstd
from fastlog.sinks.day_chunks import BLANK, LEVEL
from fastlog.sinks.postgres_chunks import COUNTED, KEY, lock_chunks, minute_of, read_covered
from fastlog.sinks.postgres_connection import Connection

_COLUMNS: Final = ("levelno", "levelname", "name", "host")


class _Deleted(NamedTuple):
    """What was deleted with a record."""

    created: float
    offset: int
    idx: int
    node: UUID
    day: date
    levelno: int | None
    levelname: str | None
    name: str | None
    host: str

    @property
    def key(self) -> bytes:
        """The record in the keys of its chunk."""
        return KEY.pack(*self[:3])


def delete_records(
    connection: Connection,
    schema: str,
    nodes: Collection[UUID],
    statement: str,
    parameters: Sequence[object],
) -> int:
    """Delete records, in the transaction of the caller; return how many there were.

    Args:
        nodes: The journals of the records.
        statement: A DELETE from `records` or a partition `AS r`, without RETURNING.
    """
    for node in sorted(nodes):
        lock_chunks(connection, schema, node)
    covered = {node: read_covered(connection, schema, node) for node in nodes}
    rows = connection.execute(
        f'{statement} RETURNING r.created, r."offset", r.idx, r.node, r.received_at::date,'
        f" {', '.join(f'r.{name}' for name in _COLUMNS)}",
        parameters,
    )
    deleted = [_Deleted._make(row) for row in rows]
    in_chunks = [each for each in deleted if each.offset < covered[each.node]]
    _blank_texts(connection, schema, in_chunks)
    _subtract(connection, schema, in_chunks)
    return len(deleted)


def _blank_texts(connection: Connection, schema: str, deleted: Sequence[_Deleted]) -> None:
    """Make the texts of records blank in their chunks; their keys stay."""
    gone: defaultdict[tuple[UUID, date], list[_Deleted]] = defaultdict(list)
    for each in deleted:
        gone[each.node, each.day].append(each)
    for (node, day), some in gone.items():
        offsets, keys = [each.offset for each in some], {each.key for each in some}
        chunks = connection.execute(
            f'SELECT "begin", part, keys, text FROM {schema}.chunks'  # noqa: S608 our own text
            ' WHERE node = %s AND day = %s AND "end" > %s AND "begin" <= %s',
            (node, day, min(offsets), max(offsets)),
        ).fetchall()
        for begin, part, packed, text in chunks:
            size, packed_keys = KEY.size, zstd.decompress(packed)
            hit = [packed_keys[at : at + size] in keys for at in range(0, len(packed_keys), size)]
            if any(hit):
                changed = _blanked(zstd.decompress(text), hit)
                connection.execute(
                    f"UPDATE {schema}.chunks SET text = %s, records = records - %s"  # noqa: S608 our own text
                    ' WHERE node = %s AND "begin" = %s AND part = %s',
                    (zstd.compress(changed, LEVEL), sum(hit), node, begin, part),
                )


def _blanked(text: bytes, hit: Sequence[bool]) -> bytes:
    """Return the text of a chunk without that of the records that are hit."""
    texts = text.split(BLANK[:1])[1:]  # a NUL begins each
    pairs = zip(hit, texts, strict=True)
    return b"".join(BLANK if is_hit else BLANK[:1] + each for is_hit, each in pairs)


def _subtract(connection: Connection, schema: str, deleted: Sequence[_Deleted]) -> None:
    """Take records out of the counts: add negative ones, then add up the rows of these minutes."""
    for table, columns in COUNTED.items():
        counts = Counter(
            (each.day, minute_of(each.created), *(getattr(each, name) for name in columns))
            for each in deleted
        )
        if not counts:
            continue
        names = ", ".join(("day", "minute", *columns))
        statement = f"COPY {schema}.{table} ({names}, records) FROM STDIN"
        with connection.cursor().copy(statement) as copy:
            for key, records in counts.items():
                copy.write_row((*key, -records))
        minutes = {key[1] for key in counts}
        connection.execute(
            f"WITH gone AS (DELETE FROM {schema}.{table} WHERE day = ANY(%s)"  # noqa: S608 our own text
            " AND (minute = ANY(%s) OR (%s AND minute IS NULL)) RETURNING *)"
            f" INSERT INTO {schema}.{table} ({names}, records)"
            f" SELECT {names}, sum(records) FROM gone GROUP BY {names} HAVING sum(records) <> 0",
            (
                sorted({key[0] for key in counts}),
                sorted(minutes - {None}),
                None in minutes,
            ),
        )
