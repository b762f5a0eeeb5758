"""The durable offset: the journal offset below which every block is on the disk for good.

Only the journal's writer knows it, so the writer publishes it. Readers must not infer it from the
content of the files, since a block that is being written looks like a block. A page of shared
memory holds the value and its complement: a reader that finds them in disagreement reads again,
and a page that a power cut has torn yields no offset.
"""

from __future__ import annotations

from pathlib import Path

from fastlog.journal.page import ALL_BITS, SharedPage
from fastlog.journal.version import require_version

NAME = "durable"
"""The file's name in the journal's directory."""
_VERSION = 1
_VALUE, _COMPLEMENT, _FORMAT = range(3)
_WORDS = 3
_MAGIC = int.from_bytes(b"FLDOFF\0\0", "big")
"""Shares the word `_FORMAT` with the version. A page that is new or torn has neither."""


class DurableOffset(SharedPage):
    """The durable offset of the journal in `directory`; `writable` for its one writer."""

    def __init__(self, directory: Path, *, writable: bool = False) -> None:
        super().__init__(directory / NAME, _WORDS, writable=writable)

    def version(self) -> int | None:
        """Return the version of the page's format, or None if it has none."""
        word = self.words[_FORMAT]
        return word & 0xFFFF if word & ~0xFFFF == _MAGIC else None

    def publish(self, durable: int) -> None:
        """Set the durable offset for all readers."""
        self.words[_FORMAT] = _MAGIC | _VERSION
        self.words[_VALUE] = durable
        self.words[_COMPLEMENT] = durable ^ ALL_BITS

    def read(self) -> int | None:
        """Return the published offset, or None if the page holds none (yet)."""
        for _ in range(1000):
            durable, complement = self.words[_VALUE], self.words[_COMPLEMENT]
            if durable ^ complement == ALL_BITS:
                return durable
        return None


def check_version(directory: Path) -> None:
    """Check that the durable offset of the journal in `directory` can be read, if it has one.

    Raises:
        JournalError: Another version of fastlog wrote it.
    """
    try:
        with DurableOffset(directory) as durable:
            version = durable.version()
    except (FileNotFoundError, ValueError):
        return
    if version is not None:
        require_version(directory / NAME, version, _VERSION)
