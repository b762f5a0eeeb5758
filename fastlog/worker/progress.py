"""A worker's progress in the journal, and the losses when the journal has released blocks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from fastlog.block import Block
from fastlog.errors import JournalError
from fastlog.journal import SinkPosition, SkippedError
from fastlog.record import Loss

log = logging.getLogger(__name__)

REMOVED = "files of the journal were removed"
SEARCH_READS = 16
"""Reads of the journal that the search for an ordinal may take."""


class Reader(Protocol):
    """The part of `JournalReader` that a worker uses."""

    @property
    def node(self) -> str: ...
    def durable(self) -> int: ...
    def read(self, offset: int, max_bytes: int = ...) -> list[Block]: ...


class Progress:
    """The sink's cursor, and what the worker knows of the blocks around it."""

    def __init__(self, reader: Reader, name: str, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._name = name
        self._clock = clock
        self.cursor = 0
        """The sink's cursor, as far as this worker knows."""
        self.index: int | None = None
        """Ordinal of the first frame after the cursor; None while it is unknown."""
        self.received: float | None = None
        """When the newest applied block was received; None while it is unknown."""
        self._went_back = False
        """Whether the sink's cursor is before what it had made durable, and no block was applied
        since."""

    def begin(self, cursor: int, last: SinkPosition | None, index: int | None = None) -> None:
        """Begin at the sink's cursor.

        Args:
            last: the position that was written last, if there is one.
            index: the ordinal at the cursor, if the sink stores it.
        """
        if self.received is None or cursor < self.cursor:
            # Where newer blocks are applied, too, this is older than the truth, until the next one.
            is_known = last is not None and cursor >= last.cursor
            self.received = last.stored_received if last is not None and is_known else None
        self.cursor = cursor
        self.index = 0 if cursor == 0 else self._find(cursor, last) if index is None else index
        self._went_back = last is not None and cursor < last.durable

    def block_applied(self, block: Block) -> None:
        """Move the cursor to the end of a block that the sink has applied."""
        self.cursor = block.end
        self.index = block.index + block.frames
        self.received = block.received
        self._went_back = False

    def block_read(self, block: Block) -> None:
        """Take the unknown ordinal from the next block, if it is the one at the cursor."""
        if self.index is None and block.offset == self.cursor:
            self.index = block.index

    def gap(
        self, skipped: SkippedError, last: SinkPosition | None, missing: str = ""
    ) -> Loss | None:
        """Return the loss of blocks that the journal has released; None if nothing is lost.

        It is counted from the cursor, not from the end of the last gap: until the next block is
        applied the journal may release more, and the loss is then returned again, with the greater
        count.

        Args:
            missing: the sink's reason why records that it had stored are gone; "" if none are.
        """
        name = self._name
        if last is None and self.cursor == 0:
            log.info("sink %s is new: it begins at offset %d", name, skipped.oldest)
            return None
        if self._went_back and missing:
            return self._stored_loss(skipped, last, missing)
        if self._went_back and last is not None:
            log.warning(
                "sink %s went back from offset %d to %d: the journal has released these "
                "blocks; continuing at %d",
                *(name, last.durable, self.cursor, skipped.oldest),
            )
            return None
        now = self._clock()
        count = -1 if self.index is None else skipped.index - self.index
        shown = "an unknown number of" if count < 0 else str(count)
        why = REMOVED if skipped.removed else "it was too far behind"
        log.error("sink %s: %s: %s frames are lost for it", name, why, shown)
        return Loss(
            peer="",
            reason=REMOVED if skipped.removed else "the journal was full and the sink behind",
            count=count,
            first=self.received or (now if last is None else last.at),
            last=now,
            detail=f"sink {name}, journal offsets {self.cursor} to {skipped.oldest}; counted in "
            "frames, with those that are no records",
        )

    def _stored_loss(self, skipped: SkippedError, last: SinkPosition | None, missing: str) -> Loss:
        """Return the loss of stored records that neither the sink nor the journal has now."""
        now = self._clock()
        # From offset 0 on, retention may have deleted much of it long ago: that is no loss.
        count = -1 if self.index is None or self.cursor == 0 else skipped.index - self.index
        shown = "an unknown number of" if count < 0 else str(count)
        log.error(
            "sink %s: %s frames that were stored are gone (%s); continuing at offset %d",
            *(self._name, shown, missing, skipped.oldest),
        )
        return Loss(
            peer="",
            reason="stored, then gone: the store was damaged, removed or set back",
            count=count,
            first=self.received or (now if last is None else last.at),
            last=now,
            detail=f"sink {self._name}, journal offsets {self.cursor} to {skipped.oldest}; counted "
            f"in frames, with those that are no records; {missing}",
        )

    def _find(self, cursor: int, last: SinkPosition | None) -> int | None:
        """Return the ordinal at the cursor: of its block, or counted from an older position."""
        if last is not None and last.cursor == cursor and last.index is not None:
            return last.index
        try:
            if blocks := self._reader.read(cursor, 1):
                return blocks[0].index
            at = cursor if last is None else last.cursor
            for _ in range(SEARCH_READS):
                if at >= cursor:
                    break
                for block in self._reader.read(at):
                    at = block.end
                    if at == cursor:
                        return block.index + block.frames
        except JournalError:  # released or damaged: the next read raises it again
            pass
        return None
