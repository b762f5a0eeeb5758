"""The copy of a journal that is written to: the blocks that a sink or the client table needs."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fastlog.errors import FastlogError
from fastlog.files import make_directory, open_file, replace_file
from fastlog.journal.recovery import check_versions, known_durable, scan
from fastlog.journal.secret import read_secret
from fastlog.journal.segment import (
    Segment,
    is_removed,
    read_node,
    read_removed,
    segment_path,
    segments,
)
from fastlog.journal.snapshot import paths as snapshot_paths
from fastlog.journal.snapshot import read_snapshot, reserve, write_snapshot

_PIECE: Final = 4 << 20
_SMALL: Final = ("node", "secret", "removed.json")


class JournalCopy:
    """A journal whose segments are held open, so that they can be copied after their deletion.

    A context manager. `hold` is to be called often: a segment that begins and is deleted between
    two calls is missed, and then `write` fails.

    Args:
        directory: Of the journal.

    Raises:
        JournalError: Another version of fastlog wrote it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.node = read_node(directory) or ""
        """The journal's id; "" if there is none."""
        check_versions(directory)
        self._held: dict[int, int] = {}
        """Descriptors by the offset of the first byte."""
        self.hold()
        # After that: its offset is never before a segment that was deleted earlier.
        self._clients = read_snapshot(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()

    def hold(self) -> None:
        """Open the segments that exist now."""
        for segment in segments(self._directory):
            if segment.start not in self._held:
                try:
                    fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:  # it was deleted just now
                    continue
                self._held[segment.start] = fd

    def durable(self) -> int:
        """Return the durable offset of now."""
        return known_durable(self._directory) if self.node else 0

    def write(self, target: Path, needed: int, durable: int) -> list[Path]:
        """Write the copy.

        Args:
            target: The directory of the copy, which is made.
            needed: The offset from which a sink needs blocks.
            durable: Where the copy ends.

        Returns:
            The files.

        Raises:
            FastlogError: Blocks are missing, or the journal was replaced meanwhile.
        """
        self.hold()
        if read_node(self._directory) != self.node:
            raise FastlogError(f"{self._directory} was replaced during the backup; repeat it")
        make_directory(target)
        files = []
        for name in _SMALL:
            if (self._directory / name).exists():
                replace_file(target / name, (self._directory / name).read_bytes())
                files.append(target / name)
        if self._clients is not None:
            needed = min(needed, self._clients.offset)
            reserve(target)
            write_snapshot(target, self._clients)
            files += snapshot_paths(target)
        else:
            needed = 0
        copied = [
            self._copy(target, start, min(end, durable))
            for start, end in self._spans(durable)
            if end > needed and start < durable
        ]
        self._check(target, copied, durable)
        return [*files, *(segment.path for segment in copied)]

    def _spans(self, durable: int) -> list[tuple[int, int]]:
        starts = sorted(self._held)
        return list(zip(starts, [*starts[1:], durable], strict=True)) if starts else []

    def _copy(self, target: Path, start: int, end: int) -> Segment:
        path = segment_path(target, start)
        fd, at = open_file(path, os.O_RDWR | os.O_EXCL), 0
        with os.fdopen(fd, "wb") as file:
            while at < end - start:
                piece = os.pread(self._held[start], min(_PIECE, end - start - at), at)
                if not piece:
                    break  # `_check` finds out
                file.write(piece)
                at += len(piece)
        return Segment(path, start)

    def _check(self, target: Path, copied: list[Segment], durable: int) -> None:
        """Check that the copy is whole, from its first segment to the durable offset."""
        secret, removed = read_secret(target), read_removed(target)
        at = copied[0].start if copied else durable
        for number, segment in enumerate(copied):
            following = copied[number + 1].start if number + 1 < len(copied) else None
            if secret is None or (
                segment.start != at and not is_removed(removed, at, segment.start)
            ):
                break
            at = scan(segment, following, 0, secret).end
        if at != durable:
            raise FastlogError(
                f"{self._directory}: the blocks from offset {at} to {durable} cannot be copied; "
                "repeat the backup, and if that does not help, run `fastlog check`"
            )
