"""What the counts of a PostgreSQL store answer, and the rows that must be counted beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from fastlog.query import Node, between, column
from fastlog.query.tree import columns_of, conjuncts
from fastlog.search.grouping import Grouping
from fastlog.search.postgres_coverage import Coverage, Fetch
from fastlog.search.spans import EVER, span_of, without_times
from fastlog.sinks.clauses import Clause, all_of, any_of_clauses
from fastlog.sinks.day_chunks import MINUTE
from fastlog.sinks.postgres_chunks import COUNTED, FIRST_MINUTE, LAST_MINUTE
from fastlog.sinks.postgres_narrowing import PostgresNarrowing

RARE: Final = 300
"""Counts of a level, a logger or a host up to which its minutes are searched each by itself."""


class Source(NamedTuple):
    """What stands for the table of rows in a statement that counts: a subquery with the columns of
    a table of counts, `created`, and `records`, how many one of its rows stands for."""

    sql: str
    parameters: tuple[object, ...]


def sources(
    fetch: Fetch, schema: str, coverage: Coverage, query: Node, groupings: Sequence[Grouping]
) -> list[Source] | None:
    """Return for each grouping what to count; None if the counts do not answer one of them.

    The matches are counted already: the statement needs no condition.

    Args:
        fetch: Executes statements, all in one transaction that sees one state of the database.
    """
    about = _columns_of(query)
    tables = [_table_for(about | {*grouping.columns}) for grouping in groupings]
    if None in tables or any((each.interval or MINUTE) % MINUTE for each in groupings):
        return None
    span = span_of(query)
    if span != EVER or any(each.interval for each in groupings):
        others = fetch(f"SELECT 1 FROM {schema}.host_counts WHERE minute IS NULL LIMIT 1", ())  # noqa: S608 our own text
        if others:
            return None
    whole = PostgresNarrowing(query)
    if not whole.is_exact:
        return None
    made = {table: _source(schema, coverage, query, table) for table in {*tables} if table}
    return [made[table] for table in tables if table]


def can_answer(query: Node) -> bool:
    """Return whether a query is about what is counted, and about more than times."""
    about = _columns_of(query)
    return bool(about) and _table_for(about) is not None and PostgresNarrowing(query).is_exact


def _columns_of(query: Node) -> set[str]:
    """Return the columns that a query is about, besides the times that `span_of` states."""
    return set[str]().union(*map(columns_of, conjuncts(without_times(query))))


def adjacent(minutes: list[int]) -> Iterator[tuple[float, float]]:
    """Yield the spans of these minutes in order of time. Adjacent minutes are one span."""
    for _, run in groupby(enumerate(minutes), lambda pair: pair[1] - pair[0]):
        some = [minute for _, minute in run]
        yield float(some[0] * MINUTE), float((some[-1] + 1) * MINUTE)


def rare_minutes(fetch: Fetch, schema: str, coverage: Coverage, query: Node) -> list[int] | None:
    """Return the minutes in which covered records match, in order; None if they are many.

    Args:
        query: One that the counts `can_answer`.
    """
    rest = PostgresNarrowing(without_times(query))
    table = _table_for(_columns_of(query))
    since, until = (each / MINUTE for each in span_of(query))
    where = all_of(
        [
            Clause("day = ANY(%s)", (coverage.days,)),
            Clause(
                "(minute IS NULL OR minute BETWEEN %s AND %s)",
                (max(FIRST_MINUTE, math.floor(max(since, 0))), int(min(until, LAST_MINUTE))),
            ),
            rest.condition,
        ]
    )
    rows = fetch(
        f"SELECT minute FROM {schema}.{table} WHERE {where.sql} LIMIT {RARE + 1}",  # noqa: S608 our own text
        where.parameters,
    )
    if len(rows) > RARE or (None,) in rows:
        return None
    return sorted({minute for (minute,) in rows})


def _table_for(columns: set[str]) -> str | None:
    """Return the smallest table that counts by these columns; None if none does."""
    return next((table for table in reversed(COUNTED) if columns <= {*COUNTED[table]}), None)


def _source(schema: str, coverage: Coverage, query: Node, table: str) -> Source:
    since, until = span_of(query)
    first = max(FIRST_MINUTE, math.ceil(max(since, 0) / MINUTE))
    end = max(first, math.floor(min(until / MINUTE, LAST_MINUTE)))
    times = [Clause("minute >= %s", (first,))] if since > -math.inf else []
    times += [Clause("minute < %s", (end,))] if until < math.inf else []
    condition = PostgresNarrowing(without_times(query)).condition
    counted = all_of([Clause("day = ANY(%s)", (coverage.days,)), *times, condition])
    # Of the minutes at the ends of the span, a part; and what is not covered.
    edges = [coverage.uncovered]
    if since > -math.inf:
        edges.append(PostgresNarrowing(between(column("created"), since, first * MINUTE)).condition)
    if until < math.inf:
        edges.append(PostgresNarrowing(between(column("created"), end * MINUTE, until)).condition)
    rows = all_of([any_of_clauses(edges), PostgresNarrowing(query).condition])
    columns = ", ".join(COUNTED[table])
    return Source(
        f"(SELECT (minute * {MINUTE})::float8 AS created, {columns}, records"  # noqa: S608 our own text
        f" FROM {schema}.{table} WHERE {counted.sql}"
        f" UNION ALL SELECT created, {columns}, 1 FROM {schema}.records WHERE {rows.sql}) counted",
        (*counted.parameters, *rows.parameters),
    )
