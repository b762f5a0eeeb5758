"""Scheme `sqlite`: one SQLite file a UTC day, records and cursor in one transaction.

`day_directory.py` has the names of the files, `day_retention.py` deletes old ones, and
`day_file.py` has the transactions of one file. This file combines them: it finds the file with the
node's cursor, and moves the cursor to the next file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fastlog.clock import ClockWatch
from fastlog.errors import (
    ConfigError,
    DamagedFileError,
    SinkConflictError,
    SinkUnavailableError,
)
from fastlog.files import make_directory, sync_directory
from fastlog.sinks import Sink, SinkContext
from fastlog.sinks.day_cursor import CursorRow, read_cursor
from fastlog.sinks.day_directory import (
    DayDirectory,
    DayFileName,
    day_of,
    list_damaged,
    parse_name,
)
from fastlog.sinks.day_expiry import DayExpiry
from fastlog.sinks.day_file import DayFile
from fastlog.sinks.day_retention import DayRetention
from fastlog.sinks.options import Options
from fastlog.sinks.unavailable import require_room, unavailable

if TYPE_CHECKING:
    from fastlog.decode import Decoded

log = logging.getLogger(__name__)

FILE_LIMIT = 1 << 30
"""Bytes of a file from which on its day continues in another file."""


class _Found(NamedTuple):
    """A file in which the node has a cursor row."""

    name: DayFileName
    cursor: CursorRow

    @property
    def order(self) -> tuple[int, int, bool, DayFileName]:
        """Rises along the path of the cursor.

        The last two order files of version 1, between which the cursor was moving when the server
        stopped: the cursor is in the file that is not sealed.
        """
        cursor = self.cursor
        return cursor.offset, cursor.step, cursor.sealed is None, self.name


class _Cursors(NamedTuple):
    """The node's cursor rows in all files of the directory."""

    readable: dict[DayFileName, CursorRow | None]
    """None where the node has no row."""
    damaged: dict[DayFileName, DamagedFileError]
    unavailable: dict[DayFileName, SinkUnavailableError]
    """Files that cannot be read now."""


class SqliteSink(Sink):
    """`sqlite:` stores in `<data_dir>/logs`, `sqlite:///directory` elsewhere. Exactly once."""

    form = "columns"

    def __init__(self, context: SinkContext, *, file_limit: int | None = None) -> None:
        super().__init__(context)
        url = context.url
        options = Options(url, ["file_size"])
        if url.netloc or (url.path and not url.path.startswith("/")):
            raise ConfigError(f"expected sqlite: or sqlite:///directory, got {url.geturl()!r}")
        path = Path(url.path) if url.path else context.data_dir / "logs"
        limit = file_limit or options.size("file_size") or FILE_LIMIT
        self._directory = DayDirectory(path, limit)
        self._retention = DayRetention(
            context.name, self._directory, context.retention, context.steady
        )
        self._expiry = DayExpiry(context.name, self._directory, context.expire, context.steady)
        self._watch = ClockWatch(context.clock, context.steady)
        self._node = ""
        self._cursor = 0
        self._step = 0
        """The step of the file where the cursor is."""
        self._frames: int | None = 0
        """The ordinal of the first frame behind the cursor."""
        self._current: DayFileName | None = None
        """The file where the node's cursor is; None before its first block."""
        self._file: DayFile | None = None
        """That file, open; None before it is needed and after an error."""
        self._suspect: Path | None = None
        """The file that the last call found damaged; twice in a row counts as damage."""
        self._emptied = False
        """Whether the files that this sink had written were gone when it was opened again."""
        self._warnings: set[str] = set()
        """The warnings about left-out files that were logged."""

    def open(self, node: str) -> int:
        self.close()
        had_files = self._current is not None and node == self._node
        self._node = node
        path = self._directory.path
        try:
            make_directory(path)
            sync_directory(path.parent)
            self._directory.delete_orphans()
        except OSError as error:
            raise unavailable(path, error) from error
        try:
            found = self._find()
        except SinkUnavailableError:
            self.tick()  # a full disk may prevent even reading: retention makes room
            raise
        self._emptied = found is None and (had_files or self._emptied)
        if found is None:
            self._current, self._cursor, self._step, self._frames = None, 0, 0, 0
        else:
            cursor = found.cursor
            self._current, self._cursor = found.name, cursor.offset
            self._step, self._frames = cursor.step, cursor.frames
        return self._cursor

    def index(self) -> int | None:
        return self._frames

    def missing(self) -> str:
        damaged = ", ".join(path.name for path in list_damaged(self._directory.path))
        if damaged:
            return f"day files that were damaged were set aside: {damaged}"
        if self._current is None and not self._emptied:
            return ""  # the sink has another directory than before, or a new one
        return "a day file was removed, emptied or replaced"

    def apply(self, blocks: Sequence[Decoded]) -> None:
        for _, group in groupby(blocks, key=lambda decoded: day_of(decoded.block.received_us)):
            same_day = list(group)
            if same_day[0].block.offset < self._cursor:
                raise SinkConflictError(
                    f"{self._directory.path}: block {same_day[0].block.offset} is stored already"
                )
            # Everything is written twice: into SQLite's log, and into the file. A failure here
            # leaves the file open, so that it can be synced.
            size = sum(decoded.block.end - decoded.block.offset for decoded in same_day)
            self._require_room(2 * size)
            self._guarded(partial(self._store, same_day))

    def _require_room(self, size: int) -> None:
        try:
            require_room(self._directory.path, size)
        except SinkUnavailableError:
            if self._file is None:
                raise
            self._file.truncate_log()
            require_room(self._directory.path, size)

    def cursor(self) -> int:
        return self._cursor

    def sync(self) -> int:
        if self._current is not None:
            self._guarded(lambda: self._current_file().sync())
        return self._cursor

    def tick(self) -> None:
        reading = self._watch.read()
        now = reading.now if reading.trusted else None
        self._retention.retire(now, self._current)
        self._expiry.step(now, self._current)

    def offending(self, block: Decoded) -> dict[int, str]:
        return self._file_for(block.block.received_us).offending(block)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _guarded(self, work: Callable[[], object]) -> None:
        """Call `work`, and close the file if it fails.

        Whether the transaction was committed is not always known then, so the next call reads the
        cursor again.
        """
        try:
            work()
        except DamagedFileError as error:
            self.close()
            if error.path is None or error.path != self._suspect:
                self._suspect = error.path
                raise
            self._suspect = None
            self._set_aside([error])
            raise SinkConflictError(f"{error}; continuing without it") from error
        except BaseException:
            self.close()
            raise
        self._suspect = None

    def _store(self, blocks: Sequence[Decoded]) -> None:
        file = self._file_for(blocks[0].block.received_us)
        self._cursor = file.append(blocks, self._cursor)
        last = blocks[-1].block
        self._frames = last.index + last.frames

    # Where the cursor is

    def _find(self) -> _Found | None:
        """Find the file with the node's greatest cursor.

        Files that cannot be read are left out where they cannot hold the cursor. They cannot while
        the cursor is found in a file that is not sealed, for it is in one such file only. Where
        the greatest cursor that is found is sealed, it moved on to the file that the seal names,
        and from there perhaps to others. The damaged ones among those are set aside, and the
        node's blocks are stored again from that seal on: no remaining file has any of them.

        Raises:
            SinkUnavailableError: A file that may hold the cursor cannot be read now.
        """
        readable, damaged, unavailable = self._read_cursors()
        found = [_Found(name, cursor) for name, cursor in readable.items() if cursor is not None]
        best = max(found, key=lambda one: one.order, default=None)
        sealed = None if best is None else best.cursor.sealed
        if best is None or sealed is not None:
            may_be_unavailable = sealed is None or parse_name(sealed) not in readable
            for error in unavailable.values() if may_be_unavailable else ():
                raise error
            self._set_aside(list(damaged.values()))
            damaged = {}
        for unread in (*damaged.values(), *unavailable.values()):
            self._warn_once(f"{unread}; it is left out")
        return best

    def _read_cursors(self) -> _Cursors:
        cursors = _Cursors({}, {}, {})
        for name in self._directory.names():
            try:
                cursors.readable[name] = _read_twice(self._directory.file(name), self._node)
            except DamagedFileError as error:
                cursors.damaged[name] = error
            except SinkUnavailableError as error:
                cursors.unavailable[name] = error
        return cursors

    def _set_aside(self, errors: Sequence[DamagedFileError]) -> None:
        for error in errors:
            name = None if error.path is None else parse_name(error.path.name)
            if name is None:
                raise error
            try:
                kept = self._directory.set_aside(name)
            except OSError as failure:
                raise SinkUnavailableError(
                    f"{error}; it cannot be renamed: {failure.strerror}"
                ) from failure
            log.error(
                "%s; set aside as %s; those of its records that the journal still has are stored "
                "again",
                *(error, kept.name),
            )

    def _warn_once(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.add(text)
            log.warning("%s", text)

    def _current_file(self) -> DayFile:
        """Return the file where the cursor is; open it again if an error closed it."""
        if self._file is None:
            found = self._find()
            position = found and (found.name, found.cursor.offset, found.cursor.step)
            if self._current is None or position != (self._current, self._cursor, self._step):
                raise SinkConflictError(f"{self._directory.path}: the cursor has moved")
            self._file = DayFile(self._directory.file(self._current), self._node)
        return self._file

    # How it moves to another file

    def _file_for(self, received_us: int) -> DayFile:
        """Return the file for a block of this time of receipt, open and with the cursor in it."""
        if self._current is None:
            self._begin(received_us)
        elif (sealed := self._sealed()) is not None:
            self._move(sealed)
        target = self._directory.choose(received_us, self._current)
        if target != self._current:
            # It must exist before the seal names it: a full disk must not seal the last file.
            DayFile(self._directory.file(target), self._node).close()
            self._current_file().seal(self._cursor, self._step, str(target), self.context.clock())
            self._move(target)
        return self._current_file()

    def _sealed(self) -> DayFileName | None:
        """Return the file that the seal of the current one names.

        There is a seal only after a crash between the seal and the entry into the next file.
        """
        cursor = self._current_file().read_cursor()
        if cursor is None or (cursor.offset, cursor.step) != (self._cursor, self._step):
            raise SinkConflictError(f"{self._directory.path}: the cursor has moved")
        if cursor.sealed is None:
            return None
        target = parse_name(cursor.sealed)
        if target is None:
            path = self._current_file().path
            error = DamagedFileError(f"{path} has a seal that names no day file")
            error.path = path
            raise error
        return target

    def _move(self, target: DayFileName) -> None:
        """Move the cursor to the file that the seal names."""
        file = DayFile(self._directory.file(target), self._node)
        try:
            file.enter(self._cursor, self._step + 1, self._frames)
        except BaseException:
            file.close()
            raise
        self.close()
        self._file, self._current, self._step = file, target, self._step + 1

    def _begin(self, received_us: int) -> None:
        """Enter the node's first file.

        No seal names that file, so two workers could enter two different ones. Each reads all
        cursors again after it has entered. The later of the two then finds the row of the other,
        undoes its own entry, and raises an error.
        """
        target = self._directory.choose(received_us, None)
        self._move(target)
        readable = self._read_cursors().readable
        if [name for name, cursor in readable.items() if cursor is not None] != [target]:
            self._current_file().undo_enter(self._cursor, self._step)
            self._current = None
            raise SinkConflictError(f"{self._directory.path}: another worker began here")


def _read_twice(path: Path, node: str) -> CursorRow | None:
    """Read a cursor; only a second failure counts as damage."""
    try:
        return read_cursor(path, node)
    except DamagedFileError:
        return read_cursor(path, node)
