"""A sink's progress page: its worker's offset and throughput, updated many times a second.

The sink position is written once a second and decides which segments may be deleted. The progress
page shows how long what is received now will wait, so that the receiver can throttle connections
in time. The worker updates it in place, without a notification. A reader looks at the first word,
which changes with every update, and checks the exclusive or of all words, which detects a page
that is being updated. The page of a worker that has died keeps its last content.
"""

from __future__ import annotations

from functools import reduce
from operator import xor
from pathlib import Path
from typing import NamedTuple

from fastlog.files import make_directory
from fastlog.journal.page import ALL_BITS, SharedPage

SUFFIX = ".progress"
_UPDATE, _NODE, _APPLIED, _FRAME, _SPEED, _CHECK = range(6)
_WORDS = _CHECK + 1
UNKNOWN = ALL_BITS
"""The value of `Reading.frame` when the worker does not know it."""


class Reading(NamedTuple):
    """The content of a progress page."""

    applied: int
    """Journal offset up to which blocks are in the sink."""
    frame: int
    """Ordinal of the first frame after that offset, or `UNKNOWN`."""
    speed: int
    """The worker's throughput while it has work: bytes a second, with `FRAME_WEIGHT` added for each
    frame. 0: the sink is failing."""


class ProgressPage(SharedPage):
    """The progress page of the sink `name`; `writable` for its one worker.

    Args:
        node: The journal's node id. The page of a worker of another journal reads as empty.

    Raises:
        OSError: The file cannot be made, or does not exist yet.
    """

    def __init__(self, data_dir: Path, name: str, node: str, *, writable: bool = False) -> None:
        self._node = int(node[:16], 16)
        path = data_dir / "positions" / f"{name}{SUFFIX}"
        if writable:
            make_directory(path.parent)
        super().__init__(path, _WORDS, writable=writable)
        self._last_update = 0
        self._reading: Reading | None = None

    def publish(self, reading: Reading) -> None:
        """Replace the page's content."""
        update = (self.words[_UPDATE] + 1) & ALL_BITS or 1
        words = [update, self._node, *reading]
        words.append(reduce(xor, words) ^ ALL_BITS)
        for at, word in enumerate(words):
            self.words[at] = word

    def read(self) -> Reading | None:
        """Return the content, or the last one that could be read; None if there was none yet."""
        if self.words[_UPDATE] != self._last_update:
            words = self.words.tolist()
            if reduce(xor, words) == ALL_BITS:
                self._last_update = words[_UPDATE]
                self._reading = self._decode(words)
        return self._reading

    def _decode(self, words: list[int]) -> Reading | None:
        if words[_NODE] != self._node:
            return None
        return Reading(*words[_APPLIED:_CHECK])
