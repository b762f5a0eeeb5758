"""Copies of day files that a server writes to, which together are one state of the store.

SQLite copies a file as it is at one moment. The files are copied one after another, while cursors
may move from one to the next. In the copies, each node has its greatest cursor in one file. If no
other file has got blocks of that node since it was copied, as its cursor rows show, the copies have
all blocks of the node up to that cursor, and no others.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from fastlog.errors import DamagedFileError, FastlogError
from fastlog.files import open_file
from fastlog.search.day_reader import Unread
from fastlog.search.day_reader import open_file as open_database
from fastlog.sinks.day_cursor import CursorRow, read_cursors
from fastlog.sinks.day_directory import list_day_files
from fastlog.transfer.manifest import Source

PAGES: Final = 256
"""Pages of a database that one step copies: 4 MiB of a day file."""
ATTEMPTS: Final = 100
Rows = dict[str, Mapping[str, CursorRow]]
"""The cursor of each node in each file."""


def copy_database(source: Path, target: Path, step: Callable[[int], object]) -> None:
    """Copy an SQLite database that others write to, as it is now. The writers do not wait.

    Args:
        target: Made, and readable by this user only.
        step: Called with the bytes of each step.

    Raises:
        sqlite3.Error: The database cannot be read.
        OSError: The copy cannot be written.
    """
    target.unlink(missing_ok=True)
    os.close(open_file(target, os.O_RDWR | os.O_EXCL))
    with (
        closing(open_database(source)) as reading,
        closing(sqlite3.connect(target)) as copy,
        _full_disk_named(target),
    ):
        # In a transaction, all steps read the same state. Otherwise each write to the database
        # would make the copy begin again.
        reading.execute("BEGIN")
        [(page,)] = reading.execute("PRAGMA page_size")
        reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")  # it is synced when it is complete
        reading.backup(copy, pages=PAGES, progress=lambda *_: step(PAGES * page))


@contextmanager
def _full_disk_named(target: Path) -> Iterator[None]:
    """Turn SQLite's error about a full disk into that of the system, which names the file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error


class DayCopies:
    """The copy of the day files of a sink.

    Args:
        logs: Their directory.
        folder: Where they are copied to.
        node: The id of the server's own journal.
        reuse: Given the name of a file and its state, puts an earlier copy in place if there is
            one of this state, and returns whether it did.
        step: Called with the bytes of each step.
        unread: Gets the files that are damaged; they are left out.
    """

    def __init__(
        self,
        logs: Path,
        folder: Path,
        node: str,
        reuse: Callable[[Path, Source], bool],
        step: Callable[[int], object],
        unread: Unread,
    ) -> None:
        self._logs, self._folder, self._node = logs, folder, node
        self._reuse, self._step, self._unread = reuse, step, unread
        self._rows: Rows = {}
        """The cursor rows in the copies."""
        self.sources: dict[Path, Source | None] = {}
        """The copies, and the state of each file; None where it may change without a trace."""

    def make(self) -> int:
        """Copy the files.

        Returns:
            The journal offset up to which the copies have everything.

        Raises:
            FastlogError: A file cannot be read, or the cursor moves all the time.
            OSError: A copy cannot be written.
        """
        for _ in range(ATTEMPTS):
            rows = self._read_rows()
            last = _with_cursor(rows, self._node)  # it changes the most
            for name in sorted(rows, key=lambda name: (name == last, name)):
                if self._rows.get(name) != rows[name]:
                    self._copy(name)
            if _is_one_state(self._rows, self._read_rows()):
                found = (
                    each[self._node].offset for each in self._rows.values() if self._node in each
                )
                return max(found, default=0)
        raise FastlogError(f"{self._logs}: the sink changes from file to file all the time")

    def _read_rows(self) -> Rows:
        """Return the rows in each file, oldest file first. Damaged files are left out."""
        rows: Rows = {}
        for name in map(str, list_day_files(self._logs)):
            path = self._logs / name
            try:
                rows[name] = read_cursors(path)
            except DamagedFileError as error:
                self._unread.add(path, str(error).removeprefix(f"{path} "))
            except FastlogError:
                if path.exists():
                    raise
                # else: retention has deleted it
        return rows

    def _copy(self, name: str) -> None:
        source, target = self._logs / name, self._folder / name
        before = _state(source)
        if before is None or not self._reuse(target, before):
            try:
                copy_database(source, target, self._step)
            except (sqlite3.Error, OSError):
                target.unlink(missing_ok=True)
                if source.exists():
                    raise
                return  # retention has deleted it
        self._rows[name] = read_cursors(target)
        _remove_companions(target)
        self.sources[target] = before if _state(source) == before else None


def _with_cursor(rows: Rows, node: str) -> str | None:
    """Return the file where a node's cursor is."""
    found = {name: each[node] for name, each in rows.items() if node in each}
    order = {n: (row.offset, row.step, row.sealed is None, n) for n, row in found.items()}
    return max(order, key=lambda name: order[name], default=None)


def _is_one_state(copied: Rows, now: Rows) -> bool:
    """Return whether copies are one state of the store, as the cursors after them show."""
    for node in {node for rows in (*copied.values(), *now.values()) for node in rows}:
        last = _with_cursor(copied, node)
        for name in now.keys() - {last}:  # retention may have deleted others
            if copied.get(name, {}).get(node) != now[name].get(node):
                return False
    return True


def _state(path: Path) -> Source | None:
    """Return the state of a database; None while it has a log, in which changes leave no trace."""
    log = Source.of(path.with_name(f"{path.name}-wal"))
    return Source.of(path) if log is None or not log.size else None


def _remove_companions(path: Path) -> None:
    """Remove the empty files that SQLite leaves beside a database that was only read."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
