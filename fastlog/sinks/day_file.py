"""One day file, open for writing: its schema, and the transactions that move a cursor in it.

A node's cursor moves from file to file. When it moves on, the cursor row of the old file is
*sealed* with the name of the next file, and no block can be stored in a sealed file. So a worker
that still uses the old file fails there. A worker that follows the seal comes to the same next
file as all others, where the compare-and-set decides. The cursor may return to an earlier file:
each entry into a file has a number, the *step*, which rises from one entry to the next. So the row
with the greatest step is where the cursor is, and a late worker cannot enter with a used step.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastlog.database import Execute, checkpoint_pages
from fastlog.errors import SinkConflictError, SinkUnavailableError
from fastlog.files import identity_of, sync_directory, touch
from fastlog.sinks.day_chunks import Chunks, MinuteBounds
from fastlog.sinks.day_cursor import BUSY_TIMEOUT, CursorRow, cursor_of
from fastlog.sinks.day_directory import parse_name
from fastlog.sinks.day_errors import check_regular, translated
from fastlog.sinks.day_migration import migrate, rebuild_chunks
from fastlog.sinks.day_rows import EntryWriter
from fastlog.sinks.day_schema import (
    ERASURES,
    LAST_ID,
    SCHEMA,
    VERSION,
    check_columns,
    read_version,
)

if TYPE_CHECKING:
    from fastlog.decode import Decoded

PAGE = 16384
"""Bytes of a page. Measured: 3.0 µs a record with 16,384, 3.2 with 8,192. Larger ones save more
under load, but each small transaction writes several whole pages."""

_NONE: dict[None, None] = {}
_WAL_LIMIT = 64 << 20
"""Bytes to which the write-ahead log is truncated after a long read transaction let it grow."""

_ENTER = (
    "INSERT INTO cursor (node, offset, step, frames) VALUES (?1, ?2, ?3, ?4)"
    " ON CONFLICT (node) DO UPDATE SET offset = ?2, step = ?3, frames = ?4,"
    " sealed = NULL, sealed_at = NULL WHERE step < ?3"
)
_READ_ERASURES = (
    "SELECT (SELECT value FROM meta WHERE key = ?), (SELECT value FROM meta WHERE key = ?)"
)


class DayFile:
    """A day file that this process writes to, for any number of nodes. A node is named by the id of
    its journal, in hex.

    Every method raises `SinkUnavailableError` when the disk is full, or the file is locked or
    cannot be read or written; nothing was changed then. `SinkConflictError` means that the cursor
    is not where the caller expected it; nothing was changed either.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; create it and its schema if they are missing.

        Args:
            path: its directory exists.
        """
        self.path = path
        self.migrated_from: int | None = None
        """The version of the schema that opening the file has migrated it from."""
        self.commits = 0
        """How many transactions were committed over this connection."""
        self._synced = 0
        """How many of them are durable."""
        self._erasures: int | None = None
        """How often entries were erased, as far as this process knows."""
        name = parse_name(path.name)
        self._bounds = MinuteBounds(0, 0) if name is None else MinuteBounds.around(name.end)
        # For each None that it binds, sqlite3 looks up an adapter; without one it creates and
        # drops two AttributeErrors: a sixth of the time of an insert. The lookup in an empty dict
        # gives None, and costs less than a function in Python.
        sqlite3.register_adapter(type(None), _NONE.get)
        with translated(path):
            check_regular(path)
            touch(path)  # SQLite would create it with the mode that the umask leaves
            self.connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT)
            try:
                self._prepare()
                self._entries = EntryWriter(self.connection)
                self._chunks = Chunks(
                    self.connection, self._bounds, self._entries.sites, self._entries.processes
                )
                self._identity = identity_of(path)
            except BaseException:
                self.connection.close()
                raise

    def read_cursor(self, node: str) -> CursorRow | None:
        """Return the node's cursor in this file; None when it never entered."""
        with translated(self.path):
            return cursor_of(self.connection, node, VERSION)

    def enter(self, node: str, offset: int, step: int, frames: int | None = None) -> None:
        """Move the cursor durably into this file. A repeated call changes nothing.

        Args:
            offset: where the previous file was sealed.
            step: one more than that of the previous file.
            frames: the ordinal of the frame at `offset`, where it is known.
        """
        with self._transaction(durable=True) as execute:
            execute(_ENTER, (node, offset, step, frames))
            cursor = cursor_of(self.connection, node, VERSION)
            if cursor is None or cursor[:3] != (offset, None, step):
                raise SinkConflictError(f"{self.path}: the cursor is already beyond {offset}")

    def undo_enter(self, node: str, offset: int, step: int) -> None:
        """Undo `enter`, after which nothing was stored."""
        with self._transaction(durable=True) as execute:
            execute(
                "DELETE FROM cursor WHERE node = ? AND offset = ? AND step = ? AND sealed IS NULL",
                (node, offset, step),
            )

    def seal_all(self, nodes: Sequence[str], successor: str) -> dict[str, CursorRow]:
        """Close this file durably to further blocks of some nodes; those that are sealed stay so.

        The age of the file does not begin again with this.

        Returns:
            Their rows, as they are then.
        """
        with self._transaction(durable=True) as execute:
            for node in nodes:
                execute(
                    "UPDATE cursor SET sealed = ? WHERE node = ? AND sealed IS NULL",
                    (successor, node),
                )
            rows = {node: cursor_of(self.connection, node, VERSION) for node in nodes}
        return {node: row for node, row in rows.items() if row is not None}

    def enter_all(self, rows: Mapping[str, CursorRow]) -> None:
        """Move the cursors of nodes durably into this file; those that are further stay so.

        Args:
            rows: Where the previous file was sealed.
        """
        with self._transaction(durable=True) as execute:
            for node, row in rows.items():
                execute(_ENTER, (node, row.offset, row.step + 1, row.frames))

    def append(self, node: str, blocks: Sequence[Decoded], start: int) -> int:
        """Store the records of the blocks, and move the cursor from `start` to the end of the last.

        Returns:
            The new cursor.
        """
        last = blocks[-1].block
        end = last.end
        with self._transaction() as execute:
            moved = execute(
                "UPDATE cursor SET offset = ?, frames = ?"
                " WHERE node = ? AND offset = ? AND sealed IS NULL",
                (end, last.index + last.frames, node, start),
            )
            if moved.rowcount != 1:
                raise SinkConflictError(f"{self.path}: the cursor is no longer at {start}")
            self._store(node, blocks)
        return end

    def add(self, node: str, blocks: Sequence[Decoded]) -> None:
        """Store records that no journal of this server has, and leave all cursors as they are.

        Args:
            node: The id of the journal that they came from, or of another source.
        """
        with self._transaction():
            self._store(node, blocks)

    def seal(self, node: str, offset: int, step: int, successor: str, now: float | None) -> None:
        """Close this file durably to further blocks of the node.

        Args:
            successor: the name of the file where its blocks continue.
            now: the wall clock, in seconds since the epoch; None where the age of the file does not
                depend on this.
        """
        with self._transaction(durable=True) as execute:
            sealed = execute(
                "UPDATE cursor SET sealed = ?, sealed_at = ?"
                " WHERE node = ? AND offset = ? AND step = ? AND sealed IS NULL",
                (successor, now, node, offset, step),
            )
            if sealed.rowcount != 1:
                raise SinkConflictError(f"{self.path}: the cursor is no longer open at {offset}")

    def sync(self) -> None:
        """Make everything durable that was committed to this file.

        A commit with synchronous=FULL syncs the write-ahead log, and with it all earlier commits.
        It must change a page for that: SQLite writes nothing, and so syncs nothing, when a row is
        replaced by the same bytes. So it increments a counter.
        """
        with self._transaction(durable=True) as execute:
            execute("UPDATE meta SET value = value + 1 WHERE key = 'synced'")
        if identity_of(self.path) != self._identity:
            raise SinkUnavailableError(f"{self.path} was removed or replaced while it was open")

    def is_durable(self, commits: int) -> bool:
        """Return whether the first so many transactions are durable."""
        return commits <= self._synced

    def truncate_log(self) -> None:
        """Give back the space of the write-ahead log, as far as no reader needs it."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def rebuild(self) -> None:
        """Make the chunks and the counts of the file anew, from its entries."""
        with self._transaction(durable=True):
            rebuild_chunks(self.connection, self._bounds)
        self._chunks.forget()

    def compact(self) -> bool:
        """Give back the space of unused pages, if these are a tenth of the file or more.

        SQLite writes the file anew for that, and needs as much free disk space as the file has.

        Returns:
            Whether the file was written anew.
        """
        execute = self.connection.execute
        with translated(self.path):
            [(unused,)] = execute("PRAGMA freelist_count")
            [(pages,)] = execute("PRAGMA page_count")
            if unused * 10 < pages:
                return False
            execute("VACUUM")
        return True

    def offending(self, node: str, block: Decoded) -> dict[int, str]:
        """Return the rows that SQLite rejects, by `idx`. Each is inserted; all are rolled back."""
        reasons: dict[int, str] = {}
        columns = block.columns
        if columns is None:
            return reasons
        with translated(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                for at, idx in enumerate(columns.idx):
                    try:
                        self._entries.insert(node, [block._replace(columns=columns.only(at))])
                    except sqlite3.OperationalError:
                        raise
                    except (sqlite3.Error, ValueError, OverflowError) as error:
                        reasons[idx] = f"{type(error).__name__}: {error}"
            finally:
                self._roll_back()
        return reasons

    def close(self) -> None:
        """Close the file. SQLite then checkpoints it, unless another connection reads it."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()

    def _prepare(self) -> None:
        execute = self.connection.execute
        version = read_version(self.connection)
        if version is None:
            execute(f"PRAGMA page_size = {PAGE}")
        else:
            check_columns(self.connection, version)
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages(self.path, PAGE)}")
        execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
        execute("PRAGMA cache_size = -16384")
        if version is None:
            execute("BEGIN IMMEDIATE")
            if read_version(self.connection) is None:  # another worker may have been faster
                for statement in SCHEMA:
                    execute(statement)
                execute(
                    "INSERT INTO meta VALUES ('first_minute', ?), ('end_minute', ?)", self._bounds
                )
            execute("COMMIT")
            sync_directory(self.path.parent)
        elif version < VERSION:
            migrate(self.connection, version, self._bounds)
            self.migrated_from = version
        execute("PRAGMA synchronous = NORMAL")

    def _store(self, node: str, blocks: Sequence[Decoded]) -> None:
        used = self._read_erasures()
        last_id = self._chunks.begin(used)
        # Ids of erased entries are not given again: chunks may cover them, and readers have read
        # up to them.
        parts = self._entries.insert(node, blocks, behind=used if last_id < used else None)
        if not parts:
            return
        self._chunks.add(parts)
        created = [time for part in parts for time in (min(part.created), max(part.created))]
        widen = "UPDATE meta SET value = {0}(ifnull(value, ?1), ?1) WHERE key = '{0}_created'"
        self.connection.execute(widen.format("min"), (min(created),))
        self.connection.execute(widen.format("max"), (max(created),))

    def _read_erasures(self) -> int:
        """Forget the ids in memory if another process has erased entries since the last call.

        Returns:
            The greatest id that was in use at an erasure; 0 if there was none.
        """
        [(erasures, last_id)] = self.connection.execute(_READ_ERASURES, (ERASURES, LAST_ID))
        if erasures != self._erasures:
            self._erasures = erasures
            self._entries.forget()
            self._chunks.forget()
        return last_id or 0

    def _roll_back(self) -> None:
        if self.connection.in_transaction:  # after some errors SQLite has rolled it back itself
            self.connection.execute("ROLLBACK")
        self._entries.forget()
        self._chunks.forget()

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[Execute]:
        execute = self.connection.execute
        with translated(self.path):
            if durable:
                execute("PRAGMA synchronous = FULL")
            try:
                execute("BEGIN IMMEDIATE")
                yield execute
                execute("COMMIT")
                self.commits += 1
                if durable:  # and so is every commit before it
                    self._synced = self.commits
            except BaseException:
                self._roll_back()
                raise
            finally:
                if durable:
                    execute("PRAGMA synchronous = NORMAL")
