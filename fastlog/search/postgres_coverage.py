"""Coverage: which records of a PostgreSQL store have chunks and counts, and which have not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from fastlog.sinks.clauses import Clause, any_of_clauses
from fastlog.sinks.postgres_chunks import COUNTED

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


class Journal(NamedTuple):
    """How much of a journal is stored, and covered."""

    node: str
    cursor: int
    covered: int


def read_journals(fetch: Fetch, schema: str) -> list[Journal] | None:
    """Return all journals; None where chunks cannot be used: there are no tables, or an older
    sink's, or the role may not read them."""
    tables = ", ".join(f"'{schema}.{name}'" for name in ("cursors", "chunks", *COUNTED))
    usable = fetch(
        "SELECT bool_and(coalesce(has_table_privilege(to_regclass(name), 'SELECT'), false))"  # noqa: S608 our own text
        f" FROM unnest(ARRAY[{tables}]) name",
        (),
    )
    if usable != [(True,)]:
        return None
    rows = fetch(
        'SELECT c.node::text, greatest("offset", imported), coalesce((SELECT max("end")'  # noqa: S608 our own text
        f" FROM {schema}.chunks k WHERE k.node = c.node), 0) FROM {schema}.cursors c",
        (),
    )
    return [Journal._make(row) for row in rows]


def open_bytes(journals: Sequence[Journal]) -> int:
    """Return how many bytes of the journals have no chunks."""
    return sum(each.cursor - each.covered for each in journals)


def read_coverage(fetch: Fetch, schema: str) -> Coverage | None:
    """Return the coverage; None where it is so little that all rows have to be looked at."""
    journals = read_journals(fetch, schema)
    if journals is None or open_bytes(journals) > UNCOVERED:
        return None
    if not any(each.covered for each in journals):
        return None
    names = fetch(
        "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
        " WHERE inhparent = to_regclass(%s) AND NOT inhdetachpending AND relname ~ '_[0-9]{8}$'",
        (f"{schema}.records",),
    )
    days = [datetime.strptime(name[-8:], "%Y%m%d").date() for (name,) in names]
    open_parts = [
        # Without the upper bound, pages of journals that are further would be read, too.
        Clause(
            '(node = %s AND "offset" >= %s AND "offset" < %s)',
            (UUID(each.node), each.covered, each.cursor),
        )
        for each in journals
        if each.cursor > each.covered
    ]
    uncovered = any_of_clauses(open_parts) if open_parts else Clause("false")
    ends = {each.node.replace("-", ""): each.covered for each in journals}
    return Coverage(ends, days, uncovered)
