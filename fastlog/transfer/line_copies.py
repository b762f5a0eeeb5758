"""Copies of the files of an `ndjson:` sink that is running: exactly the lines that it has counted.

The cursor of the sink says how long the file is. What is behind that is not durable, and comes from
the journal again. Rotated files are complete.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

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
        with contextlib.suppress(FileNotFoundError), path.open("rb") as current:
            rotated = _rotated(path)
            # From here on, a rotation gives the open file another name, and changes no file.
            own, others = identity_of(current.fileno()), map(identity_of, rotated)
            if not cursor.rotate_to and own == cursor.identity and own not in others:
                make_directory(folder)
                sources: dict[Path, Source | None] = {}
                for each in rotated:
                    sources[folder / each.name] = _copy_rotated(each, folder, reuse, step)
                _copy(current, folder / path.name, cursor.length, step)
                return LineCopies(cursor.offset, {**sources, folder / path.name: None})
        time.sleep(_PAUSE)  # it is rotated just now
    raise FastlogError(
        f"{path} is not the file that the sink {name} has written; start the server, which notes "
        "that, and repeat the backup"
    )


def _rotated(path: Path) -> list[Path]:
    name = re.compile(re.escape(path.name) + r"\.\d{6,}", re.ASCII)
    return sorted(each for each in path.parent.iterdir() if name.fullmatch(each.name))


def _copy_rotated(
    path: Path,
    folder: Path,
    reuse: Callable[[Path, Source], bool],
    step: Callable[[int], object],
) -> Source | None:
    """Copy a file that does not change any more, and return its state."""
    state = Source.of(path)
    if state is None or not reuse(folder / path.name, state):
        with path.open("rb") as file:
            _copy(file, folder / path.name, os.fstat(file.fileno()).st_size, step)
    return state


def _copy(source: BinaryIO, target: Path, length: int, step: Callable[[int], object]) -> None:
    target.unlink(missing_ok=True)
    with os.fdopen(open_file(target, os.O_RDWR | os.O_EXCL), "wb") as file:
        while length and (piece := source.read(min(_PIECE, length))):
            file.write(piece)
            length -= len(piece)
            step(len(piece))
    if length:
        raise FastlogError(f"{source.name} is shorter than the cursor of its sink says")
