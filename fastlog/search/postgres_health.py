"""Health: whether the tables of a PostgreSQL store are whole, and agree with each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from fastlog.search.postgres_coverage import UNCOVERED, open_bytes, read_journals
from fastlog.sinks.postgres_connection import Connection, Target, one_line, psycopg

_TEXTS: Final = ("message", "exc_text", "stack_info", "extra::text")
"""What may be stored out of line, so that only reading it finds damage."""
_COUNTED: Final = (
    # Reading the length of each text reads all pages.
    "sum(" + " + ".join(f"coalesce(octet_length({text}), 0)" for text in _TEXTS) + ") IS NULL",
    'count(*) FILTER (WHERE r."offset" >= greatest(c."offset", c.imported))',
    "count(*) FILTER (WHERE c.node IS NULL)",
    "count(*) FILTER (WHERE created BETWEEN 0 AND 1e11"
    " AND abs(extract(epoch FROM created_at)::float8 - created) > 1e-5)",
)
_TROUBLES: Final = (
    "{} records are above the cursor of their journal",
    "{} records are of a journal without a row in cursors, and texts are not found in them",
    "{} records have a created_at that differs from created",
)


class PartitionHealth(NamedTuple):
    """The result of examining one partition."""

    name: str
    trouble: str
    """What is wrong, to be printed after its name; "" when it is whole."""


def examine_partitions(
    connection: Connection, target: Target, *, deep: bool
) -> Iterator[PartitionHealth]:
    """Examine each partition, the oldest first.

    Args:
        connection: In autocommit mode: a partition that cannot be read hinders none of the others.
        deep: Read every row. Otherwise only the catalogue is read.

    Raises:
        psycopg.Error: The catalogue cannot be read.
    """
    rows = connection.execute(
        "SELECT relname, inhdetachpending, coalesce((SELECT string_agg(indexrelid::regclass::text,"
        " ', ') FROM pg_index WHERE indrelid = c.oid AND NOT indisvalid), '')"
        " FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
        " WHERE inhparent = to_regclass(%s) ORDER BY relname",
        (f"{target.schema}.records",),
    ).fetchall()
    for name, is_pending, invalid in rows:
        troubles = []
        if is_pending:
            troubles.append("is being detached; a sink finishes that within minutes")
        if invalid:
            troubles.append(f"has an index that is not valid ({invalid}); drop it, or REINDEX it")
        if deep:
            troubles += _read_all(connection, target, name)
        yield PartitionHealth(name, "; ".join(troubles))


def too_much_without_chunks(connection: Connection, target: Target) -> int:
    """Return how many bytes of journals have no chunks; 0 where searches use those that there are.

    Raises:
        psycopg.Error: The database cannot be used.
    """
    journals = read_journals(
        lambda sql, parameters: connection.execute(sql, parameters).fetchall(), target.schema
    )
    size = open_bytes(journals or ())
    return size if size > UNCOVERED else 0


def _read_all(connection: Connection, target: Target, name: str) -> Iterator[str]:
    schema = target.schema
    try:
        row = connection.execute(
            f"SELECT {', '.join(_COUNTED)} FROM {schema}.{name} r"  # noqa: S608 our own text
            f" LEFT JOIN {schema}.cursors c USING (node)"
        ).fetchone()
        assert row is not None
        counts = [
            *zip(_TROUBLES, row[1:], strict=True),
            ("{} records are stored more than once", _doubled(connection, f"{schema}.{name}")),
        ]
        yield from (text.format(records) for text, records in counts if records)
        yield from _differences(connection, schema, name)
    except psycopg.Error as error:
        yield f"cannot be read: {one_line(error)}"


def _doubled(connection: Connection, table: str) -> int:
    row = connection.execute(
        f'SELECT count(*) FROM (SELECT 1 FROM {table} GROUP BY node, "offset", idx'  # noqa: S608 our own text
        " HAVING count(*) > 1) doubled"
    ).fetchone()
    return 0 if row is None else int(row[0])


def _differences(connection: Connection, schema: str, name: str) -> Iterator[str]:
    """Compare how many records chunks and counts have of a partition with its rows."""
    tables = ("chunks", "counts", "host_counts")
    sums = ", ".join(
        f"(SELECT coalesce(sum(records), 0) FROM {schema}.{table} WHERE day = %(day)s)::int8"  # noqa: S608 our own text
        for table in tables
    )
    row = connection.execute(
        f'WITH covered AS (SELECT node, max("end") AS upto FROM {schema}.chunks GROUP BY node)'  # noqa: S608 our own text
        f" SELECT (SELECT count(*) FROM {schema}.{name} r JOIN covered USING (node)"
        f' WHERE r."offset" < upto), {sums}',
        {"day": name[-8:]},
    ).fetchone()
    assert row is not None
    covered, *made = row
    some = [
        f"{table} have {records}"
        for table, records in zip(tables, made, strict=True)
        if records != covered
    ]
    if some:
        yield (
            f"is searched and counted wrongly: of {covered} records, {', '.join(some)};"
            f" repair it with TRUNCATE {', '.join(f'{schema}.{table}' for table in tables)}:"
            " the sinks make them anew"
        )
