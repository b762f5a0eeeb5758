"""Following the journal: what a worker reads."""

from __future__ import annotations

import os
import time
from pathlib import Path

from fastlog.block import HEADER, Block
from fastlog.errors import JournalDamagedError, JournalError
from fastlog.journal.durable_offset import Mark
from fastlog.journal.recovery import check_versions
from fastlog.journal.secret import require_secret
from fastlog.journal.segment import (
    Segment,
    blocks,
    read_header,
    read_node,
    read_removed,
    segments,
)

_LOOK_EVERY = 0.5
"""Seconds between looks whether the file of the mark is still the one that was opened."""


class SkippedError(JournalError):
    """The blocks at this offset were released before this sink had read them, or removed."""

    def __init__(self, offset: int, oldest: int, index: int, *, removed: bool = False) -> None:
        what = "removed" if removed else "released"
        super().__init__(f"the journal goes on at offset {oldest}; {offset} was {what}")
        self.oldest = oldest
        """Journal offset of the oldest block behind it that is left."""
        self.index = index
        """Ordinal of its first frame."""
        self.removed = removed
        """Another program has removed files of the journal."""


class JournalReader:
    """Reads the durable part of the journal in `directory`; its writer must have started."""

    def __init__(self, directory: Path) -> None:
        check_versions(directory)
        node = read_node(directory)
        if node is None:
            raise JournalError(f"{directory} holds no journal: its file `node` is missing")
        self.node = node
        """The journal's node id, 32 hexadecimal digits."""
        self._directory = directory
        self._secret = require_secret(directory, [])
        self._mark = Mark(directory)
        self._open: tuple[Segment, int] | None = None
        self._look_at = time.monotonic() + _LOOK_EVERY

    def durable(self) -> int:
        """The published mark: blocks below this journal offset are on the disk for good."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_EVERY
            self._follow_mark()
        return self._mark.read() or 0

    def _follow_mark(self) -> None:
        """The writer makes the file of the mark anew when somebody has removed it."""
        if self._mark.is_in_place():
            return
        try:
            mark = Mark(self._directory)
        except (OSError, ValueError):
            return  # not yet
        self._mark.close()
        self._mark = mark

    def read(self, offset: int, max_bytes: int = 4 << 20) -> list[Block]:
        """The next durable blocks from `offset`, of one segment; [] when there are none yet.

        At least one block, whatever its size; no more than about `max_bytes`.

        Raises:
            SkippedError: They were released: go on at `SkippedError.oldest`.
            JournalDamagedError: What was durable cannot be read.
        """
        durable = self.durable()
        while offset < durable:
            try:
                return self._read(offset, durable, max_bytes)
            except FileNotFoundError:
                continue  # released between the look and the read: the next look says so
        return []

    def close(self) -> None:
        """Lets go of files and shared memory."""
        self._close_segment()
        self._mark.close()

    def _read(self, offset: int, durable: int, max_bytes: int) -> list[Block]:
        segment, until = self._find(offset)
        until = durable if until is None else min(until, durable)
        if segment.start > offset:
            raise self._skipped(offset, segment)
        data = self._pread(segment, offset, min(max_bytes, until - offset))
        if not data and (following := self._following(offset)) is not None:
            raise self._skipped(offset, following)
        next_header = read_header(memoryview(data), 0, offset, self._secret)
        if next_header is None:
            raise self._damaged(segment, offset)
        if len(data) < HEADER.size + next_header.length:
            data = self._pread(segment, offset, HEADER.size + next_header.length)
        found = [
            block
            for block, _ in blocks(memoryview(data), offset, self._secret)
            if block.end <= until
        ]
        if not found:
            raise self._damaged(segment, offset)
        return found

    def _skipped(self, offset: int, segment: Segment) -> SkippedError:
        """What to say where the blocks at `offset` are gone, and the next are in `segment`."""
        header = self._pread(segment, segment.start, HEADER.size)
        first = read_header(memoryview(header), 0, segment.start, self._secret)
        if first is None:
            raise self._damaged(segment, segment.start)
        removed = any(
            low < segment.start and offset < high for low, high in read_removed(self._directory)
        )
        return SkippedError(offset, segment.start, first.index, removed=removed)

    def _following(self, offset: int) -> Segment | None:
        """The first segment behind `offset`."""
        return next((s for s in segments(self._directory) if s.start > offset), None)

    def _find(self, offset: int) -> tuple[Segment, int | None]:
        """The segment that holds `offset`, or the oldest if it is gone; and where it ends."""
        found = segments(self._directory)
        if not found:
            raise JournalError(f"{self._directory} holds no segment")
        at = max((i for i, s in enumerate(found) if s.start <= offset), default=0)
        return found[at], found[at + 1].start if at + 1 < len(found) else None

    def _pread(self, segment: Segment, offset: int, size: int) -> bytes:
        if self._open is None or self._open[0] != segment or not self._is_current(segment):
            self._close_segment()
            self._open = segment, os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._open[1], size, offset - segment.start)

    def _is_current(self, segment: Segment) -> bool:
        """A segment can be written anew under the same name, after a failed sync."""
        assert self._open is not None
        return os.fstat(self._open[1]).st_ino == segment.path.stat().st_ino

    def _close_segment(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def _damaged(self, segment: Segment, offset: int) -> JournalDamagedError:
        return JournalDamagedError(
            f"the journal is damaged: {segment.path}, offset {offset}: no sound block there; "
            "stop the server and run `fastlog check --repair`"
        )
