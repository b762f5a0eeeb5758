"""Scheme `sqlite`: one SQLite file a UTC day, records and cursor in one transaction.

`day_directory.py` has the names of the files, `day_file.py` the transactions of one file, and
`day_files.py` what the sinks of several nodes share. This file combines them: it finds the file
with the node's cursor, and moves the cursor to the next file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from fastlog.errors import (
    ConfigError,
    DamagedFileError,
    SinkConflictError,
    SinkUnavailableError,
)
from fastlog.files import make_directory, sync_directory
from fastlog.sinks import Sink, SinkContext
from fastlog.sinks.cursor_rows import Found
from fastlog.sinks.day_directory import (
    DayDirectory,
    DayFileName,
    day_of,
    list_damaged,
    parse_name,
)
from fastlog.sinks.day_file import DayFile
from fastlog.sinks.day_files import DayFiles, Position
from fastlog.sinks.options import Options
from fastlog.sinks.unavailable import require_room, unavailable

if TYPE_CHECKING:
    from fastlog.decode import Decoded

log = logging.getLogger(__name__)

FILE_LIMIT = 1 << 30
"""Bytes of a file from which on its day continues in another file."""


class SqliteSink(Sink):
    """`sqlite:` stores in `<data_dir>/logs`, `sqlite:///directory` elsewhere. Exactly once."""

    form = "columns"

    def __init__(
        self,
        context: SinkContext,
        *,
        file_limit: int | None = None,
        files: DayFiles | None = None,
    ) -> None:
        super().__init__(context)
        url = context.url
        options = Options(url, ["file_size"])
        if url.netloc or (url.path and not url.path.startswith("/")):
            raise ConfigError(f"expected sqlite: or sqlite:///directory, got {url.geturl()!r}")
        path = Path(url.path) if url.path else context.data_dir / "logs"
        limit = file_limit or options.size("file_size") or FILE_LIMIT
        self._is_sibling = files is not None
        self._files = files or DayFiles(DayDirectory(path, limit), context)
        self._directory = self._files.directory
        self._at = Position("")
        self._is_checked = False
        """Whether the cursor is where `_at` says; not known after an error."""
        self._written: tuple[DayFile, int] | None = None
        """The open file that this sink has stored into last, and its number of commits then."""
        self._suspect: Path | None = None
        """The file that the last call found damaged; twice in a row counts as damage."""
        self._emptied = False
        """Whether the files that this sink had written were gone when it was opened again."""
        self._warnings: set[str] = set()
        """The warnings about left-out files that were logged."""

    def sibling(self, name: str) -> SqliteSink:
        if not self._files.is_shared:
            self._files = DayFiles(self._directory, self.context, is_shared=True)
        return SqliteSink(self.context._replace(name=name), files=self._files)

    def open(self, node: str) -> int:
        self.close()
        had_files = self._at.file is not None and node == self._at.node
        if had_files:
            self._files.add(self._at)  # housekeeping keeps its file, whatever follows
        path = self._directory.path
        try:
            make_directory(path)
            sync_directory(path.parent)
            self._directory.delete_orphans()
        except OSError as error:
            raise unavailable(path, error) from error
        try:
            found = self._find(node, fresh=had_files)
        except SinkUnavailableError:
            self.tick()  # a full disk may prevent even reading: retention makes room
            raise
        self._emptied = found is None and (had_files or self._emptied)
        if found is None:
            self._at = Position(node)
        else:
            cursor = found.cursor
            self._at = Position(node, found.name, cursor.offset, cursor.step, cursor.frames)
            # A thousand nodes do not read all files again. The transaction decides anyway.
            self._is_checked = self._files.is_shared
        self._files.add(self._at)
        return self._at.offset

    def index(self) -> int | None:
        return self._at.frames

    def missing(self) -> str:
        damaged = ", ".join(path.name for path in list_damaged(self._directory.path))
        if damaged:
            return f"day files that were damaged were set aside: {damaged}"
        if self._at.file is None and not self._emptied:
            return ""  # the sink has another directory than before, or a new one
        return "a day file was removed, emptied or replaced"

    def apply(self, blocks: Sequence[Decoded]) -> None:
        for _, group in groupby(blocks, key=lambda decoded: day_of(decoded.block.received_us)):
            same_day = list(group)
            if same_day[0].block.offset < self._at.offset:
                raise SinkConflictError(
                    f"{self._directory.path}: block {same_day[0].block.offset} is stored already"
                )
            # Everything is written twice: into SQLite's log, and into the file. A failure here
            # leaves the file open, so that it can be synced.
            size = sum(decoded.block.end - decoded.block.offset for decoded in same_day)
            self._require_room(2 * size)
            self._store(same_day)

    def _require_room(self, size: int) -> None:
        try:
            require_room(self._directory.path, size)
        except SinkUnavailableError:
            file = self._files.opened(self._at.file)
            if file is None:
                raise
            file.truncate_log()
            require_room(self._directory.path, size)

    def cursor(self) -> int:
        return self._at.offset

    def sync(self) -> int:
        if self._at.file is not None:
            self._guarded(self._sync)
        return self._at.offset

    def _sync(self) -> None:
        file = self._current_file()
        written, commits = self._written or (None, 0)
        # The sync of another node may have made this node's blocks durable.
        if not (self._files.is_shared and written is file and file.is_durable(commits)):
            file.sync()

    def tick(self) -> None:
        if self.context.housekeeping and not self._is_sibling:
            self._files.tick()

    def offending(self, block: Decoded) -> dict[int, str]:
        return self._file_for(block.block.received_us).offending(self._at.node, block)

    def close(self) -> None:
        self._files.remove(self._at)
        self._is_checked, self._written = False, None

    def _guarded(self, work: Callable[[], object]) -> None:
        """Call `work`, and close the file if it fails.

        Whether the transaction was committed is not always known then, so the next call reads the
        cursor again.
        """
        try:
            work()
        except DamagedFileError as error:
            self._abandon()
            if error.path is None or error.path != self._suspect:
                self._suspect = error.path
                raise
            self._suspect = None
            self._set_aside([error])
            raise SinkConflictError(f"{error}; continuing without it") from error
        except BaseException:
            self._abandon()
            raise
        self._suspect = None

    def _abandon(self) -> None:
        """Close the file, since something is wrong with it or with the cursor."""
        if self._at.file is not None:
            self._files.close(self._at.file)
        self._is_checked, self._written = False, None

    def _store(self, blocks: Sequence[Decoded]) -> None:
        try:
            self._guarded(partial(self._append, blocks))
        except SinkConflictError:
            if not self._follow():
                raise
            self._guarded(partial(self._append, blocks))

    def _append(self, blocks: Sequence[Decoded]) -> None:
        file = self._file_for(blocks[0].block.received_us)
        self._at.offset = file.append(self._at.node, blocks, self._at.offset)
        last = blocks[-1].block
        self._at.frames, self._at.stored_at = last.index + last.frames, self.context.steady()
        self._written = file, file.commits

    def _follow(self) -> bool:
        """Go to the file where the cursor is, if it has moved and no block was stored since.

        Housekeeping moves the cursors of nodes that store nothing, perhaps several times. The file
        that the seal names may be deleted by then: the cursor must not enter it again.

        Returns:
            False: the cursor is still in the same file.

        Raises:
            SinkConflictError: A block was stored since.
        """
        at, found = self._at, self._find(self._at.node, fresh=True)
        if found is None or found.cursor.offset != at.offset:
            raise SinkConflictError(f"{self._directory.path}: the cursor has moved")
        if found.name == at.file:
            return False
        at.file, at.step, at.stored_at = found.name, found.cursor.step, None
        self._is_checked = True
        return True

    # Where the cursor is

    def _find(self, node: str, *, fresh: bool) -> Found | None:
        """Find the file with the node's greatest cursor.

        Files that cannot be read are left out where they cannot hold the cursor. They cannot while
        the cursor is found in a file that is not sealed, for it is in one such file only. Where
        the greatest cursor that is found is sealed, it moved on to the file that the seal names,
        and from there perhaps to others. The damaged ones among those are set aside, and the
        node's blocks are stored again from that seal on: no remaining file has any of them.

        Args:
            fresh: As in `DayFiles.rows`.

        Raises:
            SinkUnavailableError: A file that may hold the cursor cannot be read now.
        """
        rows = self._files.rows(fresh=fresh)
        damaged, best = rows.damaged, rows.last_of(node)
        sealed = None if best is None else best.cursor.sealed
        if best is None or sealed is not None:
            may_be_unavailable = sealed is None or parse_name(sealed) not in rows.readable
            for error in rows.unavailable.values() if may_be_unavailable else ():
                raise error
            self._set_aside(list(damaged.values()))
            damaged = {}
        for unread in (*damaged.values(), *rows.unavailable.values()):
            self._warn_once(f"{unread}; it is left out")
        return best

    def _set_aside(self, errors: Sequence[DamagedFileError]) -> None:
        for error in errors:
            name = None if error.path is None else parse_name(error.path.name)
            if name is None:
                raise error
            self._files.close(name)
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
        """Return the file where the cursor is, open; after an error, look at the cursor first."""
        at = self._at
        if not self._is_checked:
            found = self._find(at.node, fresh=True)
            position = found and (found.name, found.cursor.offset, found.cursor.step)
            if at.file is None or position != (at.file, at.offset, at.step):
                raise SinkConflictError(f"{self._directory.path}: the cursor has moved")
            self._is_checked = True
        assert at.file is not None
        return self._files.file(at.file)

    # How it moves to another file

    def _file_for(self, received_us: int) -> DayFile:
        """Return the file for a block of this time of receipt, open and with the cursor in it."""
        if self._at.file is None:
            self._begin(received_us)
        elif (sealed := self._sealed()) is not None and not self._follow():
            self._move(sealed)
        target = self._directory.choose(received_us, self._at.file)
        if target != self._at.file:
            # It must exist before the seal names it: a full disk must not seal the last file.
            self._files.file(target)
            at = self._at
            self._current_file().seal(at.node, at.offset, at.step, str(target), self._seal_time())
            self._move(target)
        return self._current_file()

    def _seal_time(self) -> float | None:
        """Return when this node stored into its file last, as the wall clock counts now; None where
        it has not for long. The age of the file begins then."""
        now, stored_at = self.context.clock(), self._at.stored_at
        if stored_at is not None:
            return now - (self.context.steady() - stored_at)
        return None if self._files.is_shared else now

    def _sealed(self) -> DayFileName | None:
        """Return the file that the seal of the current one names.

        There is a seal after a crash between the seal and the entry into the next file, and where
        housekeeping has moved the cursor.
        """
        at, file = self._at, self._current_file()
        cursor = file.read_cursor(at.node)
        if cursor is None or (cursor.offset, cursor.step) != (at.offset, at.step):
            raise SinkConflictError(f"{self._directory.path}: the cursor has moved")
        if cursor.sealed is None:
            return None
        target = parse_name(cursor.sealed)
        if target is None:
            error = DamagedFileError(f"{file.path} has a seal that names no day file")
            error.path = file.path
            raise error
        return target

    def _move(self, target: DayFileName) -> None:
        """Move the cursor to the file that the seal names."""
        at = self._at
        try:
            self._files.file(target).enter(at.node, at.offset, at.step + 1, at.frames)
        except BaseException:
            self._files.close(target)
            raise
        if at.file != target:
            self._files.left(at.file)
        at.file, at.step, at.stored_at = target, at.step + 1, None
        self._is_checked, self._written = True, None

    def _begin(self, received_us: int) -> None:
        """Enter the node's first file.

        No seal names that file, so two workers could enter two different ones. Each reads all
        cursors again after it has entered. The later of the two then finds the row of the other,
        undoes its own entry, and raises an error.
        """
        target = self._directory.choose(received_us, None)
        self._move(target)
        if self._files.rows(fresh=True).files_of(self._at.node) != [target]:
            self._current_file().undo_enter(self._at.node, self._at.offset, self._at.step)
            self._at.file = None
            raise SinkConflictError(f"{self._directory.path}: another worker began here")
