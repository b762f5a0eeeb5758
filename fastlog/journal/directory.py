"""The journal's directory, and whether its files are still those that the writer has open.

Another program may remove or replace files while the server runs. Bytes in a file that no name
refers to are lost at the next start. So the writer checks the directory before it calls anything
durable, and makes missing files again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fastlog.errors import JournalGoneError
from fastlog.files import is_at, make_directory, sync_directory
from fastlog.journal.secret import NAME as SECRET_NAME
from fastlog.journal.secret import read_secret, write_secret
from fastlog.journal.segment import (
    Segment,
    read_node,
    read_removed,
    segments,
    write_node,
    write_removed,
)
from fastlog.journal.snapshot import is_reserved, reserve


class JournalDirectory:
    """The open directory of a journal, its data directory, and the journal's identity."""

    def __init__(self, directory: Path, node: str, secret: bytes) -> None:
        self._path, self._node, self._secret = directory, node, secret
        self._data_dir_fd = os.open(directory.parent, os.O_PATH | os.O_CLOEXEC)
        try:
            self._fd = os.open(directory, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            os.close(self._data_dir_fd)
            raise

    def is_complete(self) -> bool:
        """Return whether the directory is in its place, with the small files that belong to it.

        Raises:
            JournalGoneError: The data directory was removed or replaced. Its lock is lost with it,
                so the server must not continue there.
        """
        data_dir = self._path.parent
        if not is_at(self._data_dir_fd, data_dir):
            raise JournalGoneError(
                f"the data directory {data_dir} was removed, moved or replaced while the server "
                "ran; put it back, or start the server to begin a new one"
            )
        return is_at(self._fd, self._path) and self._has_identity() and is_reserved(self._path)

    def _has_identity(self) -> bool:
        return all((self._path / name).exists() for name in ("node", SECRET_NAME))

    def restore(self) -> None:
        """Make the directory and its small files again, durably, with the journal's identity.

        Raises:
            JournalGoneError: The directory holds another journal now.
            OSError: The disk fails, or something else has the directory's name.
        """
        make_directory(self._path)
        node = read_node(self._path)
        if node is None:
            write_node(self._path, self._node)
        elif node != self._node:
            raise JournalGoneError(
                f"{self._path} was replaced by another journal while the server ran; "
                "start the server again to continue with that one"
            )
        if read_secret(self._path) != self._secret:
            write_secret(self._path, self._secret)
        reserve(self._path)
        sync_directory(self._path)
        sync_directory(self._path.parent)
        fd = os.open(self._path, os.O_PATH | os.O_CLOEXEC)
        os.close(self._fd)
        self._fd = fd

    def missing(self, expected: Sequence[Segment]) -> list[Segment]:
        """Return those of the expected segments whose files are gone."""
        existing = {segment.start for segment in segments(self._path)}
        return [segment for segment in expected if segment.start not in existing]

    def record_removed(self, spans: Sequence[tuple[int, int]], oldest: int) -> None:
        """Record spans of the journal as removed, durably; drop recorded ones below `oldest`."""
        known = [span for span in read_removed(self._path) if span[1] >= oldest]
        write_removed(self._path, sorted({*known, *spans}))

    def close(self) -> None:
        """Close the directories."""
        os.close(self._data_dir_fd)
        os.close(self._fd)
