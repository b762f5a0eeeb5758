"""Scheme `sqlite`: one SQLite file a UTC day, records and cursor in one transaction.

`days.py` knows the files' names and which may go, `dayfile.py` what happens inside one. Here the
two are put together: which file the node's cursor is in, and how it moves on to the next.
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
from fastlog.sinks.dayfile import DayFile, Place, read_place, read_summary
from fastlog.sinks.days import Age, DayDirectory, Part, day_of, list_damaged, read_name
from fastlog.sinks.options import Options

if TYPE_CHECKING:
    from fastlog.decode import Decoded

log = logging.getLogger(__name__)

FILE_LIMIT = 1 << 30
"""Bytes after which a day goes on in another file."""


class _Found(NamedTuple):
    """A file in which the node has a cursor row."""

    part: Part
    place: Place

    @property
    def order(self) -> tuple[int, int, bool, Part]:
        """Rises along the way of the cursor. The last two tell files of version 1 apart, where the
        cursor was on its way from one to the next: it is in the one that is not sealed."""
        place = self.place
        return place.offset, place.step, place.sealed is None, self.part


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
        self._watch = ClockWatch(context.clock, context.steady)
        self._node = ""
        self._cursor = 0
        self._step = 0
        """Of the file where the cursor is."""
        self._frames: int | None = 0
        """The ordinal of the first frame behind the cursor."""
        self._part: Part | None = None
        """The file where the node's cursor is; None before its first block."""
        self._file: DayFile | None = None
        """That file, open; None before it is needed and after an error."""
        self._suspect: Path | None = None
        """The file that was found damaged by the last call; a second time in a row counts."""
        self._emptied = False
        """Whether the files that this sink wrote to were gone when it was opened again."""
        self._named: set[str] = set()
        """What was said of files that are left out."""

    def open(self, node: str) -> int:
        self.close()
        had_files = self._part is not None and node == self._node
        self._node = node
        path = self._directory.path
        try:
            make_directory(path)
            sync_directory(path.parent)
            self._directory.sweep()
        except OSError as error:
            raise SinkUnavailableError(f"{path}: {error.strerror}") from error
        try:
            found = self._find()
        except SinkUnavailableError:
            self.tick()  # a disk that is full may not even let itself be read: make room
            raise
        self._emptied = found is None and (had_files or self._emptied)
        if found is None:
            self._part, self._cursor, self._step, self._frames = None, 0, 0, 0
        else:
            place = found.place
            self._part, self._cursor = found.part, place.offset
            self._step, self._frames = place.step, place.frames
        return self._cursor

    def index(self) -> int | None:
        return self._frames

    def missing(self) -> str:
        damaged = ", ".join(path.name for path in list_damaged(self._directory.path))
        if damaged:
            return f"day files that were damaged were set aside: {damaged}"
        if self._part is None and not self._emptied:
            return ""  # the sink has another directory than before, or a new one
        return "a day file was removed, emptied or replaced"

    def apply(self, blocks: Sequence[Decoded]) -> None:
        for _, group in groupby(blocks, key=lambda decoded: day_of(decoded.block.stamp)):
            same_day = list(group)
            if same_day[0].block.offset < self._cursor:
                raise SinkConflictError(
                    f"{self._directory.path}: block {same_day[0].block.offset} is stored already"
                )
            self._guarded(partial(self._store, same_day))

    def cursor(self) -> int:
        return self._cursor

    def sync(self) -> int:
        if self._part is not None:
            self._guarded(lambda: self._current().sync())
        return self._cursor

    def tick(self) -> None:
        retention = self.context.retention
        reading = self._watch.read()
        self._directory.retire(
            reading.now if reading.trusted else None,
            *(retention.age, retention.size),
            current=self._part,
            age_of=_age_of,
        )

    def offending(self, block: Decoded) -> dict[int, str]:
        return self._file_for(block.block.stamp).offending(block)

    def close(self) -> None:
        self._forget()

    def _forget(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _guarded(self, work: Callable[[], object]) -> None:
        """Do what may fail, and let go of the file if it does: what became of the transaction is
        not always known, so the next call looks again."""
        try:
            work()
        except DamagedFileError as error:
            self._forget()
            if error.path is None or error.path != self._suspect:
                self._suspect = error.path
                raise
            self._suspect = None
            self._set_aside([error])
            raise SinkConflictError(f"{error}; going on without it") from error
        except BaseException:
            self._forget()
            raise
        self._suspect = None

    def _store(self, blocks: Sequence[Decoded]) -> None:
        file = self._file_for(blocks[0].block.stamp)
        self._cursor = file.append(blocks, self._cursor)
        last = blocks[-1].block
        self._frames = last.index + last.frames

    # Where the cursor is

    def _find(self) -> _Found | None:
        """The file with the node's greatest cursor.

        Files that cannot be read are left out where they cannot hold it. They cannot while the
        cursor is found in a file that is not sealed: it is in one such file only. Where the
        greatest cursor that is found has a seal, it went on in the file that the seal names, and
        from there perhaps in others. Of those, the damaged ones are set aside, and the node's
        blocks are stored again from that seal on: no file that is left has any of them.

        Raises:
            SinkUnavailableError: a file that may hold it cannot be read now.
        """
        places, damaged, hidden = self._read_places()
        found = [_Found(part, place) for part, place in places.items() if place is not None]
        best = max(found, key=lambda one: one.order, default=None)
        sealed = None if best is None else best.place.sealed
        if best is None or sealed is not None:
            is_lost = sealed is None or read_name(sealed) not in places
            for error in hidden.values() if is_lost else ():
                raise error
            self._set_aside(list(damaged.values()))
            damaged = {}
        for unread in (*damaged.values(), *hidden.values()):
            self._name(f"{unread}; it is left out")
        return best

    def _read_places(
        self,
    ) -> tuple[
        dict[Part, Place | None], dict[Part, DamagedFileError], dict[Part, SinkUnavailableError]
    ]:
        """The files with the node's place in each, those that are damaged, and those that cannot
        be read now."""
        places: dict[Part, Place | None] = {}
        damaged: dict[Part, DamagedFileError] = {}
        hidden: dict[Part, SinkUnavailableError] = {}
        for part in self._directory.parts():
            try:
                places[part] = _read_twice(self._directory.file(part), self._node)
            except DamagedFileError as error:
                damaged[part] = error
            except SinkUnavailableError as error:
                hidden[part] = error
        return places, damaged, hidden

    def _set_aside(self, errors: Sequence[DamagedFileError]) -> None:
        for error in errors:
            part = None if error.path is None else read_name(error.path.name)
            if part is None:
                raise error
            try:
                kept = self._directory.set_aside(part)
            except OSError as failure:
                raise SinkUnavailableError(
                    f"{error}; it cannot be renamed: {failure.strerror}"
                ) from failure
            log.error(
                "%s; set aside as %s; what the journal still holds of it is stored again",
                *(error, kept.name),
            )

    def _name(self, text: str) -> None:
        """Say once what is wrong with a file."""
        if text not in self._named:
            self._named.add(text)
            log.warning("%s", text)

    def _current(self) -> DayFile:
        """The file where the cursor is, opened again if an error closed it."""
        if self._file is None:
            found = self._find()
            where = found and (found.part, found.place.offset, found.place.step)
            if self._part is None or where != (self._part, self._cursor, self._step):
                raise SinkConflictError(f"{self._directory.path}: the cursor has moved")
            self._file = DayFile(self._directory.file(self._part), self._node)
        return self._file

    # How it moves on

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
            self._current().seal(self._cursor, self._step, target.name, self.context.clock())
            self._move(target)
        return self._current()

    def _sealed(self) -> Part | None:
        """Where the current file says that the cursor goes on: a crash came between the two."""
        place = self._current().place()
        if place is None or (place.offset, place.step) != (self._cursor, self._step):
            raise SinkConflictError(f"{self._directory.path}: the cursor has moved")
        if place.sealed is None:
            return None
        target = read_name(place.sealed)
        if target is None:
            error = DamagedFileError(f"{self._current().path} has a seal that names no day file")
            error.path = self._current().path
            raise error
        return target

    def _move(self, target: Part) -> None:
        """Go on in the file that the seal names."""
        file = DayFile(self._directory.file(target), self._node)
        try:
            file.enter(self._cursor, self._step + 1, self._frames)
        except BaseException:
            file.close()
            raise
        self._forget()
        self._file, self._part, self._step = file, target, self._step + 1

    def _begin(self, stamp: int) -> None:
        """Enter the node's first file.

        No seal names that file, so two workers could enter two different ones. Each looks again
        after it has entered: the later of the two then sees the other's row, takes its own back,
        and gives way.
        """
        target = self._directory.choose(stamp, None)
        self._move(target)
        places, _, _ = self._read_places()
        if [part for part, place in places.items() if place is not None] != [target]:
            self._current().leave(self._cursor, self._step)
            self._part = None
            raise SinkConflictError(f"{self._directory.path}: another worker began here")


def _read_twice(path: Path, node: str) -> Place | None:
    """Read a place, and believe that a file is damaged only the second time."""
    try:
        return read_place(path, node)
    except DamagedFileError:
        return read_place(path, node)


def _age_of(path: Path) -> Age:
    try:
        summary = read_summary(path)
    except SinkUnavailableError:
        return Age(None, None)
    first, last, sealed_at = summary
    return Age(sealed_at, None if first is None or last is None else (first, last))
