"""The durable mark: how much of the journal is on the disk for good.

Only the journal's writer knows, so it publishes; nobody may infer it from what the files seem to
hold, since a block that is being written looks like a block. The mark is one page of shared
memory in a file, with the value and its complement: a reader that sees the two disagree looks
again, and after a power cut a torn page tells nothing.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from types import TracebackType

from fastlog.files import open_file

_ALL = (1 << 64) - 1
_SIZE = 4096


class Mark:
    """The mark of the journal in `directory`; `writable` for its one writer."""

    def __init__(self, directory: Path, *, writable: bool = False) -> None:
        path = directory / "mark"
        fd = open_file(path, os.O_RDWR) if writable else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        try:
            if os.fstat(fd).st_size < _SIZE:
                if not writable:
                    raise FileNotFoundError(f"{path} is empty")
                os.posix_fallocate(fd, 0, _SIZE)  # a hole would be SIGBUS on a full disk
            self._map = mmap.mmap(fd, _SIZE, access=access)
        finally:
            os.close(fd)
        # Items of a cast view are moved as whole machine words, which a reader sees whole.
        self._words = memoryview(self._map)[:16].cast("Q")

    def __enter__(self) -> Mark:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def publish(self, durable: int) -> None:
        """Says that the journal is durable up to this offset."""
        self._words[0] = durable
        self._words[1] = durable ^ _ALL

    def read(self) -> int | None:
        """The published offset, or None if none can be read (yet)."""
        for _ in range(1000):
            durable, complement = self._words[0], self._words[1]
            if durable ^ complement == _ALL:
                return durable
        return None

    def close(self) -> None:
        """Lets go of the shared page."""
        self._words.release()
        self._map.close()
