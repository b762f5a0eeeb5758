"""A file of lines that is exact after a crash: its cursor, its recovery, its rotation.

The cursor names the file by device and inode, holds its length and a checksum of its last bytes
(inode numbers are used again, so a number alone does not tell whether this is our file), and the
journal offset that this length stands for. It is saved only after the file itself was synced.

A rotation is: sync, note the intent, rename, create, note it done. Nothing is written to the new
file before the last step, so after a crash between any two the step to go on with is seen from
which of the names exist.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fastlog.clock import ClockWatch
from fastlog.errors import SinkConflictError, SinkUnavailableError
from fastlog.files import Identity, identity_of, make_directory, open_file, sync_directory
from fastlog.sinks import SinkContext
from fastlog.sinks.cursorfile import Cursor, CursorFile

log = logging.getLogger(__name__)

TAIL = 1024
"""Bytes before the noted length that the checksum covers."""
_PIECES = os.sysconf("SC_IOV_MAX")
"""Buffers that one `writev` takes."""


class Rotation(NamedTuple):
    """When a file is full, and how many full ones are kept; None: never, all."""

    size: int | None = None
    every: float | None = None
    keep: int | None = None


class Mark(Cursor):
    """The cursor of a lines file."""

    device: int = 0
    inode: int = 0
    length: int = 0
    """Bytes up to and with the last line that counts."""
    tail: int = 0
    """CRC-32 of the last `TAIL` bytes of that length."""
    since: float = 0.0
    """When the file was begun, seconds since the epoch."""
    rotate_to: str = ""
    """The name that the file is being given; empty when none."""

    @property
    def identity(self) -> Identity:
        return self.device, self.inode


class LinesFile:
    """The open file and its mark.

    A file that was removed is noticed before the mark moves; `SinkConflictError` then says so.
    When the file cannot be reached (disk full, I/O error), methods raise `SinkUnavailableError`
    and the file is closed. The next call opens it again, which cuts it back to the mark; if lines
    went with that, `SinkConflictError` tells the caller to look at `offset` again. So a write or
    a sync that failed halfway is never built upon.
    """

    def __init__(self, path: Path, context: SinkContext, rotation: Rotation) -> None:
        self.path = path
        self.offset = 0
        """The journal offset up to which lines are written."""
        self._name = context.name
        self._clock = context.clock
        self._watch = ClockWatch(context.clock, context.steady)
        self._rotation = rotation
        self._marks = CursorFile(context.data_dir, context.name, Mark)
        self._mark = Mark()
        self._node = ""
        self._fd = -1
        self._length = 0

    @property
    def unsynced(self) -> int:
        """Bytes that a crash would have written again."""
        return self._length - self._mark.length

    def open(self, node: str) -> int:
        """Find the file as the mark describes it, cut what does not count, be ready to append."""
        self.close()
        self._node = node
        with self._guarded():
            mark = self._marks.load() or self._mark  # the file may have been removed meanwhile
            self.offset = mark.offset if mark.node == node else 0
            if mark.rotate_to:
                self._mark = mark
                self._finish_rotation()
            else:
                self._fd = self._open()
                if self._recognise(mark) and mark.node == node:
                    self._take_up(mark)
                else:
                    self._adopt()
        return self.offset

    def append(self, pieces: Sequence[bytes], offset: int) -> None:
        """Write whole lines, which bring the file up to the journal offset."""
        self._ready()
        with self._guarded():
            self._length += _write(self._fd, pieces)
            self.offset = offset
            if self._rotation.size is not None and self._length >= self._rotation.size:
                self._rotate()

    def sync(self) -> int:
        """Make the lines durable, then the mark that counts them."""
        self._ready()
        with self._guarded():
            if self.unsynced or self.offset != self._mark.offset:
                self._save()
            self._follow_renames()
        return self._mark.offset

    def tick(self) -> None:
        """Rotate by time."""
        every = self._rotation.every
        if every is None:
            return
        self._ready()
        now, _, jump = self._watch.read()
        # A clock that is set makes no file older; else a rotation would push out an old one.
        self._mark.since = min(self._mark.since + jump, now)
        if self._length and now >= self._mark.since + every:
            with self._guarded():
                self._rotate()

    def close(self) -> None:
        """Close the file; the mark stays as it was saved."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _ready(self) -> None:
        """Open the file again if an error closed it."""
        if self._fd < 0:
            before = self.offset
            if self.open(self._node) != before:
                raise SinkConflictError(f"{self.path} was cut back to what was durable")

    # Finding the file again

    def _open(self) -> int:
        make_directory(self.path.parent)
        fd = open_file(self.path, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise SinkUnavailableError(f"{self.path} is not a regular file")
        sync_directory(self.path.parent)
        return fd

    def _recognise(self, mark: Mark) -> bool:
        """Whether this is the marked file, with all that the mark counts; say so if it is not."""
        if not mark.inode:
            return False  # the sink is new
        length = os.fstat(self._fd).st_size
        if identity_of(self._fd) != mark.identity:
            self._warn("is another file than was noted")
            self._cut_renamed(mark)
        elif length < mark.length:
            self._warn(f"is shorter ({length} bytes) than was noted ({mark.length})")
        elif _tail(self._fd, mark.length) != mark.tail:
            self._warn("is another file than was noted, in the same place")
        else:
            return True
        return False

    def _take_up(self, mark: Mark) -> None:
        if os.fstat(self._fd).st_size > mark.length:
            os.ftruncate(self._fd, mark.length)
        self._mark, self._length = mark, mark.length

    def _adopt(self) -> None:
        """Go on at the end of a file that no mark describes, and mark it before any line of ours.

        Without that mark a crash could not tell our lines from what was there before.
        """
        length = os.fstat(self._fd).st_size
        if length and os.pread(self._fd, 1, length - 1) != b"\n":
            length += _write(self._fd, [b"\n"])  # somebody's half line must not swallow our first
        self._length = length
        self._mark = Mark(node=self._node, since=self._clock())
        self._save()

    def _cut_renamed(self, mark: Mark) -> None:
        """Cut the uncounted lines off our file where another program has moved it to.

        They will be written again, into the new file.
        """
        for entry in os.scandir(self.path.parent):
            if entry.inode() == mark.inode and entry.is_file(follow_symlinks=False):
                with _opened(entry.path) as fd:
                    if identity_of(fd) == mark.identity and _tail(fd, mark.length) == mark.tail:
                        os.ftruncate(fd, mark.length)
                        return
        log.warning(
            "sink %s: the file that was %s is gone; lines since its last sync may be in it and "
            "will be written again",
            self._name,
            self.path,
        )

    def _follow_renames(self) -> None:
        """Go on in a new file when another program, such as logrotate, has moved ours."""
        if identity_of(self.path) == self._mark.identity:
            return
        self._warn("was moved or replaced by another program")
        self.close()
        self._fd = self._open()
        self._adopt()

    def _warn(self, what: str) -> None:
        log.warning("sink %s: %s %s; going on at its end", self._name, self.path, what)

    def _save(self) -> None:
        """Sync the file, then note its length and the offset that it stands for."""
        length = os.fstat(self._fd).st_size
        if length != self._length:
            self._warn(f"has {length} bytes instead of {self._length}: another program writes it")
            self._length = length
        os.fdatasync(self._fd)
        status = os.fstat(self._fd)
        if not status.st_nlink:
            self._go_back()
        self._mark.device, self._mark.inode = status.st_dev, status.st_ino
        self._mark.length, self._mark.tail = length, _tail(self._fd, length)
        self._mark.offset = self.offset
        self._marks.save(self._mark)

    def _go_back(self) -> None:
        """The file was removed, and all that is only in it is gone: the mark stays where it is.

        The worker opens the sink again, which makes a new file and has the rest written again.
        """
        self.close()
        raise SinkConflictError(
            f"{self.path} was removed by another program; what was not durable is written again"
        )

    # Rotation

    def _rotate(self) -> None:
        serial = max((number for number, _ in self._rotated()), default=0) + 1
        self._mark.rotate_to = f"{self.path.name}.{serial:06}"
        self._save()
        self._finish_rotation()

    def _finish_rotation(self) -> None:
        """The steps behind the intent, those that were not done yet: rename, create, note it."""
        if identity_of(self.path) == self._mark.identity:
            self.path.rename(self.path.with_name(self._mark.rotate_to))
        self.close()
        self._fd = self._open()
        self._adopt()
        if self._rotation.keep is not None:
            for _, path in self._rotated()[: -self._rotation.keep]:
                path.unlink()

    def _rotated(self) -> list[tuple[int, Path]]:
        """The rotated files by their serial numbers, oldest first.

        Numbers and not times, because a clock that is set back must not make the newest the oldest.
        """
        name = re.compile(re.escape(self.path.name) + r"\.(\d{6,})", re.ASCII)
        return sorted(
            (int(match[1]), path)
            for path in self.path.parent.iterdir()
            if (match := name.fullmatch(path.name))
        )

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            raise SinkUnavailableError(f"{self.path}: {error.strerror}") from error
        except SinkUnavailableError:
            self.close()
            raise


def _write(fd: int, pieces: Sequence[bytes]) -> int:
    """All of them, which need not be joined for that."""
    total = 0
    for start in range(0, len(pieces), _PIECES):
        part = pieces[start : start + _PIECES]
        size = sum(map(len, part))
        written = os.writev(fd, part)
        if written < size:
            rest = memoryview(b"".join(part))[written:]
            while rest:
                rest = rest[os.write(fd, rest) :]
        total += size
    return total


def _tail(fd: int, length: int) -> int:
    start = max(0, length - TAIL)
    return zlib.crc32(os.pread(fd, length - start, start))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
