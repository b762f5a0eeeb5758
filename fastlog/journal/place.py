"""Where the journal is: whether its files are still the ones that the writer has open.

Another program may remove or replace them while the server runs. What is written to a file that no
name stands for is gone at the next start, so the writer looks here before it calls anything
durable, and makes anew what is missing.
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


class Place:
    """The journal's directory, and the data directory that it is in; both exist."""

    def __init__(self, directory: Path, node: str, secret: bytes) -> None:
        self._path, self._node, self._secret = directory, node, secret
        self._home = os.open(directory.parent, os.O_PATH | os.O_CLOEXEC)
        try:
            self._fd = os.open(directory, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            os.close(self._home)
            raise

    def is_whole(self) -> bool:
        """Returns whether the directory is in its place, with the small files that belong to it.

        Raises:
            JournalGoneError: The data directory is another, or gone. Its lock is gone with it, so
                the server must not go on there.
        """
        home = self._path.parent
        if not is_at(self._home, home):
            raise JournalGoneError(
                f"the data directory {home} was removed, moved or replaced while the server ran; "
                "put it back, or start the server to begin a new one"
            )
        return is_at(self._fd, self._path) and self._has_names() and is_reserved(self._path)

    def _has_names(self) -> bool:
        return all((self._path / name).exists() for name in ("node", SECRET_NAME))

    def restore(self) -> None:
        """Makes the directory and its small files anew, durably, with what the writer knows.

        Raises:
            JournalGoneError: Another journal is there now.
            OSError: The disk rejects, or something else is in the way.
        """
        make_directory(self._path)
        node = read_node(self._path)
        if node is None:
            write_node(self._path, self._node)
        elif node != self._node:
            raise JournalGoneError(
                f"{self._path} was replaced by another journal while the server ran; "
                "start the server again to go on with that one"
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
        """Returns which of these segments are not there any more."""
        there = {segment.start for segment in segments(self._path)}
        return [segment for segment in expected if segment.start not in there]

    def note_removed(self, spans: Sequence[tuple[int, int]], oldest: int) -> None:
        """Notes spans of the journal as gone, durably; forgets those below `oldest`."""
        known = [span for span in read_removed(self._path) if span[1] >= oldest]
        write_removed(self._path, sorted({*known, *spans}))

    def close(self) -> None:
        """Lets go of the directories."""
        os.close(self._home)
        os.close(self._fd)
