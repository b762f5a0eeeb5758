"""A sink's gauge: how far its worker is, and how fast, told many times a second.

The position file says what segments may go, once a second; this says how long what is received
now will have to wait, so that the receiver can read more slowly from who sends too much. It is one
page of shared memory in a file. It is written in place and nobody is told: a reader looks at the
first word, which is another one after every writing, and sums up all words to see whether it has
caught the page in the middle of one. A worker that has died leaves its last word standing.
"""

from __future__ import annotations

import mmap
import os
from functools import reduce
from operator import xor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from fastlog.files import make_directory, open_file

_ALL = (1 << 64) - 1
_SIZE = 4096
_TURN, _NODE, _APPLIED, _FRAME, _SPEED, _CHECK = range(6)
_WORDS = _CHECK + 1
UNKNOWN = _ALL
"""As an ordinal: the worker does not know it."""


class Reading(NamedTuple):
    """What a gauge shows."""

    applied: int
    """Journal offset up to which blocks are in the sink."""
    frame: int
    """Ordinal of the first frame behind that; or `UNKNOWN`."""
    speed: int
    """Bytes a second that the worker gets through when it has them, each frame counting
    `FRAME_WEIGHT` more than it has; 0: the sink takes nothing at present."""


class ProgressPage:
    """The gauge of the sink `name`; `writable` for its one worker.

    Args:
        node: The journal's; what a worker of another journal left is as good as nothing.

    Raises:
        OSError: The file cannot be made, or is not there yet.
    """

    def __init__(self, data_dir: Path, name: str, node: str, *, writable: bool = False) -> None:
        self._node = int(node[:16], 16)
        path = data_dir / "positions" / f"{name}.gauge"
        if writable:
            make_directory(path.parent)
        fd = open_file(path, os.O_RDWR) if writable else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size < _SIZE:
                if not writable:
                    raise FileNotFoundError(f"{path} is empty")
                os.posix_fallocate(fd, 0, _SIZE)  # a hole would be SIGBUS on a full disk
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._map = mmap.mmap(fd, _SIZE, access=access)
        finally:
            os.close(fd)
        self._words = memoryview(self._map)[: 8 * _WORDS].cast("Q")
        self._seen = 0
        self._reading: Reading | None = None

    def __enter__(self) -> ProgressPage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def publish(self, reading: Reading) -> None:
        """Shows this."""
        turn = (self._words[_TURN] + 1) & _ALL or 1
        words = [turn, self._node, *reading]
        words.append(reduce(xor, words) ^ _ALL)
        for at, word in enumerate(words):
            self._words[at] = word

    def read(self) -> Reading | None:
        """What it shows, or showed when it could be read last; None if that is nothing yet."""
        if self._words[_TURN] != self._seen:
            words = self._words.tolist()
            if reduce(xor, words) == _ALL:
                self._seen = words[_TURN]
                self._reading = self._understood(words)
        return self._reading

    def _understood(self, words: list[int]) -> Reading | None:
        if words[_NODE] != self._node:
            return None
        return Reading(*words[_APPLIED:_CHECK])

    def close(self) -> None:
        """Lets go of the shared page."""
        self._words.release()
        self._map.close()
