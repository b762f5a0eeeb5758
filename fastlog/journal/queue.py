"""The queue of the journal's blocks that are not durable yet: pure bookkeeping, without I/O.

A block is queued (in memory), written (in the file, still in memory) or durable. It stays in memory
until it is durable, because a write or a sync can fail and the block is then written again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from fastlog.block import HEADER


@dataclass(slots=True)  # making a frozen one takes three times as long
class QueuedBlock:
    """A block in memory."""

    offset: int
    runs: bytes
    frames: int
    index: int
    received_us: int

    @property
    def size(self) -> int:
        """Bytes in the journal, with the header."""
        return HEADER.size + len(self.runs)


class BlockQueue:
    """The blocks in memory, and the journal offsets that follow from them.

    It has no lock: its callers hold the journal's.

    Args:
        end: Journal offset of the next block.
        index: Ordinal of the next frame.
        memory_limit: Bytes that all blocks together may have.
        received_us: When the last block before `end` was received, in microseconds since the epoch;
            0 if that is not known.
    """

    def __init__(self, end: int, index: int, memory_limit: int, received_us: int = 0) -> None:
        self.end = self.written = self.durable = end
        self.index = index
        self.durable_received_us = received_us
        """When the newest durable block was received; 0 if that is not known."""
        self.memory = 0
        """Bytes of all blocks."""
        self.unwritten = 0
        """Bytes of the blocks that are not written."""
        self._memory_limit = memory_limit
        self._awaited = 0
        self._queued: deque[QueuedBlock] = deque()
        self._written: deque[QueuedBlock] = deque()

    def __len__(self) -> int:
        """Return the number of blocks that are not written."""
        return len(self._queued)

    @property
    def is_empty(self) -> bool:
        """Whether no block is in memory: all are durable."""
        return not (self._queued or self._written)

    @property
    def has_written(self) -> bool:
        """Whether blocks are written that no sync has made durable."""
        return bool(self._written)

    @property
    def is_awaited(self) -> bool:
        """Whether a caller waits for blocks to be durable."""
        return self.durable < self._awaited

    def has_memory_for(self, size: int) -> bool:
        """Return whether a block of this size may be added; the first one always may."""
        return not self.memory or self.memory + size <= self._memory_limit

    def append(self, runs: bytes, frames: int, received_us: int) -> None:
        """Add a block at the end."""
        block = QueuedBlock(self.end, runs, frames, self.index, received_us)
        self._queued.append(block)
        self.end += block.size
        self.index += frames
        self.memory += block.size
        self.unwritten += block.size

    def await_all(self) -> None:
        """Mark all blocks as awaited: they are to be written and synced at once."""
        self._awaited = self.end

    def next_group(self, max_bytes: int, max_blocks: int) -> list[QueuedBlock]:
        """Return the oldest blocks that are not written, within both limits, but at least one."""
        group: list[QueuedBlock] = []
        size = 0
        for block in self._queued:
            if group and (size + block.size > max_bytes or len(group) == max_blocks):
                break
            group.append(block)
            size += block.size
        return group

    def mark_written(self, count: int) -> None:
        """Count the `count` oldest queued blocks as written."""
        for _ in range(count):
            block = self._queued.popleft()
            self._written.append(block)
            self.unwritten -= block.size
            self.written += block.size

    def mark_durable(self) -> None:
        """Count all written blocks as durable, and drop them."""
        self.durable = self.written
        if self._written:
            self.durable_received_us = self._written[-1].received_us
        self.memory -= sum(block.size for block in self._written)
        self._written.clear()

    def requeue_written(self) -> None:
        """Queue the written blocks again, in front: a sync of them failed."""
        self._queued.extendleft(reversed(self._written))
        self.unwritten += self.written - self.durable
        self._written.clear()
        self.written = self.durable

    def remaining(self) -> list[bytes]:
        """Return the runs of the blocks that are not durable."""
        return [block.runs for block in (*self._written, *self._queued)]
