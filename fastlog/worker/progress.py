"""How far a worker is in the journal, and what it says when the journal went on without it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from fastlog.block import Block
from fastlog.errors import JournalError
from fastlog.journal import Position, SkippedError
from fastlog.record import Loss

log = logging.getLogger(__name__)

REMOVED = "files of the journal were removed"
LOOKS = 16
"""Reads of the journal that finding an ordinal may cost."""


class Reader(Protocol):
    """What a worker needs of a `JournalReader`."""

    @property
    def node(self) -> str: ...
    def durable(self) -> int: ...
    def read(self, offset: int, max_bytes: int = ...) -> list[Block]: ...


class Progress:
    """The sink's cursor, and what is known of the blocks around it."""

    def __init__(self, reader: Reader, name: str, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._name = name
        self._clock = clock
        self.cursor = 0
        """The sink's, as far as this worker knows."""
        self.index: int | None = None
        """Ordinal of the first frame behind the cursor; None while nobody knows it."""
        self._stamp: float | None = None
        """When the last applied block was received."""
        self._went_back = False
        """Whether the sink lacks what it had once made durable, and nothing was applied since."""

    def begin(self, cursor: int, left: Position | None, index: int | None = None) -> None:
        """The sink stands at `cursor`; `left` is the position that was left last, if any was.

        Args:
            index: the ordinal at the cursor, where the sink keeps it.
        """
        self.cursor = cursor
        self.index = 0 if cursor == 0 else self._find(cursor, left) if index is None else index
        self._went_back = left is not None and cursor < left.durable

    def passed(self, block: Block) -> None:
        """The sink has this block."""
        self.cursor = block.end
        self.index = block.index + block.frames
        self._stamp = block.received
        self._went_back = False

    def comes(self, block: Block) -> None:
        """This block was read next, which may tell the ordinal that was not known."""
        if self.index is None and block.offset == self.cursor:
            self.index = block.index

    def gap(self, skipped: SkippedError, left: Position | None, missing: str = "") -> Loss | None:
        """What the sink will never get, because the journal released it; None when that is nothing.

        Counted from the cursor, not from where the last gap ended: until the next block is applied
        the journal may release more, and this is then said again, with the greater count.

        Args:
            missing: what the sink says of records that it had and has no more.
        """
        name = self._name
        if left is None and self.cursor == 0:
            log.info("sink %s is new: it begins at offset %d", name, skipped.oldest)
            return None
        if self._went_back and missing:
            return self._gone(skipped, left, missing)
        if self._went_back and left is not None:
            log.warning(
                "sink %s went back from offset %d to %d: what it had is not in the journal any "
                "more; going on at %d",
                *(name, left.durable, self.cursor, skipped.oldest),
            )
            return None
        now = self._clock()
        count = -1 if self.index is None else skipped.index - self.index
        told = "an unknown number of" if count < 0 else str(count)
        why = REMOVED if skipped.removed else "it was too far behind"
        log.error("sink %s: %s: %s frames are lost to it", name, why, told)
        return Loss(
            peer="",
            reason=REMOVED if skipped.removed else "the journal was full and the sink behind",
            count=count,
            first=self._stamp or (now if left is None else left.at),
            last=now,
            detail=f"sink {name}, journal offsets {self.cursor} to {skipped.oldest}; counted in "
            "frames, with those that are no records",
        )

    def _gone(self, skipped: SkippedError, left: Position | None, missing: str) -> Loss:
        """What the sink had stored, and neither it nor the journal has any more."""
        now = self._clock()
        # From offset 0 on, retention may have deleted much of it long ago: that is no loss.
        count = -1 if self.index is None or self.cursor == 0 else skipped.index - self.index
        told = "an unknown number of" if count < 0 else str(count)
        log.error(
            "sink %s: %s frames that were stored are gone (%s); going on at offset %d",
            *(self._name, told, missing, skipped.oldest),
        )
        return Loss(
            peer="",
            reason="stored, then gone: a day file was damaged or removed",
            count=count,
            first=self._stamp or (now if left is None else left.at),
            last=now,
            detail=f"sink {self._name}, journal offsets {self.cursor} to {skipped.oldest}; counted "
            f"in frames, with those that are no records; {missing}",
        )

    def _find(self, cursor: int, left: Position | None) -> int | None:
        """The ordinal at the cursor: of the block there, or counted on from an older position."""
        if left is not None and left.cursor == cursor and left.index is not None:
            return left.index
        try:
            if blocks := self._reader.read(cursor, 1):
                return blocks[0].index
            at = cursor if left is None else left.cursor
            for _ in range(LOOKS):
                if at >= cursor:
                    break
                for block in self._reader.read(at):
                    at = block.end
                    if at == cursor:
                        return block.index + block.frames
        except JournalError:  # released or damaged: the batch that is read next meets it too
            pass
        return None
