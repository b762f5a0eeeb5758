"""The ledger's file: opened when it is needed, and replaced when it is damaged."""

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
from urllib.parse import quote

from fastlog.database import is_damage
from fastlog.errors import SinkUnavailableError
from fastlog.files import Identity, identity_of, touch
from fastlog.ledger.entry import Entry, insert_entry
from fastlog.ledger.schema import (
    LedgerError,
    NewerLedgerError,
    check_layout,
    prepare,
    transaction,
)
from fastlog.ledger.writing import EntryWriter
from fastlog.record import Loss

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a ledger is opened again because the file was replaced meanwhile."""
DAMAGED = ".damaged"
"""Suffix of a damaged file that was set aside. It replaces one that was set aside before."""


class Ledger:
    """The ledger, open for writing; several processes may have it open.

    Methods raise `SinkUnavailableError` while the file cannot be written; nothing was entered then.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._file: Identity | None = None
        """The open file: another program may remove it, and another worker may set it aside."""

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
        """Enter durably those entries that are not in the ledger yet.

        Args:
            node: the journal's id.
            entries: in the order of the journal; all that there are between `end` of the previous
                call (or what another worker has entered) and `end`.
            end: the offset after the last block that was searched for entries; a block's end.

        Returns:
            The offset up to which everything was entered before.
        """
        for _ in range(ATTEMPTS):
            with self._unavailable():
                try:
                    known = self._write(node, entries, end)
                except sqlite3.DatabaseError as error:
                    if not is_damage(error):
                        raise
                    self._set_aside(str(error))
                    continue
            if self._file == identity_of(self.path):
                return known
            self.close()  # another worker has set the file aside, or it was removed
        raise SinkUnavailableError(f"ledger {self.path}: the file was replaced again and again")

    def open(self) -> None:
        """Open the file if it exists, so that a server does not start with a newer version.

        Raises:
            NewerLedgerError: A newer fastlog has written it.
        """
        with self._unavailable():
            try:
                if self.path.exists():
                    self._open()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
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

    def _write(self, node: str, entries: Sequence[Entry], end: int) -> int:
        connection = self._open()
        with transaction(connection):
            return EntryWriter(connection, node).write(entries, end)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            touch(self.path)  # SQLite would create it with the mode that the umask leaves
            before = identity_of(self.path)
            connection = sqlite3.connect(self.path, isolation_level=None, timeout=5.0)
            try:
                prepare(connection, self.path)
                self._file = identity_of(self.path)
                if before != self._file:
                    raise sqlite3.OperationalError("the file was replaced while it was opened")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _set_aside(self, damage: str) -> None:
        """Rename a damaged file and begin a new one.

        Several workers may find the damage: the first renames the file, the others find the new
        one.
        """
        with _locked(self.path.parent):
            self.close()
            if self.path.exists() and _is_damaged(self.path):
                _rename_damaged(self.path)
                log.error(
                    "ledger %s is damaged (%s): it is set aside as %s, and a new one begins",
                    *(self.path, damage, self.path.name + DAMAGED),
                )
                self._enter_damage()

    def _enter_damage(self) -> None:
        now = self._clock()
        reason = f"the ledger was damaged; it is kept as {self.path.name}{DAMAGED}"
        loss = Loss("", reason, -1, now, now, "what it had counted before is not in this one")
        connection = self._open()
        with transaction(connection):
            insert_entry(connection.execute, "", Entry(int(now * 1e6), 0, loss))


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a lock on a directory, then make durable what the body has renamed in it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        if not is_damage(error):
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


def _rename_damaged(path: Path) -> None:
    """Rename a database, with the write-ahead log that belongs to it."""
    for suffix in ("-wal", "-shm", ""):
        old = path.with_name(path.name + suffix)
        new = path.with_name(path.name + DAMAGED + suffix)
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        with contextlib.suppress(FileNotFoundError):
            old.rename(new)
