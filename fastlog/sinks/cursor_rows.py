"""The cursors of all nodes in all files of a directory.

A node may have a row in many files. `architecture.md` ("The cursor's way through the day files")
says how they follow each other, and which of them is where the cursor is.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from fastlog.errors import DamagedFileError, SinkUnavailableError
from fastlog.sinks.day_cursor import CursorRow, read_cursors
from fastlog.sinks.day_directory import DayDirectory, DayFileName, parse_name
from fastlog.sinks.day_file import DayFile


class Found(NamedTuple):
    """A file in which a node has a cursor row."""

    name: DayFileName
    cursor: CursorRow

    @property
    def order(self) -> tuple[int, int, bool, DayFileName]:
        """Rises along the path of the cursor.

        The last two order files of version 1, between which the cursor was moving when the server
        stopped: the cursor is in the file that is not sealed.
        """
        cursor = self.cursor
        return cursor.offset, cursor.step, cursor.sealed is None, self.name


class Rows(NamedTuple):
    """What all files have."""

    readable: Mapping[DayFileName, Mapping[str, CursorRow]]
    """The rows of the nodes."""
    damaged: Mapping[DayFileName, DamagedFileError]
    unavailable: Mapping[DayFileName, SinkUnavailableError]
    """Files that cannot be read now."""

    def files_of(self, node: str) -> list[DayFileName]:
        """Return the files in which a node has a row."""
        return [name for name, rows in self.readable.items() if node in rows]

    def last_of(self, node: str) -> Found | None:
        """Return the row with the greatest cursor of a node; None if it has none."""
        found = (Found(name, self.readable[name][node]) for name in self.files_of(node))
        return max(found, key=lambda one: one.order, default=None)


def read_rows(directory: DayDirectory) -> Rows:
    """Read the cursors of all nodes in all files."""
    readable: dict[DayFileName, Mapping[str, CursorRow]] = {}
    damaged: dict[DayFileName, DamagedFileError] = {}
    unavailable: dict[DayFileName, SinkUnavailableError] = {}
    for name in directory.names():
        try:
            readable[name] = _read_twice(directory.file(name))
        except DamagedFileError as error:
            damaged[name] = error
        except SinkUnavailableError as error:
            unavailable[name] = error
    return Rows(readable, damaged, unavailable)


def _read_twice(path: Path) -> Mapping[str, CursorRow]:
    """Read the cursors of a file; only a second failure counts as damage."""
    try:
        return read_cursors(path)
    except DamagedFileError:
        return read_cursors(path)


def move_cursors(
    directory: DayDirectory, name: DayFileName, target: DayFileName, kept_node: str
) -> dict[str, DayFileName] | None:
    """Move the cursors that are in a file to another, since the file is to be deleted.

    What moves is sealed and enters the other file, as by a node's own worker. So it is exact
    whatever that worker does meanwhile.

    Args:
        kept_node: A node whose cursor is not moved; "" for none.

    Returns:
        The nodes whose cursors were moved, with their new files; None if the file has the cursor
        of `kept_node`.

    Raises:
        SinkUnavailableError: A cursor cannot be moved now.
    """
    rows = read_rows(directory)
    nodes = [
        node
        for node in rows.readable.get(name, ())
        if (last := rows.last_of(node)) is not None and last.name == name
    ]
    if kept_node in nodes:
        return None
    if not nodes:
        return {}
    with closing(DayFile(directory.file(target))), closing(DayFile(directory.file(name))) as old:
        sealed = old.seal_all(nodes, str(target))
    # Those that were sealed before, and not moved then, go where their seals say.
    moved: dict[str, DayFileName] = {}
    for successor in {row.sealed or "" for row in sealed.values()}:
        place = parse_name(successor)
        if place is None:  # what follows this seal is lost already
            continue
        entering = {node: row for node, row in sealed.items() if row.sealed == successor}
        with closing(DayFile(directory.file(place))) as new:
            new.enter_all(entering)
        moved |= dict.fromkeys(entering, place)
    return moved
