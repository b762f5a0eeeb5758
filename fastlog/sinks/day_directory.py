"""The directory of day files: `2026-11-23.db`, and `2026-11-23.1.db` where a day continues.

This file decides which day file a block belongs to, and the name under which a damaged one is kept:
`2026-11-23.db.damaged`, or `2026-11-23.db.1.damaged` for the next.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import NamedTuple

from fastlog.files import sync_directory

DAY = 86_400
_NAME = re.compile(r"(\d{4}-\d\d-\d\d)(?:\.([1-9]\d*))?\.db", re.ASCII)
_COMPANIONS = ("-wal", "-shm")
"""Suffixes of the files that SQLite keeps beside a database in WAL mode."""
_DAMAGED = re.compile(r"(.+\.db)(\.[1-9]\d*)?\.damaged", re.ASCII)
_LAST_MOMENT = 253_402_300_799_999_999
"""The end of the year 9999, the last that a date can have, in microseconds since the epoch."""


class DayFileName(NamedTuple):
    """The name of a day file; ordered by time. `str` gives the text."""

    day: date
    number: int = 0
    """0 for the first file of the day, and one more for each file that continues it."""

    def __str__(self) -> str:
        return f"{self.day}.{self.number}.db" if self.number else f"{self.day}.db"

    def successor(self) -> DayFileName:
        """Return the name of the next file of the same day."""
        return DayFileName(self.day, self.number + 1)

    @property
    def end(self) -> float:
        """The end of its day, in seconds since the epoch."""
        return (self.day.toordinal() + 1 - date(1970, 1, 1).toordinal()) * float(DAY)


def day_of(received_us: int) -> date:
    """Return the UTC day of a block's time of receipt (microseconds since the epoch)."""
    return datetime.fromtimestamp(min(received_us, _LAST_MOMENT) // 1_000_000, UTC).date()


def parse_name(text: str) -> DayFileName | None:
    """Parse the name of a day file; return None for any other name."""
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    try:
        return DayFileName(date.fromisoformat(match[1]), int(match[2] or 0))
    except ValueError:
        return None


def list_day_files(directory: Path) -> list[DayFileName]:
    """Return the day files of a directory in order; anything with such a name is included."""
    try:
        return sorted(name for entry in directory.iterdir() if (name := parse_name(entry.name)))
    except FileNotFoundError:  # nothing was stored yet
        return []


def list_damaged(directory: Path) -> list[Path]:
    """Return the files that a sink has set aside because they were damaged."""
    try:
        matches = [(entry, _DAMAGED.fullmatch(entry.name)) for entry in directory.iterdir()]
    except FileNotFoundError:
        return []
    return sorted(entry for entry, match in matches if match and parse_name(match[1]))


class DayDirectory:
    """The directory that holds the day files of one sink."""

    def __init__(self, path: Path, limit: int) -> None:
        """Keep the settings, without any I/O.

        Args:
            path: need not exist yet.
            limit: bytes of a file from which on its day continues in another file.
        """
        self.path = path
        self._limit = limit

    def names(self) -> list[DayFileName]:
        """Return the files that exist, oldest first."""
        return list_day_files(self.path)

    def file(self, name: DayFileName) -> Path:
        """Return the path of a file, which need not exist."""
        return self.path / str(name)

    def size(self, name: DayFileName) -> int:
        """Return the bytes of a file and its companions; 0 when it does not exist."""
        return sum(_size(path) for path in self._with_companions(name))

    def choose(self, received_us: int, current: DayFileName | None) -> DayFileName:
        """Choose the file for a block: the last one of its day that has room.

        Args:
            received_us: the block's time of receipt.
            current: the file where the cursor is; it is continued if it is of that day.
        """
        day = day_of(received_us)
        if current is not None and current.day == day:
            name = current
        else:
            name = max((n for n in self.names() if n.day == day), default=DayFileName(day))
        while self.size(name) >= self._limit:
            name = name.successor()
        return name

    def is_regular(self, name: DayFileName) -> bool:
        """Return whether this is a regular file, and not a link to one."""
        try:
            return stat.S_ISREG(self.file(name).lstat().st_mode)
        except OSError:
            return False

    def last_write(self, name: DayFileName) -> float:
        """Return when a file or a companion was last modified; 0.0 when that is not known."""
        times = [0.0]
        for path in self._with_companions(name):
            try:
                times.append(path.stat().st_mtime)
            except OSError:
                continue
        return max(times)

    def delete(self, path: Path) -> None:
        """Delete a day file and its companions.

        Raises:
            OSError: It, or a companion, still exists.
        """
        # The database is deleted first. `delete_orphans` removes a log without its database, but
        # a database without its log would look whole and lack rows.
        for suffix in ("", *_COMPANIONS):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    def set_aside(self, name: DayFileName) -> Path:
        """Rename a damaged file and its companions, so that they are not read as a day file.

        Nothing is overwritten.

        Returns:
            The new path.

        Raises:
            OSError: The file still has its old name.
        """
        source = self.file(name)
        for number in count():
            new = f"{source.name}.{number}.damaged" if number else f"{source.name}.damaged"
            target = source.with_name(new)
            if not os.path.lexists(target):
                break
        # The database is renamed last. Without its log it would look whole and lack rows, and a
        # call that was interrupted is repeated while it has its old name.
        for suffix in (*_COMPANIONS, ""):
            path = source.with_name(source.name + suffix)
            if os.path.lexists(path):
                path.rename(target.with_name(target.name + suffix))
        sync_directory(self.path)
        return target

    def delete_orphans(self) -> None:
        """Delete the companions of deleted databases, which an interrupted deletion left."""
        if not self.path.is_dir():
            return
        for path in self.path.iterdir():
            for suffix in _COMPANIONS:
                database = path.name.removesuffix(suffix)
                orphan = database != path.name and parse_name(database) is not None
                if orphan and not (self.path / database).exists():
                    path.unlink(missing_ok=True)

    def _with_companions(self, name: DayFileName) -> Iterator[Path]:
        database = self.file(name)
        yield database
        for suffix in _COMPANIONS:
            yield database.with_name(database.name + suffix)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
