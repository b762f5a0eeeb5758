"""A page of shared memory in a file: one process writes it, others read it without a system call.

Items of a cast view are moved as whole machine words, so a reader sees each word whole. Several
words together may be read in the middle of an update: each kind of page detects that itself.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from fastlog.files import identity_of, open_file

ALL_BITS = (1 << 64) - 1
"""A word with every bit set."""
_SIZE = 4096


class SharedPage:
    """The first words of a mapped file.

    Args:
        path: The file. A writer makes it if it is missing.
        words: The number of 64-bit words to use.
        writable: True for the one process that writes the page.

    Raises:
        OSError: The file cannot be made, or does not exist yet.
    """

    def __init__(self, path: Path, words: int, *, writable: bool = False) -> None:
        self.path = path
        fd = open_file(path, os.O_RDWR) if writable else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        try:
            if os.fstat(fd).st_size < _SIZE:
                if not writable:
                    raise FileNotFoundError(f"{path} is empty")
                os.posix_fallocate(fd, 0, _SIZE)  # a hole would be SIGBUS on a full disk
            self._map = mmap.mmap(fd, _SIZE, access=access)
            self._identity = identity_of(fd)
        finally:
            os.close(fd)
        self.words = memoryview(self._map)[: 8 * words].cast("Q")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def is_in_place(self) -> bool:
        """Return whether the path still names the mapped file."""
        return identity_of(self.path) == self._identity

    def close(self) -> None:
        """Unmap the page."""
        self.words.release()
        self._map.close()
