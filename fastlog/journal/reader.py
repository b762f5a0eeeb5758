"""The journal's reader: follows the durable part of the journal, for a worker."""

from __future__ import annotations

import os
import time
from pathlib import Path

from fastlog.block import HEADER, Block
from fastlog.errors import JournalDamagedError, JournalError
from fastlog.journal.durable_offset import DurableOffset
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

_CHECK_INTERVAL = 0.5
"""Seconds between checks whether the page of the durable offset is still the one in its place."""


class SkippedError(JournalError):
    """The blocks at an offset were released before this sink had read them, or removed."""

    def __init__(self, offset: int, oldest: int, index: int, *, removed: bool = False) -> None:
        what = "removed" if removed else "released"
        super().__init__(f"the journal continues at offset {oldest}; offset {offset} was {what}")
        self.oldest = oldest
        """Journal offset of the first block after it that still exists."""
        self.index = index
        """Ordinal of its first frame."""
        self.removed = removed
        """Whether another program has removed files of the journal."""


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
        self._durable_page = DurableOffset(directory)
        self._open: tuple[Segment, int] | None = None
        self._check_at = time.monotonic() + _CHECK_INTERVAL

    def durable(self) -> int:
        """Return the durable offset: blocks below it are on the disk for good."""
        if time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + _CHECK_INTERVAL
            self._reopen_page()
        return self._durable_page.read() or 0

    def _reopen_page(self) -> None:
        """Open the page again if the writer has made it again, after another program removed it."""
        if self._durable_page.is_in_place():
            return
        try:
            page = DurableOffset(self._directory)
        except (OSError, ValueError):
            return  # not made yet
        self._durable_page.close()
        self._durable_page = page

    def read(self, offset: int, max_bytes: int = 4 << 20) -> list[Block]:
        """Return the next durable blocks from `offset`, of one segment; [] if there are none yet.

        They have about `max_bytes` together at most, but at least one block is returned.

        Raises:
            SkippedError: They were released: continue at `SkippedError.oldest`.
            JournalDamagedError: Blocks that were durable cannot be read.
        """
        durable = self.durable()
        while offset < durable:
            try:
                return self._read(offset, durable, max_bytes)
            except FileNotFoundError:
                continue  # released just now: the next attempt raises SkippedError
        return []

    def close(self) -> None:
        """Close the files and the shared page."""
        self._close_segment()
        self._durable_page.close()

    def _read(self, offset: int, durable: int, max_bytes: int) -> list[Block]:
        segment, until = self._find(offset)
        until = durable if until is None else min(until, durable)
        if segment.start > offset:
            raise self._skipped(offset, segment)
        size = max(HEADER.size, max_bytes)  # less would not tell a block from damage
        data = self._pread(segment, offset, min(size, until - offset))
        if not data and (following := self._following(offset)) is not None:
            raise self._skipped(offset, following)
        next_header = read_header(memoryview(data), 0, offset, self._secret)
        if next_header is None:
            raise self._of_a_copy(segment, offset) or self._damaged(segment, offset)
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
        """Return the error for released or removed blocks; `segment` has the next ones."""
        header = self._pread(segment, segment.start, HEADER.size)
        first = read_header(memoryview(header), 0, segment.start, self._secret)
        if first is None:
            raise self._damaged(segment, segment.start)
        removed = any(
            low < segment.start and offset < high for low, high in read_removed(self._directory)
        )
        return SkippedError(offset, segment.start, first.index, removed=removed)

    def _following(self, offset: int) -> Segment | None:
        """Return the first segment that begins behind `offset`."""
        return next((s for s in segments(self._directory) if s.start > offset), None)

    def _find(self, offset: int) -> tuple[Segment, int | None]:
        """Return the segment that holds `offset`, or the oldest if that is gone, and its end.

        The end is None for the last segment.
        """
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
        """Return whether the path still names the open file: after a failed sync, a segment can be
        written again under the same name."""
        assert self._open is not None
        return os.fstat(self._open[1]).st_ino == segment.path.stat().st_ino

    def _close_segment(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def _of_a_copy(self, segment: Segment, offset: int) -> JournalDamagedError | None:
        """Return the error for an offset inside of a block, which no sink of this journal has."""
        at = segment.start
        while at < offset:
            data = self._pread(segment, at, HEADER.size)
            header = read_header(memoryview(data), 0, at, self._secret)
            if header is None:
                return None
            at += HEADER.size + header.length
        if at == offset:
            return None
        return JournalDamagedError(
            f"no block of the journal in {self._directory} begins at offset {offset}, up to which "
            "the sink has stored it: another server stores a copy of this journal into the same "
            "place; stop this one, and move its journal away to begin a new one"
        )

    def _damaged(self, segment: Segment, offset: int) -> JournalDamagedError:
        return JournalDamagedError(
            f"the journal is damaged: {segment.path}, offset {offset}: no valid block there; "
            "stop the server and run `fastlog check --repair`"
        )
