"""The ledger: what was refused and what is known to be lost, in one SQLite file.

Every worker reads the same blocks and so finds the same rejections in them. Each enters them
before its sink commits, and the ledger takes each once: per node it remembers up to which block
everything was entered. (Keys alone would not do, since rows are folded.) What concerns one sink
only, such as a row that it cannot take, is told apart by the sink's name and by its key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec

from fastlog.errors import SinkUnavailableError
from fastlog.files import Identity, identity_of, touch
from fastlog.record import RAW_BYTES, Loss, Rejection, host_of

ROWS_A_SECOND = 10
"""Rejections of one host in one second that get rows of their own; the rest share another one."""
ALL_ROWS_A_SECOND = 100
"""Rows that all hosts together may make in one second; the rest share one for each reason."""
REASONS = 10
"""Reasons that are told apart there; what comes after them shares a row of `VARIOUS`."""
ROWS = 100_000
"""Rows of a table that are kept; what is older is one sum for each reason."""
SUMS = 1000
"""Reasons that are told apart there."""
RAW_ROWS = 10_000
"""Of so many rejections the first bytes are kept; of those before only the rest of the row."""
VARIOUS = "various reasons"

_MEMORY = 60
"""Seconds for which the counts of a second are kept."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS rejected (
    node TEXT NOT NULL, offset INTEGER NOT NULL, idx INTEGER NOT NULL, sink TEXT NOT NULL,
    received REAL NOT NULL, peer TEXT NOT NULL, reason TEXT NOT NULL,
    length INTEGER NOT NULL, count INTEGER NOT NULL, raw BLOB NOT NULL,
    PRIMARY KEY (node, offset, idx, sink)
);
CREATE TABLE IF NOT EXISTS losses (
    node TEXT NOT NULL, offset INTEGER NOT NULL, idx INTEGER NOT NULL, sink TEXT NOT NULL,
    peer TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
    first REAL NOT NULL, last REAL NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (node, offset, idx, sink)
);
CREATE TABLE IF NOT EXISTS entered (
    node TEXT NOT NULL, sink TEXT NOT NULL, offset INTEGER NOT NULL, summed INTEGER NOT NULL,
    PRIMARY KEY (node, sink)
);
CREATE TABLE IF NOT EXISTS seconds (
    node TEXT NOT NULL, tab TEXT NOT NULL, second INTEGER NOT NULL, kind TEXT NOT NULL,
    name TEXT NOT NULL, rows INTEGER NOT NULL, shared INTEGER,
    PRIMARY KEY (node, tab, second, kind, name)
);
"""
"""Rows with a rowid below 0 are sums of what is no longer told one by one; their node is "".

`entered`, for the sink "": up to `offset` all is entered. For another: `offset` is that of its
latest row; its rows before `summed` are in the sums.

`seconds` counts the rows that were made in a second: of a host, of all hosts, and for each reason
of what was too much. `shared` is the rowid of the row that the rest shares.
"""


Execute = Callable[..., sqlite3.Cursor]


class Entry(NamedTuple):
    """A note and where it belongs."""

    offset: int
    """Of the block."""
    idx: int
    """Of the frame in it."""
    note: Rejection | Loss
    sink: str = ""
    """The sink's name, where the note is about one sink; "" where it is about the record."""


class Ledger:
    """The ledger, open for writing; several processes may have it open.

    Methods raise `SinkUnavailableError` while the file cannot be written; nothing was entered then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._file: Identity | None = None
        """Of the open file: another program may remove it."""

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def record(self, node: str, entries: Sequence[Entry], end: int) -> int:
        """Enter the notes, durably, those that were not entered yet.

        Args:
            node: the journal's id.
            entries: in the order of the journal, and all there are between the end of the last
                call (or what another worker entered) and `end`.
            end: the offset behind the last block that was searched for them; an end of a block.

        Returns:
            The offset up to which all was entered before.
        """
        if self._connection is not None and identity_of(self.path) != self._file:
            self.close()
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                known = _Entering(connection, node).enter(entries, end)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            self.close()
            raise SinkUnavailableError(f"ledger {self.path}: {error}") from error
        except OSError as error:
            self.close()
            raise SinkUnavailableError(f"ledger {self.path}: {error.strerror}") from error
        if identity_of(self.path) != self._file:
            raise SinkUnavailableError(f"ledger {self.path} was removed; it is made anew")
        return known

    def close(self) -> None:
        """Close the file; a later call of `record` opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            touch(self.path)  # SQLite would make it as the umask says
            connection = sqlite3.connect(self.path, isolation_level=None, timeout=5.0)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.executescript(_SCHEMA)
            except BaseException:
                connection.close()
                raise
            self._connection, self._file = connection, identity_of(self.path)
        return self._connection


class _Entering:
    """One transaction."""

    def __init__(self, connection: sqlite3.Connection, node: str) -> None:
        self._execute = connection.execute
        self._node = node

    def enter(self, entries: Sequence[Entry], end: int) -> int:
        known, _ = self._entered("")
        before = self._newest("rejected")
        for entry in entries:
            if entry.sink:
                self._enter_for_sink(entry)
            elif entry.offset >= known:
                _Second(self._execute, self._node, entry).enter()
        if end > known:
            self._note("", end)
        for table in ("rejected", "losses"):
            self._sum_up(table, self._newest(table) - ROWS)
        self._execute(
            "UPDATE rejected SET raw = x'' WHERE rowid > ? AND rowid <= ?",
            (max(0, before - RAW_ROWS), self._newest("rejected") - RAW_ROWS),
        )
        return known

    def _newest(self, table: str) -> int:
        found = self._execute(f"SELECT ifnull(max(rowid), 0) FROM {table}")  # noqa: S608 our own
        return max(0, int(found.fetchone()[0]))

    def _entered(self, sink: str) -> tuple[int, int]:
        row = self._execute(
            "SELECT offset, summed FROM entered WHERE node = ? AND sink = ?", (self._node, sink)
        ).fetchone()
        return row or (0, 0)

    def _note(self, sink: str, offset: int) -> None:
        self._execute(
            "INSERT INTO entered VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE"
            " SET offset = max(offset, excluded.offset)",
            (self._node, sink, offset),
        )

    def _enter_for_sink(self, entry: Entry) -> None:
        if entry.offset >= self._entered(entry.sink)[1]:
            _insert(self._execute, self._node, entry)
            self._note(entry.sink, entry.offset)

    def _sum_up(self, table: str, last: int) -> None:
        """Make sums of the rows up to this rowid.

        A sink's latest rows stay: its worker may enter those again, after it was killed. It has
        stored what lies before them.
        """
        if last <= 0:
            return
        old = (
            f"FROM {table} AS t LEFT JOIN entered AS e USING (node, sink)"
            " WHERE t.rowid BETWEEN 1 AND ? AND (t.sink = '' OR t.offset < e.offset)"
        )
        self._execute(
            "UPDATE entered SET summed = max(summed, old.past) FROM (SELECT t.node, t.sink,"  # noqa: S608
            f" max(t.offset) + 1 AS past {old} AND t.sink <> '' GROUP BY 1, 2) AS old"
            " WHERE entered.node = old.node AND entered.sink = old.sink",
            (last,),
        )
        first, final = ("first", "last") if table == "losses" else ("received", "received")
        for sums in self._execute(
            f"SELECT t.reason, sum(t.count), min(t.{first}), max(t.{final}) {old}"
            " GROUP BY t.reason, t.count < 0",
            (last,),
        ).fetchall():
            self._add_to_sum(table, *sums)
        self._execute(f"DELETE FROM {table} WHERE rowid IN (SELECT t.rowid {old})", (last,))  # noqa: S608
        self._execute(
            "UPDATE seconds SET shared = NULL WHERE tab = ? AND shared <= ?", (table, last)
        )

    def _add_to_sum(self, table: str, reason: str, count: int, first: float, last: float) -> None:
        moments = "first = min(first, :first), last = max(last, :last)"
        if table == "rejected":
            moments = "received = max(received, :last)"
        values = {"reason": reason, "count": count, "first": first, "last": last}
        (sums,) = self._execute(
            f"SELECT ifnull(min(rowid), 0) FROM {table} WHERE rowid < 0"  # noqa: S608
        ).fetchone()
        for name in (reason, VARIOUS):
            values["reason"] = name
            changed = self._execute(
                f"UPDATE {table} SET count = count + :count, {moments} WHERE node = ''"  # noqa: S608
                " AND rowid < 0 AND reason = :reason AND (count < 0) = (:count < 0)",
                values,
            )
            if changed.rowcount:
                return
            if -sums < SUMS:
                break
        values["rowid"] = sums - 1
        rest = ":first, :last, ''"
        names = "rowid, node, offset, idx, sink, peer, reason, count, first, last, detail"
        if table == "rejected":
            rest = ":last, 0, x''"
            names = "rowid, node, offset, idx, sink, peer, reason, count, received, length, raw"
        self._execute(
            f"INSERT INTO {table} ({names}) VALUES"  # noqa: S608
            f" (:rowid, '', :rowid, 0, '', '', :reason, :count, {rest})",
            values,
        )


class _Second:
    """One entry, and what else its second has brought."""

    def __init__(self, execute: Execute, node: str, entry: Entry) -> None:
        self._execute, self._node, self._entry = execute, node, entry
        note = entry.note
        rejected = isinstance(note, Rejection)
        self._table = "rejected" if rejected else "losses"
        self._second = int(note.received if isinstance(note, Rejection) else note.last)

    def enter(self) -> None:
        """As a row of its own, or as one more of a row that it shares."""
        note = self._entry.note
        self._execute(
            "DELETE FROM seconds WHERE node = ? AND tab = ? AND second < ?",
            (self._node, self._table, self._second - _MEMORY),
        )
        if note.count < 0:  # no stranger makes these
            _insert(self._execute, self._node, self._entry)
            return
        host = host_of(note.peer)
        rows, shared = self._counted("host", host)
        if isinstance(note, Rejection) and shared is not None and self._add_to(shared):
            return
        if self._counted("all", "")[0] >= ALL_ROWS_A_SECOND:
            self._overflow()
            return
        rowid = _insert(self._execute, self._node, self._entry)
        self._count("all", "", None)
        self._count("host", host, rowid if rows >= ROWS_A_SECOND else None)

    def _overflow(self) -> None:
        reason = self._entry.note.reason
        rows, shared = self._counted("reason", reason)
        if not rows and self._counted("reasons", "")[0] >= REASONS:
            reason = VARIOUS
            rows, shared = self._counted("reason", reason)
        if shared is not None and self._add_to(shared):
            return
        note = msgspec.structs.replace(self._entry.note, peer="", reason=reason)
        if isinstance(note, Rejection):
            note = msgspec.structs.replace(note, length=0, raw=b"")
        rowid = _insert(self._execute, self._node, self._entry._replace(note=note))
        if not rows:
            self._count("reasons", "", None)
        self._count("reason", reason, rowid)

    def _counted(self, kind: str, name: str) -> tuple[int, int | None]:
        """How many rows were counted under this name, and the one that the rest shares."""
        row = self._execute(
            "SELECT rows, shared FROM seconds"
            " WHERE node = ? AND tab = ? AND second = ? AND kind = ? AND name = ?",
            (self._node, self._table, self._second, kind, name),
        ).fetchone()
        return row or (0, None)

    def _count(self, kind: str, name: str, shared: int | None) -> None:
        self._execute(
            "INSERT INTO seconds VALUES (?, ?, ?, ?, ?, 1, ?) ON CONFLICT DO UPDATE"
            " SET rows = rows + 1, shared = excluded.shared",
            (self._node, self._table, self._second, kind, name, shared),
        )

    def _add_to(self, rowid: int) -> bool:
        """Add the entry to a row that stands for several; False when that is not there any more."""
        note = self._entry.note
        last = "" if isinstance(note, Rejection) else " last = max(last, :last),"
        changed = self._execute(
            f"UPDATE {self._table} SET count = count + :count,{last}"  # noqa: S608 our own text
            " reason = iif(reason = :reason, reason, :various) WHERE rowid = :rowid",
            {
                "count": note.count,
                "last": None if isinstance(note, Rejection) else note.last,
                "reason": note.reason,
                "various": VARIOUS,
                "rowid": rowid,
            },
        )
        return bool(changed.rowcount)


def _insert(execute: Execute, node: str, entry: Entry) -> int | None:
    """Insert the row if its key is new.

    Returns:
        Its rowid.
    """
    key = (node, entry.offset, entry.idx, entry.sink)
    note = entry.note
    if isinstance(note, Rejection):
        raw = note.raw[:RAW_BYTES]
        return execute(
            "INSERT OR IGNORE INTO rejected VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, note.received, note.peer, note.reason, note.length, note.count, raw),
        ).lastrowid
    # A sink that was left behind by the journal says so again, with the greater count, until it
    # has stored the next block; it may have forgotten meanwhile how much it was.
    return execute(
        "INSERT INTO losses VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " count = excluded.count, last = max(last, excluded.last), detail = excluded.detail"
        " WHERE sink <> '' AND (excluded.count > count"
        " OR excluded.count < 0 AND excluded.detail <> detail)",
        (*key, note.peer, note.reason, note.count, note.first, note.last, note.detail),
    ).lastrowid
