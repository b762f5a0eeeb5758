"""The blocks of one node in the order of its journal, for a worker: what `JournalReader` is for the
journal of this server.

Nothing is trusted but the cursor that the worker asks for. A packet that ends before it was stored
already. One that follows a later offset shows a gap: blocks were lost on the way, the collector
still has them, and the worker waits until they are published again.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Final, NamedTuple

from fastlog.block import Block
from fastlog.jetstream.node_state import Gap
from fastlog.jetstream.packet import Assembler, Packet, read_part
from fastlog.journal import SkippedError
from fastlog.source.feed import Feed

_PASSED: Final = 10_000
"""Packets whose place in the stream is kept until they are durable."""
_MESSAGES: Final = 1000
"""Messages that one `read` looks at: a flood of one subject delays other nodes only briefly."""


class _Arrived(NamedTuple):
    packet: Packet | None
    """None: it was stored before, and so not read."""
    end: int
    seq: int
    """The sequence of its last message."""


class NodeReader:
    """Reads the blocks of a node from its feed."""

    def __init__(self, node: str, feed: Feed) -> None:
        self.node = node
        self._feed = feed
        self._assembler = Assembler()
        self._waiting: _Arrived | None = None
        """A packet that was taken from the feed, and not read yet."""
        self._next: int | None = None
        """The offset after what was read last; None: nothing was read."""
        self._missed: Gap | None = None
        self._has_looked_twice = False
        """Whether the subject was read twice since the last block."""
        self._passed: deque[tuple[int, int]] = deque(maxlen=_PASSED)
        """The end and the sequence of packets, in order of the stream."""
        self.damaged = 0
        """Messages that are damaged, of another format or of another node."""
        self._left = 0
        """Messages that this `read` may still look at."""

    def durable(self) -> int:
        """Return an offset above all: what the stream has may be read."""
        return sys.maxsize

    @property
    def has_blocks(self) -> bool:
        """Whether something can be read now."""
        return self._waiting is not None or self._feed.has_messages

    @property
    def gap(self) -> Gap | None:
        """The blocks that are missing, as far as the stream has been read; None if none are."""
        return self._missed if self._has_looked_twice and self._feed.is_at_end else None

    def read(self, offset: int, max_bytes: int = 4 << 20) -> list[Block]:
        """Return the next blocks from `offset` on; [] if there are none yet.

        Raises:
            SkippedError: The node's journal has released them unread.
        """
        if offset != self._next:
            if self._next is not None:
                self._restart()
            self._next = offset
        found: list[Block] = []
        max_bytes = min(max_bytes, self._feed.share)
        self._left = _MESSAGES
        while offset - self._next < max_bytes and (arrived := self._arrived(offset)) is not None:
            if arrived.packet is None:
                self._passed.append((arrived.end, arrived.seq))
                continue
            rest = [block for block in arrived.packet.blocks if block.end > offset]
            if rest and rest[0].offset > offset >= arrived.packet.follows:
                self._waiting = arrived
                if not found:
                    self._next = rest[0].offset
                    raise SkippedError(offset, rest[0].offset, rest[0].index)
                break
            if rest and rest[0].offset != offset:
                self._missed = Gap(offset, arrived.seq)
                continue
            self._passed.append((arrived.end, arrived.seq))
            if rest:
                found += rest
                offset = rest[-1].end
                self._missed, self._has_looked_twice = None, False
        if found:
            self._next = offset
        elif self._missed and self._feed.is_at_end and not self._has_looked_twice:
            self._restart()
            self._has_looked_twice = True
        return found

    def stored(self, durable: int) -> int:
        """Return the sequence of the last message that is not needed any more; 0 if there is none.

        Args:
            durable: The offset up to which blocks are durable.
        """
        seq = 0
        while self._passed and self._passed[0][0] <= durable:
            seq = self._passed.popleft()[1]
        return seq

    def _restart(self) -> None:
        self._feed.restart()
        self._assembler = Assembler()
        self._waiting = self._missed = None
        self._has_looked_twice = False
        self._passed.clear()

    def _arrived(self, offset: int) -> _Arrived | None:
        """Return the next packet; None if there is none yet, or enough was looked at."""
        if self._waiting is not None:
            arrived, self._waiting = self._waiting, None
            return arrived
        while self._left and (message := self._feed.take()) is not None:
            self._left -= 1
            part = read_part(message.data)
            if part is None or part.node != self.node:
                self.damaged += 1
                continue
            if part.end <= offset:
                if part.is_last:
                    return _Arrived(None, part.end, message.seq)
                continue
            try:
                packet = self._assembler.add(part)
            except ValueError:
                self.damaged += 1
                continue
            if packet is not None:
                return _Arrived(packet, packet.end, message.seq)
        return None
