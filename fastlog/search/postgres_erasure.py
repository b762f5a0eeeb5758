"""Erase from a PostgreSQL store: deletes the records that match, some in each transaction.

A transaction also makes the texts of their chunks blank in their places, and takes them out of the
counts. Meanwhile no sink makes chunks of the same journals.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date
from itertools import islice
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult
from uuid import UUID

from fastlog import zstd
from fastlog.query import Node
from fastlog.search.postgres import PostgresStore
from fastlog.search.stream import Found
from fastlog.sinks.day_chunks import BLANK, LEVEL
from fastlog.sinks.postgres_chunks import COUNTED, KEY, lock_chunks, minute_of, read_covered
from fastlog.sinks.postgres_connection import (
    Connection,
    Target,
    connect,
    local_settings,
    parse_url,
    unavailable,
)
from fastlog.sinks.postgres_schema import prepare

BATCH: Final = 1000
"""Records of one transaction."""
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
            records += (number := _erase(connection, target, some))
            for each in some:
                offset = each.record.offset
                newest[each.node] = max(offset, newest.get(each.node, 0))
            note(number)
        if records:
            for table in ("records", "chunks", *COUNTED):
                connection.execute(f"VACUUM {target.schema}.{table}")
    return records, newest


def _erase(connection: Connection, target: Target, some: Sequence[Found]) -> int:
    nodes = sorted({UUID(each.node) for each in some})
    with connection.transaction():
        connection.execute(f"SELECT {local_settings(statement_timeout='0')}")
        for node in nodes:
            lock_chunks(connection, target.schema, node)
        covered = {node: read_covered(connection, target, node) for node in nodes}
        deleted = _delete(connection, target.schema, some)
        in_chunks = [each for each in deleted if each.offset < covered[each.node]]
        _blank_texts(connection, target.schema, in_chunks)
        _subtract(connection, target.schema, in_chunks)
    return len(deleted)


def _delete(connection: Connection, schema: str, some: Sequence[Found]) -> list[_Deleted]:
    times = [each.record.created for each in some]
    rows = connection.execute(
        f"DELETE FROM {schema}.records AS r"  # noqa: S608 our own text
        " USING unnest(%s::uuid[], %s::int8[], %s::int4[]) AS gone (node, at, idx)"
        ' WHERE r.node = gone.node AND r."offset" = gone.at AND r.idx = gone.idx'
        # The index of times finds them.
        " AND r.created_at BETWEEN to_timestamp(%s) - interval '1 second'"
        " AND to_timestamp(%s) + interval '1 second'"
        ' RETURNING r.created, r."offset", r.idx, r.node, r.received_at::date,'
        f" {', '.join(f'r.{name}' for name in _COLUMNS)}",
        (
            [each.node for each in some],
            [each.record.offset for each in some],
            [each.record.idx for each in some],
            *(min(times), max(times)),
        ),
    )
    return [_Deleted._make(row) for row in rows]


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
            changed = _blanked(zstd.decompress(packed), zstd.decompress(text), keys)
            if changed is not None:
                connection.execute(
                    f"UPDATE {schema}.chunks SET text = %s"  # noqa: S608 our own text
                    ' WHERE node = %s AND "begin" = %s AND part = %s',
                    (zstd.compress(changed, LEVEL), node, begin, part),
                )


def _blanked(packed: bytes, text: bytes, gone: set[bytes]) -> bytes | None:
    """Return the text of a chunk without that of some records; None if it has none of them."""
    size = KEY.size
    hit = [packed[at : at + size] in gone for at in range(0, len(packed), size)]
    if not any(hit):
        return None
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
        names = ", ".join(("day", "minute", *columns))
        slots = ", ".join(["%s"] * (len(columns) + 3))
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {schema}.{table} ({names}, records) VALUES ({slots})",  # noqa: S608 our own text
                [(*key, -records) for key, records in counts.items()],
            )
        minutes: set[tuple[Any, ...]] = {key[:2] for key in counts}
        for day, minute in minutes:
            connection.execute(
                f"WITH gone AS (DELETE FROM {schema}.{table} WHERE day = %s"  # noqa: S608 our own text
                f" AND {'minute IS NULL' if minute is None else 'minute = %s'} RETURNING *)"
                f" INSERT INTO {schema}.{table} ({names}, records)"
                f" SELECT {names}, sum(records) FROM gone GROUP BY {names}"
                " HAVING sum(records) <> 0",
                (day,) if minute is None else (day, minute),
            )
