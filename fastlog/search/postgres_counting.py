"""Counting of a PostgreSQL store: how many records fall into each group of some groupings.

The database counts where SQL can decide everything: from its counts by minute where these know the
columns, else from the rows. What SQL cannot decide is counted here, record by record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from fastlog.query import COLUMNS, Node
from fastlog.query.fields import TEXTS
from fastlog.search.grouping import Grouping
from fastlog.search.groups import Count, common_step
from fastlog.search.postgres_cancelling import cancelled_by
from fastlog.search.postgres_counts import Source, sources
from fastlog.search.postgres_coverage import read_coverage
from fastlog.search.postgres_rows import RowReader
from fastlog.search.rows import Row
from fastlog.sinks.postgres_connection import Connection, psycopg
from fastlog.sinks.postgres_narrowing import PostgresNarrowing
from fastlog.sinks.postgres_rows import key_of

_BEGIN: Final = "begin"
"""The key of a bar of a histogram, beside the columns."""
_Numbered = list[tuple[int, Grouping]]
"""Groupings with their numbers."""


def count_groups(
    connection: Connection,
    schema: str,
    reader: RowReader,
    query: Node,
    groupings: Sequence[Grouping],
) -> Iterator[Count]:
    """Count the records that match. A group may be yielded several times.

    Args:
        connection: In autocommit mode.
        reader: Of the same connection.
    """
    narrowing, step = PostgresNarrowing(query), common_step(groupings)
    numbered = list(enumerate(groupings))
    if not narrowing.is_exact or any({*each.columns} & {*TEXTS} for each in groupings):
        groupers = [(number, each.grouper(COLUMNS)) for number, each in numbered]
        for row in reader.matches(query, newest_first=True):
            begin = None if step is None else int(row[0]) // step * step
            for number, group in groupers:
                yield Count(number, group(row, begin), 1)
        return
    try:
        with cancelled_by(reader.progress, connection), connection.transaction():
            # All statements see one state of the database.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield from _count_in_database(schema, reader, query, numbered)
    except psycopg.OperationalError as error:
        is_cancelled = isinstance(error, psycopg.errors.QueryCanceled) or connection.broken
        if reader.progress.stopped is None or not is_cancelled:
            raise


def _count_in_database(
    schema: str, reader: RowReader, query: Node, numbered: _Numbered
) -> Iterator[Count]:
    groupings = [grouping for _, grouping in numbered]
    coverage = read_coverage(reader.fetch, schema)
    made = coverage and sources(reader.fetch, schema, coverage, query, groupings)
    if made is None:
        condition = PostgresNarrowing(query).condition
        rows = f"(SELECT *, 1 AS records FROM {schema}.records WHERE {condition.sql}) counted"  # noqa: S608 our own text
        yield from _group(reader, Source(rows, condition.parameters), numbered)
        return
    for source in {id(each): each for each in made}.values():
        own = [pair for pair, of in zip(numbered, made, strict=True) if of is source]
        yield from _group(reader, source, own)


def _group(reader: RowReader, source: Source, numbered: _Numbered) -> Iterator[Count]:
    """Let the database count: one scan for all groupings, each a grouping set."""
    groupings = [grouping for _, grouping in numbered]
    step = common_step(groupings)
    keys = {name: key_of(name) for grouping in groupings for name in grouping.columns}
    if step is not None:
        keys[_BEGIN] = f"(floor(trunc(created) / {step}) * {step})::int8"
    own = [[*each.columns, *(() if each.interval is None else (_BEGIN,))] for each in groupings]
    sets = ", ".join(f"({', '.join(keys[name] for name in names)})" for names in own)
    # Which of the keys a row is not grouped by: so rows are told apart.
    mask = f"GROUPING({', '.join(keys.values())})" if keys else "0"
    selected = "".join(f"{key}, " for key in keys.values())
    rows = reader.fetch(
        f"SELECT {selected}{mask}, sum(records)::int8 FROM {source.sql}"  # noqa: S608 our own text
        f" GROUP BY GROUPING SETS ({sets}) ORDER BY sum(records) DESC",
        source.parameters,
    )
    masks = [[name not in names for name in keys] for names in own]
    groupers = [(number, each.grouper(tuple(keys))) for number, each in numbered]
    is_known: set[tuple[int, Row]] = set()
    for *row, mask_of_row, records in rows:
        bits = [bool(mask_of_row >> shift & 1) for shift in reversed(range(len(keys)))]
        if not records or (key := (mask_of_row, tuple(row))) in is_known:
            continue  # of two equal sets
        is_known.add(key)
        begin = None if step is None else row[-1]
        for (number, group), of_grouping in zip(groupers, masks, strict=True):
            if of_grouping == bits:
                yield Count(number, group(row, begin), records)
