"""One day file, open for writing: its schema, and the transactions that move a cursor in it.

A node's cursor walks from file to file. Where it left one, that file's cursor row is *sealed* with
the name of the file where it goes on; no block can enter a sealed file. So a worker that was left
behind and still believes in the old file fails there, and one that follows the seal comes to the
same next file as everybody, where the compare-and-set decides.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fastlog.errors import SinkConflictError, SinkUnavailableError
from fastlog.files import sync_directory, touch
from fastlog.record import Record

if TYPE_CHECKING:
    from fastlog.decode import Decoded

_TYPES = {
    "created": "REAL NOT NULL",
    "received": "REAL NOT NULL",
    "levelno": "INTEGER",
    "lineno": "INTEGER",
    "process": "INTEGER",
    "thread": "INTEGER",
    "offset": "INTEGER NOT NULL",
    "idx": "INTEGER NOT NULL",
}
"""The columns that are not text."""

_COLUMNS = ", ".join(f'"{name}" {_TYPES.get(name, "TEXT")}' for name in Record._fields)

SCHEMA = (
    f"CREATE TABLE records ({_COLUMNS}, node TEXT NOT NULL)",
    "CREATE INDEX records_created ON records (created)",
    "CREATE TABLE cursor (node TEXT PRIMARY KEY, offset INTEGER NOT NULL, sealed TEXT)",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value)",
    "INSERT INTO meta VALUES ('schema', 1), ('min_created', NULL), ('max_created', NULL),"
    " ('synced', 0)",
)
"""`cursor.sealed` is the file where the node's blocks go on, NULL in the file where they are."""

Execute = Callable[..., sqlite3.Cursor]

ROWS = 40
"""Rows of one statement. What a statement costs is shared by its rows: a third of the time of an
insert, measured with 20 as with 50 rows; 40 have 880 values, and even old SQLites take 999."""
PAGE = 8192
"""Bytes of a page. With twice the default there are half as many to be written twice."""

_BUSY_TIMEOUT = 5.0
_CHECKPOINT_PAGES = 2048
_WAL_LIMIT = 64 << 20
"""Bytes to which the write-ahead log shrinks again after a long reader let it grow."""


class Place(NamedTuple):
    """A node's cursor row in a file."""

    offset: int
    sealed: str | None


def read_place(path: Path, node: str) -> Place | None:
    """The node's cursor in a file that may belong to another worker; None when it has none.

    Raises:
        SinkUnavailableError: the file cannot be read. It may hold the greatest cursor, so a sink
            must not go on without it.
    """
    with _translated(path):
        uri = f"{path.absolute().as_uri()}?mode=rw"  # never creates it
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT)
        try:
            if not _has_schema(connection):
                return None
            row = connection.execute(
                "SELECT offset, sealed FROM cursor WHERE node = ?", (node,)
            ).fetchone()
        finally:
            connection.close()
    return Place(*row) if row else None


class DayFile:
    """A day file that this process writes to, for one node.

    Every method raises `SinkUnavailableError` when the disk is full, the file is locked or
    cannot be read or written; nothing was changed then. `SinkConflictError` means that the cursor
    is not where the caller believed it, and nothing was changed either.
    """

    def __init__(self, path: Path, node: str) -> None:
        """Open the file, and create it and its schema where they are missing.

        Args:
            path: its directory exists.
            node: hex; it becomes part of SQL text.
        """
        bytes.fromhex(node)
        self.path = path
        self._node = node
        slots = ", ".join("?" * len(Record._fields))
        names = ", ".join(f'"{name}"' for name in Record._fields)
        # The node as a constant of the statement spares building a tuple for each record.
        # OR FAIL: a statement that fails need not be undone by itself, since the transaction is.
        # Else SQLite would copy each page before it changes, for each statement.
        into = f"INSERT OR FAIL INTO records ({names}, node) VALUES "  # noqa: S608
        row = f"({slots}, '{node}')"
        self._insert, self._insert_many = into + row, into + ", ".join([row] * ROWS)
        # For each None that it binds, sqlite3 looks for an adapter; where there is none, it makes
        # two AttributeErrors and drops them: a sixth of the time of an insert.
        sqlite3.register_adapter(type(None), _as_it_is)
        with _translated(path):
            touch(path)  # SQLite would make it as the umask says
            self.connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_TIMEOUT)
            try:
                self._prepare()
                self._identity = _identity(path)
            except BaseException:
                self.connection.close()
                raise

    def place(self) -> Place | None:
        """The node's cursor here; None when it never entered."""
        with _translated(self.path):
            return self._place()

    def enter(self, offset: int) -> None:
        """Begin here at `offset`, durably, where the file before was sealed. Twice is once."""
        with self._transaction(durable=True) as execute:
            execute(
                "INSERT INTO cursor VALUES (:node, :offset, NULL) ON CONFLICT (node) DO UPDATE"
                " SET offset = :offset, sealed = NULL WHERE offset < :offset",
                {"node": self._node, "offset": offset},
            )
            if self._place() != Place(offset, None):
                raise SinkConflictError(f"{self.path}: the cursor is already beyond {offset}")

    def append(self, blocks: Sequence[Decoded], start: int) -> int:
        """Store all records of the blocks and move the cursor from `start` behind the last block.

        Returns:
            The new cursor.
        """
        end = blocks[-1].block.end
        with self._transaction() as execute:
            moved = execute(
                "UPDATE cursor SET offset = ? WHERE node = ? AND offset = ? AND sealed IS NULL",
                (end, self._node, start),
            )
            if moved.rowcount != 1:
                raise SinkConflictError(f"{self.path}: the cursor is no longer at {start}")
            self._store(blocks)
        return end

    def seal(self, offset: int, successor: str) -> None:
        """Let no further block of the node in, durably: it goes on in `successor`."""
        with self._transaction(durable=True) as execute:
            sealed = execute(
                "UPDATE cursor SET sealed = ? WHERE node = ? AND offset = ? AND sealed IS NULL",
                (successor, self._node, offset),
            )
            if sealed.rowcount != 1:
                raise SinkConflictError(f"{self.path}: the cursor is no longer open at {offset}")

    def sync(self) -> None:
        """Make all that was committed here durable.

        A commit with synchronous=FULL syncs the write-ahead log, and with it every commit before.
        It must change a page for that: SQLite writes nothing, and so syncs nothing, where a row is
        replaced by the same bytes. Hence the count.
        """
        if _identity(self.path) != self._identity:
            raise SinkUnavailableError(f"{self.path} was removed or replaced under the sink")
        with self._transaction(durable=True) as execute:
            execute("UPDATE meta SET value = value + 1 WHERE key = 'synced'")

    def offending(self, block: Decoded) -> dict[int, str]:
        """The rows that SQLite does not take, by `idx`. Tried one by one and rolled back."""
        reasons: dict[int, str] = {}
        with _translated(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                for record in block.records:
                    try:
                        self.connection.execute(self._insert, record)
                    except sqlite3.OperationalError:
                        raise
                    except (sqlite3.Error, ValueError, OverflowError) as error:
                        reasons[record.idx] = f"{type(error).__name__}: {error}"
            finally:
                self._roll_back()
        return reasons

    def close(self) -> None:
        """Close the file; SQLite then checkpoints it, unless somebody reads it."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()

    def _prepare(self) -> None:
        execute = self.connection.execute
        fresh = not _has_schema(self.connection)
        if fresh:
            execute(f"PRAGMA page_size = {PAGE}")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
        execute("PRAGMA cache_size = -16384")
        if fresh:
            execute("BEGIN IMMEDIATE")
            if not _has_schema(self.connection):  # another worker may have been faster
                for statement in SCHEMA:
                    execute(statement)
            execute("COMMIT")
            sync_directory(self.path.parent)
        execute("PRAGMA synchronous = NORMAL")

    def _place(self) -> Place | None:
        row = self.connection.execute(
            "SELECT offset, sealed FROM cursor WHERE node = ?", (self._node,)
        ).fetchone()
        return Place(*row) if row else None

    def _store(self, blocks: Sequence[Decoded]) -> None:
        records = [record for decoded in blocks for record in decoded.records]
        if not records:
            return
        self._insert_all(records)
        created = [record.created for record in records]
        widen = "UPDATE meta SET value = {0}(ifnull(value, ?1), ?1) WHERE key = '{0}_created'"
        self.connection.execute(widen.format("min"), (min(created),))
        self.connection.execute(widen.format("max"), (max(created),))

    def _insert_all(self, records: list[Record]) -> None:
        whole = len(records) - len(records) % ROWS
        groups = (records[at : at + ROWS] for at in range(0, whole, ROWS))
        many = (list(chain.from_iterable(group)) for group in groups)
        self.connection.executemany(self._insert_many, many)
        self.connection.executemany(self._insert, records[whole:])

    def _roll_back(self) -> None:
        if self.connection.in_transaction:  # SQLite ends it itself after some errors
            self.connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[Execute]:
        execute = self.connection.execute
        with _translated(self.path):
            if durable:
                execute("PRAGMA synchronous = FULL")
            try:
                execute("BEGIN IMMEDIATE")
                yield execute
                execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            finally:
                if durable:
                    execute("PRAGMA synchronous = NORMAL")


def _as_it_is(value: None) -> None:
    return value


def _has_schema(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'")
    return found.fetchone() is not None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise SinkUnavailableError(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:  # its children are about the values of a row
            raise
        raise SinkUnavailableError(f"{path} is damaged ({error}); move it away") from error
    except OSError as error:
        raise SinkUnavailableError(f"{path}: {error.strerror}") from error
