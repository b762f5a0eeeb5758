"""One day file, open for writing: its schema, and the transactions that move a cursor in it.

A node's cursor walks from file to file. Where it left one, that file's cursor row is *sealed* with
the name of the file where it goes on; no block can enter a sealed file. So a worker that was left
behind and still believes in the old file fails there, and one that follows the seal comes to the
same next file as everybody, where the compare-and-set decides. The cursor may return to a file
that it left: each entry into a file has a number, the *step*, which rises from one to the next. So
the row with the greatest step tells where the cursor is, and a late worker cannot enter with a
step that was used.
"""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fastlog.errors import (
    DamagedFileError,
    NewerSchemaError,
    SinkConflictError,
    SinkUnavailableError,
)
from fastlog.files import identity_of, sync_directory, touch
from fastlog.record import Record
from fastlog.sinks.dayschema import SCHEMA, VERSION, check_columns, migrate, read_version

if TYPE_CHECKING:
    from fastlog.decode import Decoded

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
    """The file where the node's blocks go on; None where they are here."""
    step: int = 0
    """How many files the cursor had entered, with this one; 0 in files of version 1."""
    frames: int | None = None
    """The ordinal of the first frame behind the cursor; None where nobody knows it."""


class Summary(NamedTuple):
    """What a file says of all its records; None where it does not know."""

    first: float | None
    """The smallest `created`."""
    last: float | None
    """The greatest."""
    sealed_at: float | None
    """When a cursor last moved on to another file, by the server's wall clock."""


def read_place(path: Path, node: str) -> Place | None:
    """The node's cursor in a file that may belong to another worker; None when it has none.

    Raises:
        DamagedFileError: the file is damaged, or no day file.
        SinkUnavailableError: the file cannot be read now, or is of a newer version.
    """
    with _opened(path) as (connection, version):
        return None if version is None else _read_place(connection, node, version)


def read_summary(path: Path) -> Summary:
    """What a file says of its records, without a look at them. Raises as `read_place` does."""
    with _opened(path) as (connection, version):
        if version is None:
            return Summary(None, None, None)
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        sealed_at = None
        if version > 1:
            (sealed_at,) = connection.execute("SELECT max(sealed_at) FROM cursor").fetchone()
        moments = (meta.get("min_created"), meta.get("max_created"), sealed_at)
        return Summary(*(moment if isinstance(moment, float) else None for moment in moments))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[sqlite3.Connection, int | None]]:
    """A connection to a file that is there, and the version of its schema; None: it has none."""
    with _translated(path):
        _check_regular(path)
        uri = f"{path.absolute().as_uri()}?mode=rw"  # never creates it
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT)
        try:
            version = read_version(connection)
            if version is not None:
                check_columns(connection, version)
            yield connection, version
        finally:
            connection.close()


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
        names = ", ".join(f"[{name}]" for name in Record._fields)
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
            _check_regular(path)
            touch(path)  # SQLite would make it as the umask says
            self.connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_TIMEOUT)
            try:
                self._prepare()
                self._identity = identity_of(path)
            except BaseException:
                self.connection.close()
                raise

    def place(self) -> Place | None:
        """The node's cursor here; None when it never entered."""
        with _translated(self.path):
            return self._place()

    def enter(self, offset: int, step: int, frames: int | None = None) -> None:
        """Begin here at `offset`, durably, where the file before was sealed. Twice is once.

        Args:
            step: one more than that of the file before.
            frames: the ordinal of the frame at `offset`, where it is known.
        """
        with self._transaction(durable=True) as execute:
            execute(
                "INSERT INTO cursor (node, offset, step, frames) VALUES (?1, ?2, ?3, ?4)"
                " ON CONFLICT (node) DO UPDATE SET offset = ?2, step = ?3, frames = ?4,"
                " sealed = NULL, sealed_at = NULL WHERE step < ?3",
                (self._node, offset, step, frames),
            )
            place = self._place()
            if place is None or place[:3] != (offset, None, step):
                raise SinkConflictError(f"{self.path}: the cursor is already beyond {offset}")

    def leave(self, offset: int, step: int) -> None:
        """Take back an entry after which nothing was stored."""
        with self._transaction(durable=True) as execute:
            execute(
                "DELETE FROM cursor WHERE node = ? AND offset = ? AND step = ? AND sealed IS NULL",
                (self._node, offset, step),
            )

    def append(self, blocks: Sequence[Decoded], start: int) -> int:
        """Store all records of the blocks and move the cursor from `start` behind the last block.

        Returns:
            The new cursor.
        """
        last = blocks[-1].block
        end = last.end
        with self._transaction() as execute:
            moved = execute(
                "UPDATE cursor SET offset = ?, frames = ?"
                " WHERE node = ? AND offset = ? AND sealed IS NULL",
                (end, last.index + last.frames, self._node, start),
            )
            if moved.rowcount != 1:
                raise SinkConflictError(f"{self.path}: the cursor is no longer at {start}")
            self._store(blocks)
        return end

    def seal(self, offset: int, step: int, successor: str, now: float) -> None:
        """Let no further block of the node in, durably: it goes on in `successor`.

        Args:
            now: the wall clock, in seconds since the epoch.
        """
        with self._transaction(durable=True) as execute:
            sealed = execute(
                "UPDATE cursor SET sealed = ?, sealed_at = ?"
                " WHERE node = ? AND offset = ? AND step = ? AND sealed IS NULL",
                (successor, now, self._node, offset, step),
            )
            if sealed.rowcount != 1:
                raise SinkConflictError(f"{self.path}: the cursor is no longer open at {offset}")

    def sync(self) -> None:
        """Make all that was committed here durable.

        A commit with synchronous=FULL syncs the write-ahead log, and with it every commit before.
        It must change a page for that: SQLite writes nothing, and so syncs nothing, where a row is
        replaced by the same bytes. Hence the count.
        """
        with self._transaction(durable=True) as execute:
            execute("UPDATE meta SET value = value + 1 WHERE key = 'synced'")
        if identity_of(self.path) != self._identity:
            raise SinkUnavailableError(f"{self.path} was removed or replaced under the sink")

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
        version = read_version(self.connection)
        if version is None:
            execute(f"PRAGMA page_size = {PAGE}")
        else:
            check_columns(self.connection, version)
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
        execute("PRAGMA cache_size = -16384")
        if version is None:
            execute("BEGIN IMMEDIATE")
            if read_version(self.connection) is None:  # another worker may have been faster
                for statement in SCHEMA:
                    execute(statement)
            execute("COMMIT")
            sync_directory(self.path.parent)
        elif version < VERSION:
            migrate(self.connection, version)
        execute("PRAGMA synchronous = NORMAL")

    def _place(self) -> Place | None:
        return _read_place(self.connection, self._node, VERSION)

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


def _read_place(connection: sqlite3.Connection, node: str, version: int) -> Place | None:
    rest = "step, frames" if version > 1 else "0, NULL"
    row = connection.execute(
        f"SELECT offset, sealed, {rest} FROM cursor WHERE node = ?",  # noqa: S608 our own text
        (node,),
    ).fetchone()
    if row is None:
        return None
    place = Place(*row)
    counts = (place.offset, place.step, place.frames or 0)
    if not all(type(count) is int and count >= 0 for count in counts) or not (
        place.sealed is None or isinstance(place.sealed, str)
    ):
        raise DamagedFileError(f"is damaged (its cursor is {tuple(row)!r})")
    return place


def _check_regular(path: Path) -> None:
    """Reject whatever is no plain file, before SQLite opens it: a FIFO would block, and a link
    leads out of the directory."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        what = {stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link"}
        kind = what.get(stat.S_IFMT(mode), "a special file")
        raise DamagedFileError(f"is {kind}, and not a day file")


_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file's content is wrong, and not that it cannot be had now."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGE


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except NewerSchemaError as error:
        raise NewerSchemaError(f"{path} {error}") from error
    except DamagedFileError as error:
        raise _damaged(path, str(error)) from error
    except sqlite3.OperationalError as error:
        if is_damage(error):
            raise _damaged(path, f"is damaged ({error})") from error
        raise SinkUnavailableError(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise _damaged(path, f"is damaged ({error})") from error
        if type(error) is not sqlite3.DatabaseError:  # its children are about the values of a row
            raise
        raise SinkUnavailableError(f"{path}: {error}") from error
    except OSError as error:
        raise SinkUnavailableError(f"{path}: {error.strerror}") from error


def _damaged(path: Path, text: str) -> DamagedFileError:
    error = DamagedFileError(f"{path} {text}")
    error.path = path
    return error
