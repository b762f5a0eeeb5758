"""Writing: the entries of one call, in one transaction, each of them once."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from fastlog.ledger import limits
from fastlog.ledger.entry import Entry, insert_entry
from fastlog.ledger.folding import SecondFolding
from fastlog.ledger.sums import newest_rowid, sum_old_rows


class EntryWriter:
    """Writes entries of one node within one transaction of the caller."""

    def __init__(self, connection: sqlite3.Connection, node: str) -> None:
        self._execute = connection.execute
        self._node = node
        self._seconds: dict[str, int] = {}
        """The current second of each table."""

    def write(self, entries: Sequence[Entry], end: int) -> int:
        """Write the entries that are new, and keep the tables within their limits.

        Args:
            entries: as in `Ledger.record`.
            end: as in `Ledger.record`.

        Returns:
            The offset up to which everything was entered before.
        """
        known, _ = self._entered("")
        newest_before = newest_rowid(self._execute, "rejected")
        for entry in entries:
            if entry.sink:
                self._write_for_sink(entry)
            elif entry.offset >= known:
                self._write_for_all(entry)
        if end > known:
            self._set_entered("", end)
        self._delete_old_cursors()
        for table in ("rejected", "losses"):
            last = newest_rowid(self._execute, table) - limits.MAX_ROWS
            sum_old_rows(self._execute, self._node, table, last)
        self._execute(
            "UPDATE rejected SET raw = x'' WHERE rowid > ? AND rowid <= ?",
            (
                max(0, newest_before - limits.RAW_ROWS),
                newest_rowid(self._execute, "rejected") - limits.RAW_ROWS,
            ),
        )
        return known

    def _write_for_all(self, entry: Entry) -> None:
        if entry.notice.count < 0:  # no sender can make these
            insert_entry(self._execute, self._node, entry)
            return
        second = self._second(entry.table, int(entry.received))
        SecondFolding(self._execute, self._node, entry.table, second).enter(entry)

    def _write_for_sink(self, entry: Entry) -> None:
        _, summed = self._entered(entry.sink)
        if entry.offset >= summed:
            insert_entry(self._execute, self._node, entry)
            self._set_entered(entry.sink, entry.offset)

    def _second(self, table: str, second: int) -> int:
        """Return the second that an entry is counted in: the current one, or a new one.

        When the clock is set back by a minute or less, the current second continues, so that a
        swinging clock does not begin a new second with each block. Entries come in the order of
        the journal, so every worker finds the same second.
        """
        current = self._seconds.get(table)
        if current is None:
            current = self._execute(
                "SELECT max(second) FROM seconds WHERE node = ? AND tab = ?", (self._node, table)
            ).fetchone()[0]
        if current is None or not current - limits.CLOCK_STEP_BACK <= second <= current:
            current = second
            self._execute("DELETE FROM seconds WHERE tab = ?", (table,))
        self._seconds[table] = current
        return int(current)

    def _entered(self, sink: str) -> tuple[int, int]:
        """Return the columns `offset` and `summed` of the table `entered`."""
        row = self._execute(
            "SELECT offset, summed FROM entered WHERE node = ? AND sink = ?", (self._node, sink)
        ).fetchone()
        return row or (0, 0)

    def _set_entered(self, sink: str, offset: int) -> None:
        self._execute(
            "INSERT INTO entered VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE"
            " SET rowid = (SELECT max(rowid) + 1 FROM entered),"
            " offset = max(offset, excluded.offset)",
            (self._node, sink, offset),
        )

    def _delete_old_cursors(self) -> None:
        (count,) = self._execute("SELECT count(*) FROM entered").fetchone()
        if count > limits.MAX_CURSORS:
            self._execute(
                "DELETE FROM entered WHERE rowid IN (SELECT rowid FROM entered"
                " WHERE node <> ? OR sink <> '' ORDER BY rowid LIMIT ?)",
                (self._node, count - limits.MAX_CURSORS),
            )
