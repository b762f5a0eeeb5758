"""Copies of the files of an `ndjson:` sink that is running: exactly the lines that it has counted.

The cursor of the sink says how long the file is. What is behind that is not durable, and comes from
the journal again. Rotated files are complete.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from fastlog.errors import FastlogError
from fastlog.files import identity_of, make_directory, open_file
from fastlog.sinks.cursor_file import CursorFile
from fastlog.sinks.line_file import LineFileCursor
from fastlog.transfer.manifest import Source

ATTEMPTS: Final = 100
_PAUSE: Final = 0.05
"""Seconds after which a rotation is over."""
_PIECE: Final = 4 << 20


class LineCopies(NamedTuple):
    """The copies of a sink's files."""

    offset: int
    """The journal offset up to which they have everything."""
    sources: dict[Path, Source | None]
    """The copies, and the state of each file; None for the one that is written to."""


def copy_lines(
    path: Path,
    data_dir: Path,
    name: str,
    node: str,
    folder: Path,
    reuse: Callable[[Path, Source], bool],
    step: Callable[[int], object],
) -> LineCopies:
    """Copy the files of a sink.

    Args:
        path: The file that the sink writes.
        name: Of the sink.
        node: The journal's id.
        folder: Where the copies are made.
        reuse, step: As in `DayCopies`.

    Raises:
        FastlogError: The file is not the one of the cursor.
        OSError: A file cannot be read, or a copy cannot be written.
    """
    cursors = CursorFile(data_dir, name, LineFileCursor)
    for _ in range(ATTEMPTS):
        cursor = cursors.load()
        if cursor is None or cursor.node != node:
            return LineCopies(0, {})
        if cursor.rotate_to or identity_of(path) != cursor.identity:
            time.sleep(_PAUSE)  # it is rotated just now
            continue
        make_directory(folder)
        sources = {}
        for rotated in _rotated(path):
            state = Source.of(rotated)
            target = folder / rotated.name
            if state is not None and not reuse(target, state):
                _copy(rotated, target, state.size, step)
            sources[target] = state
        _copy(path, folder / path.name, cursor.length, step)
        now = cursors.load()
        if now is not None and now.identity == cursor.identity == identity_of(path):
            return LineCopies(cursor.offset, {**sources, folder / path.name: None})
    raise FastlogError(
        f"{path} is not the file that the sink {name} has written; start the server, which notes "
        "that, and repeat the backup"
    )


def _rotated(path: Path) -> list[Path]:
    name = re.compile(re.escape(path.name) + r"\.\d{6,}", re.ASCII)
    return sorted(each for each in path.parent.iterdir() if name.fullmatch(each.name))


def _copy(source: Path, target: Path, length: int, step: Callable[[int], object]) -> None:
    target.unlink(missing_ok=True)
    with (
        source.open("rb") as read,
        os.fdopen(open_file(target, os.O_RDWR | os.O_EXCL), "wb") as file,
    ):
        while length and (piece := read.read(min(_PIECE, length))):
            file.write(piece)
            length -= len(piece)
            step(len(piece))
    if length:
        raise FastlogError(f"{source} is shorter than the cursor of its sink says")
