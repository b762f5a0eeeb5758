"""The ledger: what was rejected and what is known to be lost, in one SQLite file.

Every worker reads the same blocks and so finds the same rejections in them. Each enters them
before its sink commits, and the ledger takes each once: per node it remembers up to which block
everything was entered. (Keys alone would not do, since rows are folded.) What concerns one sink
only, such as a row that it cannot take, is told apart by the sink's name and by its key.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from fastlog.errors import ConfigError, FastlogError, SinkUnavailableError
from fastlog.files import Identity, identity_of, touch
from fastlog.record import RAW_BYTES, Loss, Rejection, host_of

log = logging.getLogger(__name__)

SCHEMA = 2
"""The version of the file's layout, in its `user_version`. Files of version 1 say 0 there."""

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

MOST = 1 << 53
"""The greatest count of a row: any reader of JSON takes it, and sums do not overflow."""
TEXT = 400
"""Characters of a reason, a peer or a detail that are kept."""
CURSORS = 1000
"""Journals and sinks for which the ledger remembers how far they are; the latest."""
BACK = 60
"""Seconds by which the clock may be set back and still be in the same second as before."""
ATTEMPTS = 3
"""How often a ledger is opened anew because the file has been replaced meanwhile."""
DAMAGED = ".damaged"
"""What is added to the name of a file that is set aside; one that was set aside before goes."""

_TABLES = """
CREATE TABLE rejected (
    node TEXT NOT NULL, offset INTEGER NOT NULL, idx INTEGER NOT NULL, sink TEXT NOT NULL,
    received REAL NOT NULL, peer TEXT NOT NULL, reason TEXT NOT NULL,
    length INTEGER NOT NULL, count INTEGER NOT NULL, raw BLOB NOT NULL,
    PRIMARY KEY (node, offset, idx, sink)
);
CREATE TABLE losses (
    node TEXT NOT NULL, offset INTEGER NOT NULL, idx INTEGER NOT NULL, sink TEXT NOT NULL,
    peer TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
    first REAL NOT NULL, last REAL NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (node, offset, idx, sink)
);
CREATE TABLE entered (
    node TEXT NOT NULL, sink TEXT NOT NULL, offset INTEGER NOT NULL, summed INTEGER NOT NULL,
    PRIMARY KEY (node, sink)
);
CREATE TABLE seconds (
    node TEXT NOT NULL, tab TEXT NOT NULL, second INTEGER NOT NULL, kind TEXT NOT NULL,
    name TEXT NOT NULL, rows INTEGER NOT NULL, shared INTEGER,
    PRIMARY KEY (node, tab, second, kind, name)
);
"""
"""Rows with a rowid below 0 are sums of what is no longer told one by one; their node is "".

`entered`, for the sink "": up to `offset` all is entered. For another: `offset` is that of its
latest row; its rows before `summed` are in the sums. The greater its rowid, the later it was used.

`seconds` counts the rows that were made in the present second: of a host, of all hosts, and for
each reason of what was too much. `shared` is the rowid of the row that the rest shares.
"""

_COLUMNS: Final = {
    "rejected": "node offset idx sink received peer reason length count raw",
    "losses": "node offset idx sink peer reason count first last detail",
    "entered": "node sink offset summed",
    "seconds": "node tab second kind name rows shared",
}

_MIGRATIONS: Final[dict[int, tuple[str, ...]]] = {
    # Version 1 kept a minute of seconds, which were those that senders claimed.
    1: (
        "DELETE FROM seconds",
        f"UPDATE rejected SET count = {MOST} WHERE count > {MOST}",  # noqa: S608 our own text
        f"UPDATE losses SET count = {MOST} WHERE count > {MOST}",  # noqa: S608 our own text
    ),
}
"""What makes a file of a version one of the next."""

_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class LedgerError(FastlogError):
    """The ledger cannot be read: it is damaged, or of a newer version."""


class NewerLedgerError(ConfigError, LedgerError):
    """A newer fastlog has written the ledger."""


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
    received: float = 0.0
    """When the block was received, by the server's clock; not used where the note is about a sink.
    """


class Ledger:
    """The ledger, open for writing; several processes may have it open.

    Methods raise `SinkUnavailableError` while the file cannot be written; nothing was entered then.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._file: Identity | None = None
        """Of the open file: another program may remove it, and another worker set it aside."""

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
        for _ in range(ATTEMPTS):
            with self._unavailable():
                try:
                    known = self._record(node, entries, end)
                except sqlite3.DatabaseError as error:
                    if not _is_damage(error):
                        raise
                    self._set_aside(str(error))
                    continue
            if self._file == identity_of(self.path):
                return known
            self.close()  # another worker has set the file aside, or it is gone
        raise SinkUnavailableError(f"ledger {self.path}: the file does not stay in its place")

    def open(self) -> None:
        """Open the file if there is one, so that a server does not start with one of a newer kind.

        Raises:
            NewerLedgerError: A newer fastlog has written it.
        """
        with self._unavailable():
            try:
                if self.path.exists():
                    self._open()
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._set_aside(str(error))

    def close(self) -> None:
        """Close the file; a later call of `record` opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _unavailable(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            self.close()
            raise SinkUnavailableError(f"ledger {self.path}: {error}") from error

    def _record(self, node: str, entries: Sequence[Entry], end: int) -> int:
        connection = self._open()
        with _transaction(connection):
            return _Entering(connection, node).enter(entries, end)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            touch(self.path)  # SQLite would make it as the umask says
            before = identity_of(self.path)
            connection = sqlite3.connect(self.path, isolation_level=None, timeout=5.0)
            try:
                _prepare(connection, self.path)
                self._file = identity_of(self.path)
                if before != self._file:
                    raise sqlite3.OperationalError("the file was replaced while it was opened")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _set_aside(self, why: str) -> None:
        """Move a damaged file out of the way, so that a new one is begun.

        Several workers may find the damage: the first moves the file, the others find a sound one.
        """
        with _locked(self.path.parent):
            self.close()
            if self.path.exists() and _is_damaged(self.path):
                _move(self.path)
                log.error(
                    "ledger %s is damaged (%s): it is set aside as %s, and a new one begins",
                    *(self.path, why, self.path.name + DAMAGED),
                )
                self._note_damage()

    def _note_damage(self) -> None:
        now = self._clock()
        reason = f"the ledger was damaged; it is kept as {self.path.name}{DAMAGED}"
        note = Loss("", reason, -1, now, now, "what it had counted before is not in this one")
        connection = self._open()
        with _transaction(connection):
            _insert(connection.execute, "", Entry(int(now * 1e6), 0, note))


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a lock on a directory, and make durable what was renamed in it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or bring those of an older version up to date."""
    version = check_layout(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if version == SCHEMA:
        return
    with _transaction(connection):
        version = check_layout(connection, path)  # another worker may have been faster
        if not version:
            for statement in _TABLES.split(";"):
                connection.execute(statement)
        for step in range(version or SCHEMA, SCHEMA):
            for statement in _MIGRATIONS[step]:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")


def check_layout(connection: sqlite3.Connection, path: Path) -> int:
    """Check that the file is a ledger that this version can read.

    Returns:
        The version of its layout; 0 where it is empty.

    Raises:
        NewerLedgerError: A newer fastlog has written it.
        sqlite3.DatabaseError: It is damaged, or no ledger.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA:
        raise NewerLedgerError(
            f"ledger {path} has layout {version}, and this fastlog knows {SCHEMA} at most: install "
            "the newer fastlog again, or move the file away to begin a new ledger"
        )
    tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")
    if not version and not tables.fetchone()[0]:
        return 0
    for table, columns in _COLUMNS.items():
        found = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        if found != columns.split():
            error = sqlite3.DatabaseError(f"the table {table} is not that of a ledger")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
    return int(version) or 1


def _is_damage(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _DAMAGE


def check_whole(path: Path) -> None:
    """Check that the whole file can be read.

    Raises:
        LedgerError: It is damaged, no ledger, or of a newer version.
        sqlite3.OperationalError: It cannot be read now.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            check_layout(connection, path)
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        found = str(error)
    if found != "ok":
        raise LedgerError(
            f"ledger {path} is damaged ({found}): the server sets it aside as {path.name}{DAMAGED} "
            "when it needs it, and begins a new one"
        )


def _is_damaged(path: Path) -> bool:
    try:
        check_whole(path)
    except NewerLedgerError:
        raise
    except LedgerError:
        return True
    return False


def _move(path: Path) -> None:
    """Set a database aside, with the log that belongs to it."""
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        aside = path.with_name(path.name + DAMAGED + suffix)
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
        with contextlib.suppress(FileNotFoundError):
            part.rename(aside)


class _Entering:
    """One transaction."""

    def __init__(self, connection: sqlite3.Connection, node: str) -> None:
        self._execute = connection.execute
        self._node = node
        self._seconds: dict[str, int] = {}
        """The present second of each table."""

    def enter(self, entries: Sequence[Entry], end: int) -> int:
        known, _ = self._entered("")
        before = self._newest("rejected")
        for entry in entries:
            if entry.sink:
                self._enter_for_sink(entry)
            elif entry.offset >= known:
                self._enter_for_all(entry)
        if end > known:
            self._note("", end)
        self._forget()
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
            " SET rowid = (SELECT max(rowid) + 1 FROM entered),"
            " offset = max(offset, excluded.offset)",
            (self._node, sink, offset),
        )

    def _forget(self) -> None:
        """Keep the latest cursors only."""
        (count,) = self._execute("SELECT count(*) FROM entered").fetchone()
        if count > CURSORS:
            self._execute(
                "DELETE FROM entered WHERE rowid IN (SELECT rowid FROM entered"
                " WHERE node <> ? OR sink <> '' ORDER BY rowid LIMIT ?)",
                (self._node, count - CURSORS),
            )

    def _enter_for_all(self, entry: Entry) -> None:
        if entry.note.count < 0:  # no sender can make these
            _insert(self._execute, self._node, entry)
            return
        table = "rejected" if isinstance(entry.note, Rejection) else "losses"
        second = self._second(table, int(entry.received))
        _Second(self._execute, self._node, table, second, entry).enter()

    def _second(self, table: str, second: int) -> int:
        """The second that an entry belongs to: the present one, or a new one that begins with it.

        The clock may have been set back; so that this does not give each block a new second, it
        must have been for more than a minute. Entries come in the journal's order, so every worker
        finds the same.
        """
        present = self._seconds.get(table)
        if present is None:
            present = self._execute(
                "SELECT max(second) FROM seconds WHERE node = ? AND tab = ?", (self._node, table)
            ).fetchone()[0]
        if present is None or not present - BACK <= second <= present:
            present = second
            self._execute("DELETE FROM seconds WHERE tab = ?", (table,))
        self._seconds[table] = present
        return int(present)

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
            " WHERE t.rowid BETWEEN 1 AND :last"
            " AND (t.sink = '' OR t.node <> :node OR e.offset IS NULL OR t.offset < e.offset)"
        )
        which = {"last": last, "node": self._node}
        self._execute(
            "UPDATE entered SET summed = max(summed, old.past) FROM (SELECT t.node, t.sink,"  # noqa: S608
            f" max(t.offset) + 1 AS past {old} AND t.sink <> '' GROUP BY 1, 2) AS old"
            " WHERE entered.node = old.node AND entered.sink = old.sink",
            which,
        )
        first, final = ("first", "last") if table == "losses" else ("received", "received")
        for sums in self._execute(
            f"SELECT t.reason, {total('t.count')}, min(t.{first}), max(t.{final}) {old}"
            " GROUP BY t.reason, t.count < 0",
            which,
        ).fetchall():
            self._add_to_sum(table, *sums)
        self._execute(f"DELETE FROM {table} WHERE rowid IN (SELECT t.rowid {old})", which)  # noqa: S608
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
                f"UPDATE {table} SET count = min(count + :count, {MOST}), {moments} WHERE node = ''"  # noqa: S608
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

    def __init__(self, execute: Execute, node: str, table: str, second: int, entry: Entry) -> None:
        self._execute, self._node, self._entry = execute, node, entry
        self._table, self._second = table, second

    def enter(self) -> None:
        """As a row of its own, or as one more of a row that it shares."""
        note = self._entry.note
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
            f"UPDATE {self._table} SET count = min(count + :count, {MOST}),{last}"  # noqa: S608 our own text
            " reason = iif(reason = :reason, reason, :various) WHERE rowid = :rowid",
            {
                "count": min(note.count, MOST),
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
    peer, reason, count = note.peer[:TEXT], note.reason[:TEXT], min(note.count, MOST)
    if isinstance(note, Rejection):
        raw = note.raw[:RAW_BYTES]
        return execute(
            "INSERT OR IGNORE INTO rejected VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, note.received, peer, reason, min(note.length, MOST), count, raw),
        ).lastrowid
    # A sink that was left behind by the journal says so again, with the greater count, until it
    # has stored the next block; it may have forgotten meanwhile how much it was.
    return execute(
        "INSERT INTO losses VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " count = excluded.count, last = max(last, excluded.last), detail = excluded.detail"
        " WHERE sink <> '' AND (excluded.count > count"
        " OR excluded.count < 0 AND excluded.detail <> detail)",
        (*key, peer, reason, count, note.first, note.last, note.detail[:TEXT]),
    ).lastrowid


def total(expression: str) -> str:
    """SQL for the sum over rows; beyond `MOST` it is `MOST`, where `sum` would be an error."""
    return f"CAST(max(-{MOST}, min(total({expression}), {MOST})) AS INTEGER)"
