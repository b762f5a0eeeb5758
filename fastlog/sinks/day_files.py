"""What the SQLite sinks of a process share, which store into one directory: the open files, what is
known of the cursors, and the housekeeping.

A worker has one sink. A central has one for each node, and all of them use the same connection to
a file: so a thousand nodes need no more descriptors and memory than one, what is pending for the
next chunk is in memory once, and a sync for one node is a sync for all.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from fastlog.clock import ClockWatch
from fastlog.sinks import SinkContext
from fastlog.sinks.cursor_rows import Rows, move_cursors, read_rows
from fastlog.sinks.day_directory import DayDirectory, DayFileName
from fastlog.sinks.day_expiry import DayExpiry
from fastlog.sinks.day_file import DayFile
from fastlog.sinks.day_retention import DayRetention

OPEN_FILES: Final = 4
"""Files that are open at the same time, at most. Nodes may be at different days: after an outage,
or by a wrong clock."""
IN_USE: Final = 86_400.0
"""Seconds for which a file is kept after one of several nodes has stored into it."""
KNOWN: Final = 2.0
"""Seconds for which the cursors of all nodes are remembered, unless something is stored."""


@dataclass
class Position:
    """Where the cursor of a node is."""

    node: str
    file: DayFileName | None = None
    """None before its first block."""
    offset: int = 0
    step: int = 0
    """The step of the file."""
    frames: int | None = 0
    """The ordinal of the first frame after the cursor."""
    stored_at: float | None = None
    """When this process has stored into the file last, by the steady clock; None: it has not."""


class DayFiles:
    """The day files of a directory, for one sink or several.

    Args:
        context: That of one of the sinks, for its limits and its name in the log.
        is_shared: Whether several sinks use this, each for a node of its own.
    """

    def __init__(
        self, directory: DayDirectory, context: SinkContext, *, is_shared: bool = False
    ) -> None:
        self.directory, self.is_shared = directory, is_shared
        self._steady, self._own_node = context.steady, context.own_node
        self._retention = DayRetention(
            context.name, directory, context.retention, context.steady, self._clear
        )
        self._expiry = DayExpiry(context.name, directory, context.expire, context.steady)
        self._watch = ClockWatch(context.clock, context.steady)
        self._positions: dict[str, Position] = {}
        self._open: OrderedDict[DayFileName, DayFile] = OrderedDict()
        self._rows: Rows | None = None
        self._rows_until = 0.0

    # Open files

    def file(self, name: DayFileName) -> DayFile:
        """Return a file, open for writing, and made if it is missing. Use it at once: a call for
        another file may close it."""
        self._rows = None
        file = self._open.get(name)
        if file is None:
            file = self._open[name] = DayFile(self.directory.file(name))
        self._open.move_to_end(name)
        if len(self._open) > OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        return file

    def opened(self, name: DayFileName | None) -> DayFile | None:
        """Return a file if it is open."""
        return None if name is None else self._open.get(name)

    def close(self, name: DayFileName) -> None:
        """Close a file: after an error, or before it is renamed. Who needs it opens it again."""
        file = self._open.pop(name, None)
        if file is not None:
            file.close()

    def left(self, name: DayFileName | None) -> None:
        """Close a file that a cursor has left, unless other nodes may be there."""
        if name is not None and not self.is_shared:
            self.close(name)

    # Nodes

    def add(self, position: Position) -> None:
        """Keep the position of a node right while its cursor is moved by `tick`."""
        self._positions[position.node] = position

    def remove(self, position: Position) -> None:
        """Forget a node. With the last one, all files are closed."""
        if self._positions.get(position.node) is position:
            del self._positions[position.node]
        if not self._positions:
            for name in list(self._open):
                self.close(name)

    def rows(self, *, fresh: bool) -> Rows:
        """Return the cursors of all nodes in all files.

        Args:
            fresh: Whether to read them now. Otherwise, another process may have moved some.
        """
        now = self._steady()
        if fresh or self._rows is None or now >= self._rows_until:
            self._rows = read_rows(self.directory)
            self._rows_until = now + KNOWN
        return self._rows

    # Housekeeping

    def tick(self) -> None:
        """Delete what is too old or too much."""
        reading = self._watch.read()
        now = reading.now if reading.trusted else None
        positions = self._positions.values()
        in_use = frozenset(each.file for each in positions if each.file and self._is_in_use(each))
        self._retention.retire(now, in_use)
        self._expiry.step(now, in_use if in_use or self.is_shared else None)

    def _is_in_use(self, position: Position) -> bool:
        if not self.is_shared:
            return True
        stored_at = position.stored_at
        return stored_at is not None and self._steady() < stored_at + IN_USE

    def _clear(self, name: DayFileName, target: DayFileName) -> bool:
        """Move all cursors from a file to another, and close it; return False to keep the file."""
        moved = move_cursors(self.directory, name, target, self._own_node)
        if moved is None:
            return False
        for node, place in moved.items():
            position = self._positions.get(node)
            if position is not None and position.file == name:
                position.file, position.step = place, position.step + 1
                position.stored_at = None
        self._rows = None
        self.close(name)
        return True
