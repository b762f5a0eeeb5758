"""Sums: the oldest rows of a table become one row per reason, so that the table stays bounded."""

from __future__ import annotations

from fastlog.database import Execute
from fastlog.ledger import limits
from fastlog.ledger.limits import MAX_COUNT, VARIOUS


def total(expression: str) -> str:
    """Return SQL for the sum over rows; it is at most `MAX_COUNT`, where `sum` would fail."""
    return f"CAST(max(-{MAX_COUNT}, min(total({expression}), {MAX_COUNT})) AS INTEGER)"


def newest_rowid(execute: Execute, table: str) -> int:
    """Return the greatest rowid of a table, sums not counted; 0 when there is no row."""
    found = execute(f"SELECT ifnull(max(rowid), 0) FROM {table}")  # noqa: S608 our own
    return max(0, int(found.fetchone()[0]))


def sum_old_rows(execute: Execute, node: str, table: str, last: int) -> None:
    """Replace the rows up to a rowid by sums.

    A sink's latest rows stay: its worker may enter those again after it was killed. The sink has
    stored what lies before them.

    Args:
        node: the node whose rows are being entered.
        last: the greatest rowid to be summed.
    """
    if last <= 0:
        return
    old = (
        f"FROM {table} AS t LEFT JOIN entered AS e USING (node, sink)"
        " WHERE t.rowid BETWEEN 1 AND :last"
        " AND (t.sink = '' OR t.node <> :node OR e.offset IS NULL OR t.offset < e.offset)"
    )
    values = {"last": last, "node": node}
    execute(
        "UPDATE entered SET summed = max(summed, old.past) FROM (SELECT t.node, t.sink,"  # noqa: S608
        f" max(t.offset) + 1 AS past {old} AND t.sink <> '' GROUP BY 1, 2) AS old"
        " WHERE entered.node = old.node AND entered.sink = old.sink",
        values,
    )
    first, final = ("first", "last") if table == "losses" else ("received", "received")
    for sums in execute(
        f"SELECT t.reason, {total('t.count')}, min(t.{first}), max(t.{final}) {old}"
        " GROUP BY t.reason, t.count < 0",
        values,
    ).fetchall():
        _add_to_sum(execute, table, *sums)
    execute(f"DELETE FROM {table} WHERE rowid IN (SELECT t.rowid {old})", values)  # noqa: S608
    execute("UPDATE seconds SET shared = NULL WHERE tab = ? AND shared <= ?", (table, last))


def _add_to_sum(
    execute: Execute, table: str, reason: str, count: int, first: float, last: float
) -> None:
    """Add to the sum of a reason, which is created while there are fewer than `MAX_SUMS`."""
    set_times = "first = min(first, :first), last = max(last, :last)"
    if table == "rejected":
        set_times = "received = max(received, :last)"
    values = {"reason": reason, "count": count, "first": first, "last": last}
    (lowest,) = execute(
        f"SELECT ifnull(min(rowid), 0) FROM {table} WHERE rowid < 0"  # noqa: S608
    ).fetchone()
    for name in (reason, VARIOUS):
        values["reason"] = name
        changed = execute(
            f"UPDATE {table} SET count = min(count + :count, {MAX_COUNT}), {set_times}"  # noqa: S608
            " WHERE node = '' AND rowid < 0 AND reason = :reason AND (count < 0) = (:count < 0)",
            values,
        )
        if changed.rowcount:
            return
        if -lowest < limits.MAX_SUMS:
            break
    values["rowid"] = lowest - 1
    rest = ":first, :last, ''"
    names = "rowid, node, offset, idx, sink, peer, reason, count, first, last, detail"
    if table == "rejected":
        rest = ":last, 0, x''"
        names = "rowid, node, offset, idx, sink, peer, reason, count, received, length, raw"
    execute(
        f"INSERT INTO {table} ({names}) VALUES"  # noqa: S608
        f" (:rowid, '', :rowid, 0, '', '', :reason, :count, {rest})",
        values,
    )
