"""Scheme `sqlite`: one SQLite file a UTC day, records and cursor in one transaction.

`days.py` knows the files' names and which may go, `dayfile.py` what happens inside one. Here the
two are put together: which file the node's cursor is in, and how it moves on to the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from fastlog.errors import ConfigError, SinkConflictError, SinkUnavailableError
from fastlog.files import make_directory, sync_directory
from fastlog.sinks import Sink, SinkContext
from fastlog.sinks.dayfile import DayFile, Place, read_place
from fastlog.sinks.days import DayDirectory, Part, day_of, read_name
from fastlog.sinks.options import Options

if TYPE_CHECKING:
    from fastlog.decode import Decoded

FILE_LIMIT = 1 << 30
"""Bytes after which a day goes on in another file."""


class SqliteSink(Sink):
    """`sqlite:` stores in `<data_dir>/logs`, `sqlite:///directory` elsewhere. Exactly once."""

    def __init__(self, context: SinkContext, *, file_limit: int | None = None) -> None:
        super().__init__(context)
        url = context.url
        options = Options(url, ["file_size"])
        if url.netloc or (url.path and not url.path.startswith("/")):
            raise ConfigError(f"expected sqlite: or sqlite:///directory, got {url.geturl()!r}")
        path = Path(url.path) if url.path else context.data_dir / "logs"
        limit = file_limit or options.size("file_size") or FILE_LIMIT
        self._directory = DayDirectory(path, limit)
        self._node = ""
        self._cursor = 0
        self._part: Part | None = None
        """The file where the node's cursor is; None before its first block."""
        self._file: DayFile | None = None
        """That file, open; None before it is needed and after an error."""

    def open(self, node: str) -> int:
        self.close()
        self._node = node
        path = self._directory.path
        try:
            make_directory(path)
            sync_directory(path.parent)
            self._directory.sweep()
        except OSError as error:
            raise SinkUnavailableError(f"{path}: {error.strerror}") from error
        try:
            self._part, self._cursor = self._find()
        except SinkUnavailableError:
            self.tick()  # a disk that is full may not even let itself be read: make room
            raise
        return self._cursor

    def apply(self, blocks: Sequence[Decoded]) -> None:
        for _, group in groupby(blocks, key=lambda decoded: day_of(decoded.block.stamp)):
            same_day = list(group)
            if same_day[0].block.offset < self._cursor:
                raise SinkConflictError(
                    f"{self._directory.path}: block {same_day[0].block.offset} is stored already"
                )
            try:
                file = self._file_for(same_day[0].block.stamp)
                self._cursor = file.append(same_day, self._cursor)
            except BaseException:
                # What became of the transaction is not always known: look again next time.
                self._forget()
                raise

    def cursor(self) -> int:
        return self._cursor

    def sync(self) -> int:
        if self._part is not None:
            try:
                self._current().sync()
            except BaseException:
                self._forget()
                raise
        return self._cursor

    def tick(self) -> None:
        retention = self.context.retention
        self._directory.retire(
            self.context.clock(), retention.age, retention.size, current=self._part
        )

    def offending(self, block: Decoded) -> dict[int, str]:
        return self._file_for(block.block.stamp).offending(block)

    def close(self) -> None:
        self._forget()

    def _forget(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _find(self) -> tuple[Part | None, int]:
        """The file with the node's greatest cursor, and that cursor.

        Where several have the same, the cursor was on its way from one to the next: the one that
        is not sealed has it, or the latest if all are.
        """
        found = [(place, part) for part, place in self._places()]
        if not found:
            return None, 0
        greatest = max(place.offset for place, _ in found)
        there = [(place.sealed, part) for place, part in found if place.offset == greatest]
        unsealed = [part for sealed, part in there if sealed is None]
        return (min(unsealed) if unsealed else max(part for _, part in there)), greatest

    def _places(self) -> Iterator[tuple[Part, Place]]:
        for part in self._directory.parts():
            place = read_place(self._directory.file(part), self._node)
            if place is not None:
                yield part, place

    def _current(self) -> DayFile:
        """The file where the cursor is, opened again if an error closed it."""
        if self._file is None:
            if self._find() != (self._part, self._cursor):
                raise SinkConflictError(f"{self._directory.path}: the cursor has moved")
            assert self._part is not None
            self._file = DayFile(self._directory.file(self._part), self._node)
        return self._file

    def _file_for(self, stamp: int) -> DayFile:
        """The file for a block of this stamp, with the cursor in it and open."""
        if self._part is None:
            self._begin(stamp)
        elif (sealed := self._sealed()) is not None:
            self._move(sealed)
        target = self._directory.choose(stamp, self._part)
        if target != self._part:
            # It must exist before the seal names it: a full disk may not seal the last file.
            DayFile(self._directory.file(target), self._node).close()
            self._current().seal(self._cursor, target.name)
            self._move(target)
        return self._current()

    def _sealed(self) -> Part | None:
        """Where the current file says that the cursor goes on: a crash came between the two."""
        place = self._current().place()
        if place is None or place.offset != self._cursor:
            raise SinkConflictError(f"{self._directory.path}: the cursor has moved")
        return None if place.sealed is None else read_name(place.sealed)

    def _move(self, target: Part) -> None:
        """Go on in the file that the seal names."""
        file = DayFile(self._directory.file(target), self._node)
        try:
            file.enter(self._cursor)
        except BaseException:
            file.close()
            raise
        self._forget()
        self._file, self._part = file, target

    def _begin(self, stamp: int) -> None:
        """Enter the node's first file.

        No seal names that file, so two workers could enter two different ones. Each looks again
        after it has entered: the later of the two then sees the other's, and gives way.
        """
        target = self._directory.choose(stamp, None)
        self._move(target)
        if self._find() != (target, self._cursor):
            self._part = None
            raise SinkConflictError(f"{self._directory.path}: another worker began here")
