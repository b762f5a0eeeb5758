"""Folding: the entries of one second that exceed the limits share rows.

The first entries of a host get rows of their own, its further rejections share one row. When all
hosts together reach their limit, further entries share one row per reason. The counters are in the
table `seconds`, so that every worker folds in the same way, also after a restart.
"""

from __future__ import annotations

import msgspec

from fastlog.database import Execute
from fastlog.ledger import limits
from fastlog.ledger.entry import Entry, insert_entry
from fastlog.ledger.limits import MAX_COUNT, VARIOUS
from fastlog.record import Rejection, host_of


class SecondFolding:
    """The rows of one table that one second has produced.

    Args:
        execute: of a connection with an open transaction.
        second: whole seconds since the epoch.
    """

    def __init__(self, execute: Execute, node: str, table: str, second: int) -> None:
        self._execute, self._node = execute, node
        self._table, self._second = table, second

    def enter(self, entry: Entry) -> None:
        """Insert the entry as a row of its own, or add it to a shared row."""
        host = host_of(entry.notice.peer)
        rows, shared = self._counter("host", host)
        if isinstance(entry.notice, Rejection) and shared is not None and self._add(entry, shared):
            return
        if self._counter("all", "")[0] >= limits.ROWS_PER_SECOND:
            self._enter_by_reason(entry)
            return
        rowid = insert_entry(self._execute, self._node, entry)
        self._increment("all", "", None)
        self._increment("host", host, rowid if rows >= limits.HOST_ROWS_PER_SECOND else None)

    def _enter_by_reason(self, entry: Entry) -> None:
        reason = entry.notice.reason
        rows, shared = self._counter("reason", reason)
        if not rows and self._counter("reasons", "")[0] >= limits.REASONS_PER_SECOND:
            reason = VARIOUS
            rows, shared = self._counter("reason", reason)
        if shared is not None and self._add(entry, shared):
            return
        notice = msgspec.structs.replace(entry.notice, peer="", reason=reason)
        if isinstance(notice, Rejection):
            notice = msgspec.structs.replace(notice, length=0, raw=b"")
        rowid = insert_entry(self._execute, self._node, entry._replace(notice=notice))
        if not rows:
            self._increment("reasons", "", None)
        self._increment("reason", reason, rowid)

    def _counter(self, kind: str, name: str) -> tuple[int, int | None]:
        """Return how many rows this counter has, and the rowid of the shared row."""
        row = self._execute(
            "SELECT rows, shared FROM seconds"
            " WHERE node = ? AND tab = ? AND second = ? AND kind = ? AND name = ?",
            (self._node, self._table, self._second, kind, name),
        ).fetchone()
        return row or (0, None)

    def _increment(self, kind: str, name: str, shared: int | None) -> None:
        self._execute(
            "INSERT INTO seconds VALUES (?, ?, ?, ?, ?, 1, ?) ON CONFLICT DO UPDATE"
            " SET rows = rows + 1, shared = excluded.shared",
            (self._node, self._table, self._second, kind, name, shared),
        )

    def _add(self, entry: Entry, rowid: int) -> bool:
        """Add the entry to a shared row; return False when that row no longer exists."""
        notice = entry.notice
        last = None if isinstance(notice, Rejection) else notice.last
        set_last = "" if last is None else " last = max(last, :last),"
        changed = self._execute(
            f"UPDATE {self._table} SET count = min(count + :count, {MAX_COUNT}),{set_last}"  # noqa: S608 our own text
            " reason = iif(reason = :reason, reason, :various) WHERE rowid = :rowid",
            {
                "count": min(notice.count, MAX_COUNT),
                "last": last,
                "reason": notice.reason,
                "various": VARIOUS,
                "rowid": rowid,
            },
        )
        return bool(changed.rowcount)
