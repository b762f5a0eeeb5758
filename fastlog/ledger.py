"""The ledger: what was refused and what is known to be lost, in one SQLite file.

Every worker reads the same blocks and so finds the same rejections in them. Each enters them
before its sink commits, and the ledger takes each once: per node it remembers up to which block
everything was entered. (Keys alone would not do, since rows are folded.) What concerns one sink
only, such as a row that it cannot take, is told apart by the sink's name and by its key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from fastlog.errors import SinkUnavailableError
from fastlog.record import Loss, Rejection, host_of

ROWS_A_SECOND = 10
"""Rejections of one host in one second that get rows of their own; the rest share another one."""
RAW_BYTES = 4096
RAW_ROWS = 10_000
"""Of so many rejections the first bytes are kept; of those before only the rest of the row."""

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
CREATE TABLE IF NOT EXISTS recorded (node TEXT PRIMARY KEY, offset INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS folding (
    node TEXT NOT NULL, host TEXT NOT NULL, second INTEGER NOT NULL, rows INTEGER NOT NULL,
    shared INTEGER, PRIMARY KEY (node, host, second)
);
"""
"""`folding` counts a host's rows of a second; `shared` is the rowid of the one that the rest share.
"""


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

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def record(self, node: str, entries: Sequence[Entry], end: int) -> None:
        """Enter the notes, durably, those that were not entered yet.

        Args:
            node: the journal's id.
            entries: in the order of the journal, and all there are between the end of the last
                call (or what another worker entered) and `end`.
            end: the offset behind the last block that was searched for them; an end of a block.
        """
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                _Entering(connection, node).enter(entries, end)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            self.close()
            raise SinkUnavailableError(f"ledger {self.path}: {error}") from error

    def close(self) -> None:
        """Close the file; a later call of `record` opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self.path, isolation_level=None, timeout=5.0)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.executescript(_SCHEMA)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


class _Entering:
    """One transaction."""

    def __init__(self, connection: sqlite3.Connection, node: str) -> None:
        self._execute = connection.execute
        self._node = node

    def enter(self, entries: Sequence[Entry], end: int) -> None:
        known = self._recorded()
        before = self._newest()
        for entry in entries:
            if entry.sink:
                self._insert(entry)
            elif entry.offset >= known:
                if isinstance(entry.note, Rejection):
                    self._fold(entry, entry.note)
                else:
                    self._insert(entry)
        if end > known:
            self._execute("INSERT OR REPLACE INTO recorded VALUES (?, ?)", (self._node, end))
        self._execute(
            "UPDATE rejected SET raw = x'' WHERE rowid > ? AND rowid <= ?",
            (before - RAW_ROWS, self._newest() - RAW_ROWS),
        )

    def _newest(self) -> int:
        return int(self._execute("SELECT ifnull(max(rowid), 0) FROM rejected").fetchone()[0])

    def _recorded(self) -> int:
        row = self._execute("SELECT offset FROM recorded WHERE node = ?", (self._node,)).fetchone()
        return int(row[0]) if row else 0

    def _insert(self, entry: Entry) -> int | None:
        """Insert the row if its key is new.

        Returns:
            Its rowid.
        """
        key = (self._node, entry.offset, entry.idx, entry.sink)
        note = entry.note
        if isinstance(note, Rejection):
            raw = note.raw[:RAW_BYTES]
            return self._execute(
                "INSERT OR IGNORE INTO rejected VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, note.received, note.peer, note.reason, note.length, note.count, raw),
            ).lastrowid
        # A sink that was left behind by the journal says so again, with the greater sum, until it
        # has stored the next block.
        return self._execute(
            "INSERT INTO losses VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " count = excluded.count, last = excluded.last, detail = excluded.detail"
            " WHERE sink <> '' AND excluded.last > last",
            (*key, note.peer, note.reason, note.count, note.first, note.last, note.detail),
        ).lastrowid

    def _fold(self, entry: Entry, note: Rejection) -> None:
        place = (self._node, host_of(note.peer), int(note.received))
        self._execute(
            "DELETE FROM folding WHERE node = ? AND second < ?", (place[0], place[2] - 60)
        )
        self._execute("INSERT OR IGNORE INTO folding VALUES (?, ?, ?, 0, NULL)", place)
        rows, shared = self._execute(
            "SELECT rows, shared FROM folding WHERE node = ? AND host = ? AND second = ?", place
        ).fetchone()
        if shared is not None:
            self._execute(
                "UPDATE rejected SET count = count + ?,"
                " reason = iif(reason = ?, reason, 'various reasons') WHERE rowid = ?",
                (note.count, note.reason, shared),
            )
            return
        rowid = self._insert(entry)
        self._execute(
            "UPDATE folding SET rows = rows + 1, shared = ?"
            " WHERE node = ? AND host = ? AND second = ?",
            (rowid if rows == ROWS_A_SECOND else None, *place),
        )
