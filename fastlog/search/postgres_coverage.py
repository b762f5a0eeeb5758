"""Coverage: which records of a PostgreSQL store have chunks and counts, and which have not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from fastlog.sinks.clauses import Clause, any_of_clauses

UNCOVERED: Final = 64 << 20
"""Bytes of journals without chunks up to which these are used: their records are looked at one by
one. A sink leaves about a MiB of its journal, and what arrives in some seconds."""

Fetch = Callable[[str, Sequence[object]], list[Any]]
"""Executes a statement, and returns its rows; none if the search must stop."""


class Coverage(NamedTuple):
    """What chunks and counts cover. Chunks that are made later are not meant."""

    ends: dict[str, int]
    """For each journal, the offset up to which its records are covered."""
    days: list[date]
    """The days whose partitions are attached; the chunks of others are left."""
    uncovered: Clause
    """The condition of the rows that are not covered."""


def read_coverage(fetch: Fetch, schema: str) -> Coverage | None:
    """Return the coverage; None where it is so little that all rows have to be looked at."""
    tables = ", ".join(f"'{schema}.{name}'" for name in ("chunks", "counts", "host_counts"))
    usable = fetch(
        "SELECT bool_and(coalesce(has_table_privilege(to_regclass(name), 'SELECT'), false))"  # noqa: S608 our own text
        f" FROM unnest(ARRAY[{tables}]) name",
        (),
    )
    if usable != [(True,)]:  # an older sink, or a role that may not read them
        return None
    rows = fetch(
        'SELECT c.node::text, "offset",'  # noqa: S608 our own text
        f' (SELECT max("end") FROM {schema}.chunks k WHERE k.node = c.node)'
        f" FROM {schema}.cursors c",
        (),
    )
    open_bytes = sum(cursor - (end or 0) for _, cursor, end in rows)
    if not any(end for *_, end in rows) or open_bytes > UNCOVERED:
        return None
    names = fetch(
        "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
        " WHERE inhparent = to_regclass(%s) AND NOT inhdetachpending AND relname ~ '_[0-9]{8}$'",
        (f"{schema}.records",),
    )
    days = [datetime.strptime(name[-8:], "%Y%m%d").date() for (name,) in names]
    open_parts = [
        Clause('(node = %s AND "offset" >= %s)', (UUID(node), end or 0))
        for node, cursor, end in rows
        if cursor > (end or 0)
    ]
    uncovered = any_of_clauses(open_parts) if open_parts else Clause("false")
    ends = {node.replace("-", ""): end or 0 for node, _, end in rows}
    return Coverage(ends, days, uncovered)
