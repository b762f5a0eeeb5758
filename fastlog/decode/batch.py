"""The blocks that a sink gets at once, which may be decoded while it stores them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import overload

from fastlog.block import Block
from fastlog.decode.decoder import Decoded


class Batch(Sequence[Decoded]):
    """Consecutive blocks of the journal, in order. Each is decoded when it is read first.

    Args:
        raw: The blocks, not decoded. The list becomes a part of the batch.
        decode: Decodes one.
        finish: Called once with all decoded blocks, before the last of them can be read. If it
            raises an exception, that read fails, and the next one calls it again.
    """

    def __init__(
        self,
        raw: list[Block],
        decode: Callable[[Block], Decoded],
        finish: Callable[[Sequence[Decoded]], None],
    ) -> None:
        self.raw = raw
        """The blocks. To read them decodes nothing."""
        self._decoded: list[Decoded] = []
        self._decode, self._finish = decode, finish
        self._is_finished = False

    @classmethod
    def of(cls, decoded: Iterable[Decoded]) -> Batch:
        """Return a batch of blocks that are decoded already."""
        blocks = list(decoded)
        known = iter(blocks)
        batch = cls([each.block for each in blocks], lambda _: next(known), lambda _: None)
        batch.complete()
        return batch

    @property
    def is_complete(self) -> bool:
        """Whether all blocks are decoded, and `finish` has succeeded."""
        return self._is_finished

    def complete(self) -> None:
        """Decode what is not decoded yet."""
        self._read(len(self.raw))

    def drop(self, count: int) -> None:
        """Remove the first blocks, which are decoded."""
        del self.raw[:count], self._decoded[:count]

    def __len__(self) -> int:
        return len(self.raw)

    @overload
    def __getitem__(self, at: int) -> Decoded: ...

    @overload
    def __getitem__(self, at: slice) -> list[Decoded]: ...

    def __getitem__(self, at: int | slice) -> Decoded | list[Decoded]:
        places = range(len(self.raw))
        if isinstance(at, slice):
            self._read(max(places[at], default=-1) + 1)
            return [self._decoded[place] for place in places[at]]
        self._read(places[at] + 1)
        return self._decoded[places[at]]

    def _read(self, count: int) -> None:
        while len(self._decoded) < count:
            self._decoded.append(self._decode(self.raw[len(self._decoded)]))
        if len(self._decoded) == len(self.raw) and not self._is_finished:
            self._finish(self._decoded)
            self._is_finished = True
