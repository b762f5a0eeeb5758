"""A file of lines that is exact after a crash: its cursor, its recovery, its rotation.

The cursor holds the device and inode of the file, its length, a checksum of its last bytes (inode
numbers are reused, so a number alone does not identify the file), and the journal offset that this
length stands for. It is saved only after the file itself was synced.

The steps of a rotation are: sync, save the intent, rename, create, save the end. Nothing is written
to the new file before the last step. So after a crash between any two steps, the names that exist
show which step is next.
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
from fastlog.sinks.cursor_file import Cursor, CursorFile
from fastlog.sinks.unavailable import require_room, unavailable

log = logging.getLogger(__name__)

TAIL = 1024
"""Bytes before the saved length that the checksum covers."""
_MAX_BUFFERS = os.sysconf("SC_IOV_MAX")
"""Buffers that one `writev` takes."""


class Rotation(NamedTuple):
    """When a file is rotated, and how many rotated files are kept."""

    size: int | None = None
    """Bytes; None: no rotation by size."""
    every: float | None = None
    """Seconds; None: no rotation by time."""
    keep: int | None = None
    """Rotated files; None: all."""


class LineFileCursor(Cursor):
    """The saved cursor of a line file."""

    device: int = 0
    inode: int = 0
    length: int = 0
    """Bytes up to the end of the last durable line."""
    tail: int = 0
    """CRC-32 of the last `TAIL` bytes of that length."""
    since: float = 0.0
    """When the file was created, in seconds since the epoch."""
    rotate_to: str = ""
    """The new name of the file during a rotation; "" otherwise."""

    @property
    def identity(self) -> Identity:
        return self.device, self.inode


class LineFile:
    """The open file and its cursor.

    When the file was removed, methods raise `SinkConflictError` before the cursor moves. When it
    cannot be read or written (disk full, I/O error), they raise `SinkUnavailableError` and close
    the file. The next call opens it again and truncates it to the saved length; if that removed
    lines, the call raises `SinkConflictError`, and the caller reads `offset` again. So nothing is
    appended after a write or a sync that failed halfway.
    """

    def __init__(self, path: Path, context: SinkContext, rotation: Rotation) -> None:
        self.path = path
        self.offset = 0
        """The journal offset up to which lines are written."""
        self._name = context.name
        self._clock = context.clock
        self._watch = ClockWatch(context.clock, context.steady)
        self._rotation = rotation
        self._cursor_file = CursorFile(context.data_dir, context.name, LineFileCursor)
        self._saved = LineFileCursor()
        """The cursor as it was saved last, with `since` corrected for jumps of the clock."""
        self._node = ""
        self._fd = -1
        self._length = 0

    @property
    def unsynced(self) -> int:
        """Bytes that would be written again after a crash."""
        return self._length - self._saved.length

    def open(self, node: str) -> int:
        """Open the file, and truncate it to the length in the cursor if it is the same file.

        Returns:
            The journal offset up to which lines are written; 0 for another node.
        """
        self.close()
        self._node = node
        with self._guarded():
            cursor = self._cursor_file.load() or self._saved  # the saved one may have been removed
            self.offset = cursor.offset if cursor.node == node else 0
            if cursor.rotate_to:
                self._saved = cursor
                self._finish_rotation()
            else:
                self._fd = self._open()
                if self._is_same_file(cursor) and cursor.node == node:
                    self._resume(cursor)
                else:
                    self._begin_at_end()
        return self.offset

    def append(self, buffers: Sequence[bytes], offset: int) -> None:
        """Write whole lines: all up to a journal offset."""
        self._reopen()
        require_room(self.path, sum(map(len, buffers)))
        with self._guarded():
            self._length += _write(self._fd, buffers)
            self.offset = offset
            if self._rotation.size is not None and self._length >= self._rotation.size:
                self._rotate()

    def sync(self) -> int:
        """Make the lines durable, then the cursor that counts them.

        Returns:
            The durable offset.
        """
        self._reopen()
        with self._guarded():
            if self.unsynced or self.offset != self._saved.offset:
                self._save()
            self._follow_renames()
        return self._saved.offset

    def tick(self) -> None:
        """Rotate by time."""
        every = self._rotation.every
        if every is None:
            return
        self._reopen()
        now, _, jump = self._watch.read()
        # Setting the clock does not age the file: a rotation would delete the oldest one.
        self._saved.since = min(self._saved.since + jump, now)
        if self._length and now >= self._saved.since + every:
            with self._guarded():
                self._rotate()

    def close(self) -> None:
        """Close the file; the cursor stays as it was saved."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _reopen(self) -> None:
        """Open the file again if an error closed it."""
        if self._fd < 0:
            before = self.offset
            if self.open(self._node) != before:
                raise SinkConflictError(f"{self.path} was truncated to what was durable")

    # The file that the cursor describes

    def _open(self) -> int:
        make_directory(self.path.parent)
        fd = open_file(self.path, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise SinkUnavailableError(f"{self.path} is not a regular file")
        sync_directory(self.path.parent)
        return fd

    def _is_same_file(self, cursor: LineFileCursor) -> bool:
        """Return whether the open file is that of the cursor, with all its lines; log if not."""
        if not cursor.inode:
            return False  # the sink is new
        length = os.fstat(self._fd).st_size
        if identity_of(self._fd) != cursor.identity:
            self._warn("is not the file of the saved cursor")
            self._truncate_renamed(cursor)
        elif length < cursor.length:
            self._warn(f"is shorter ({length} bytes) than in the saved cursor ({cursor.length})")
        elif _tail(self._fd, cursor.length) != cursor.tail:
            self._warn("is another file than that of the saved cursor, in the same place")
        else:
            return True
        return False

    def _resume(self, cursor: LineFileCursor) -> None:
        """Truncate the file to the length in the cursor."""
        if os.fstat(self._fd).st_size > cursor.length:
            os.ftruncate(self._fd, cursor.length)
        self._saved, self._length = cursor, cursor.length

    def _begin_at_end(self) -> None:
        """Begin at the end of a file that no cursor describes, and save a cursor for it first.

        Without that cursor, a crash would leave it unknown which lines are ours.
        """
        length = os.fstat(self._fd).st_size
        if length and os.pread(self._fd, 1, length - 1) != b"\n":
            # End the partial line of another program, so that our first line is not joined to it.
            length += _write(self._fd, [b"\n"])
        self._length = length
        self._saved = LineFileCursor(node=self._node, since=self._clock())
        self._save()

    def _truncate_renamed(self, cursor: LineFileCursor) -> None:
        """Truncate our file, which another program has renamed, to the length in the cursor.

        The lines after that length will be written again, to the new file.
        """
        for entry in os.scandir(self.path.parent):
            if entry.inode() == cursor.inode and entry.is_file(follow_symlinks=False):
                with _opened(entry.path) as fd:
                    same_tail = _tail(fd, cursor.length) == cursor.tail
                    if identity_of(fd) == cursor.identity and same_tail:
                        os.ftruncate(fd, cursor.length)
                        return
        log.warning(
            "sink %s: the file that was %s is gone; lines since its last sync may be in it and "
            "will be written again",
            self._name,
            self.path,
        )

    def _follow_renames(self) -> None:
        """Continue in a new file when another program, such as logrotate, has renamed ours."""
        if identity_of(self.path) == self._saved.identity:
            return
        self._warn("was moved or replaced by another program")
        self.close()
        self._fd = self._open()
        self._begin_at_end()

    def _warn(self, what: str) -> None:
        log.warning("sink %s: %s %s; continuing at its end", self._name, self.path, what)

    def _save(self) -> None:
        """Sync the file, then save its length and the journal offset that it stands for."""
        length = os.fstat(self._fd).st_size
        if length != self._length:
            self._warn(f"has {length} bytes instead of {self._length}: another program writes it")
            self._length = length
        os.fdatasync(self._fd)
        status = os.fstat(self._fd)
        if not status.st_nlink:
            # The cursor stays as it was saved. The worker opens the sink again, which creates a
            # new file, and applies all later blocks again.
            self.close()
            raise SinkConflictError(
                f"{self.path} was removed by another program; what was not durable is written again"
            )
        self._saved.device, self._saved.inode = status.st_dev, status.st_ino
        self._saved.length, self._saved.tail = length, _tail(self._fd, length)
        self._saved.offset = self.offset
        self._cursor_file.save(self._saved)

    # Rotation

    def _rotate(self) -> None:
        serial = max((number for number, _ in self._rotated()), default=0) + 1
        self._saved.rotate_to = f"{self.path.name}.{serial:06}"
        self._save()
        self._finish_rotation()

    def _finish_rotation(self) -> None:
        """Do those steps after the intent that are not done yet: rename, create, save the end."""
        if identity_of(self.path) == self._saved.identity:
            self.path.rename(self.path.with_name(self._saved.rotate_to))
        self.close()
        self._fd = self._open()
        self._begin_at_end()
        if self._rotation.keep is not None:
            for _, path in self._rotated()[: -self._rotation.keep]:
                path.unlink()

    def _rotated(self) -> list[tuple[int, Path]]:
        """Return the rotated files with their serial numbers, oldest first.

        Numbers and not times, so that the newest file is not the oldest when the clock is set back.
        """
        name = re.compile(re.escape(self.path.name) + r"\.(\d{6,})", re.ASCII)
        return sorted(
            (int(match[1]), path)
            for path in self.path.parent.iterdir()
            if (match := name.fullmatch(path.name))
        )

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Close the file when the body fails."""
        try:
            yield
        except OSError as error:
            self.close()
            raise unavailable(self.path, error) from error
        except SinkUnavailableError:
            self.close()
            raise


def _write(fd: int, buffers: Sequence[bytes]) -> int:
    """Write all buffers, without joining them, and return their total length."""
    total = 0
    for start in range(0, len(buffers), _MAX_BUFFERS):
        batch = buffers[start : start + _MAX_BUFFERS]
        size = sum(map(len, batch))
        written = os.writev(fd, batch)
        if written < size:
            rest = memoryview(b"".join(batch))[written:]
            while rest:
                rest = rest[os.write(fd, rest) :]
        total += size
    return total


def _tail(fd: int, length: int) -> int:
    """Return the CRC-32 of the last `TAIL` bytes before a length."""
    start = max(0, length - TAIL)
    return zlib.crc32(os.pread(fd, length - start, start))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
