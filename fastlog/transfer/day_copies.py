"""Copies of day files that a server writes to, which together are one state of the store.

SQLite copies a file as it is at one moment. The files are copied one after another, while the
cursor may move from one to the next. So the file with the cursor is copied last, and then it must
still be the one: all others have not changed since they were copied, as their cursor rows show.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from fastlog.errors import DamagedFileError, FastlogError
from fastlog.files import open_file
from fastlog.search.day_reader import Unread
from fastlog.search.day_reader import open_file as open_database
from fastlog.sinks.day_cursor import CursorRow, read_cursor
from fastlog.sinks.day_directory import list_day_files
from fastlog.transfer.manifest import Source

PAGES: Final = 256
"""Pages of a database that one step copies: 4 MiB of a day file."""
ATTEMPTS: Final = 100
Rows = dict[str, CursorRow | None]


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
    with closing(open_database(source)) as reading, closing(sqlite3.connect(target)) as copy:
        # In a transaction, all steps read the same state. Otherwise each write to the database
        # would make the copy begin again.
        reading.execute("BEGIN")
        [(page,)] = reading.execute("PRAGMA page_size")
        reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")  # it is synced when it is complete
        reading.backup(copy, pages=PAGES, progress=lambda *_: step(PAGES * page))


class DayCopies:
    """The copy of the day files of a sink.

    Args:
        logs: Their directory.
        folder: Where they are copied to.
        node: The journal's id.
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
            last = _with_cursor(rows)
            for name in rows:
                if name != last and (name not in self._rows or self._rows[name] != rows[name]):
                    self._copy(name)
            if last is not None:
                self._copy(last)
            now = self._read_rows()
            # Any other file changes only after the cursor has entered it, with the next step.
            is_still = _step_of(now, _with_cursor(now)) == _step_of(rows, last)
            if is_still and all(self._rows.get(name) == now[name] for name in now if name != last):
                return max(
                    (row.offset for row in self._rows.values() if row is not None), default=0
                )
        raise FastlogError(f"{self._logs}: the sink changes from file to file all the time")

    def _read_rows(self) -> Rows:
        """Return the node's row in each file, oldest file first. Damaged files are left out."""
        rows: Rows = {}
        for name in map(str, list_day_files(self._logs)):
            path = self._logs / name
            try:
                rows[name] = read_cursor(path, self._node)
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
        self._rows[name] = read_cursor(target, self._node)
        _remove_companions(target)
        self.sources[target] = before if _state(source) == before else None


def _with_cursor(rows: Rows) -> str | None:
    """Return the file where the node's cursor is."""
    found = {name: row for name, row in rows.items() if row is not None}
    order = {n: (row.offset, row.step, row.sealed is None, n) for n, row in found.items()}
    return max(order, key=lambda name: order[name], default=None)


def _step_of(rows: Rows, name: str | None) -> tuple[str, int] | None:
    row = None if name is None else rows[name]
    return None if name is None or row is None else (name, row.step)


def _state(path: Path) -> Source | None:
    """Return the state of a database; None while it has a log, in which changes leave no trace."""
    log = Source.of(path.with_name(f"{path.name}-wal"))
    return Source.of(path) if log is None or not log.size else None


def _remove_companions(path: Path) -> None:
    """Remove the empty files that SQLite leaves beside a database that was only read."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
