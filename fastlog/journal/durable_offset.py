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

from fastlog.files import identity_of, open_file
from fastlog.journal.version import require_version

_ALL = (1 << 64) - 1
_SIZE = 4096
_VERSION = 1
_NAME = int.from_bytes(b"FLMARK\0\0", "big")
"""Beside the version in the third word. A page that is new or torn has neither."""


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
            self._path, self._file = path, identity_of(fd)
        finally:
            os.close(fd)
        # Items of a cast view are moved as whole machine words, which a reader sees whole.
        self._words = memoryview(self._map)[:24].cast("Q")

    def __enter__(self) -> Mark:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def is_in_place(self) -> bool:
        """Whether this is still the file that others find."""
        return identity_of(self._path) == self._file

    def version(self) -> int | None:
        """The version of the fastlog that wrote it, or None if none can be read."""
        word = self._words[2]
        return word & 0xFFFF if word & ~0xFFFF == _NAME else None

    def publish(self, durable: int) -> None:
        """Says that the journal is durable up to this offset."""
        self._words[2] = _NAME | _VERSION
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


def check_version(directory: Path) -> None:
    """Makes sure that the mark of the journal in `directory` can be read, if it has one.

    Raises:
        JournalError: Another version of fastlog wrote it.
    """
    try:
        with Mark(directory) as mark:
            version = mark.version()
    except (FileNotFoundError, ValueError):
        return
    if version is not None:
        require_version(directory / "mark", version, _VERSION)
