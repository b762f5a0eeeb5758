"""The directory of day files: `2026-11-23.db`, and `2026-11-23.1.db` where a day continues.

This file decides which day file a block belongs to, which files are old enough to delete, and the
name under which a damaged one is kept: `2026-11-23.db.damaged`, or `2026-11-23.db.1.damaged` for
the next.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import NamedTuple

from fastlog.config import format_duration, format_size
from fastlog.files import sync_directory
from fastlog.sinks.day_schema import Summary

log = logging.getLogger(__name__)

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
        self._age_from: dict[DayFileName, float] = {}
        """When the age of a file begins to count, for the files that were expired by name."""
        self._undeletable: set[DayFileName] = set()

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

    def retire(
        self,
        now: float | None,
        age: float,
        size: int,
        current: DayFileName | None,
        read_summary: Callable[[Path], Summary],
    ) -> None:
        """Delete what is too old, then the oldest files while all together are too big.

        The newest file and the current one are never deleted. A file that cannot be deleted is
        tried again at the next call.

        Args:
            now: seconds since the epoch; None while the clock is not trusted, and then no file is
                too old.
            age: seconds.
            size: bytes.
            current: the file where the cursor is; None when it is not known, and then the file
                that was written last is kept instead.
            read_summary: called for a file that is too old by its name, or that is deleted
                because of the size.
        """
        names = [name for name in self.names() if _is_regular(self.file(name))]
        sizes = {name: self.size(name) for name in names}
        total = sum(sizes.values())
        if current is None:
            # Clocks of file systems are coarse: of two files with equal times, the newer is kept.
            current = max(names, key=lambda name: (self._last_write(name), name), default=None)
        for name in names[:-1]:
            if name == current:
                self._age_from.pop(name, None)
                continue
            if now is not None and self._is_expired(name, now, age, read_summary):
                reason = f"older than {format_duration(age)}"
            elif total > size:
                reason = f"all day files together were over {format_size(size)}"
            else:
                continue
            span = _format_span(read_summary(self.file(name)))
            if self._delete(name):
                log.info(
                    "retention: deleted %s: %s; %s, %s",
                    *(self.file(name), reason, format_size(sizes[name]), span),
                )
            total -= sizes[name]

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

    def _is_expired(
        self, name: DayFileName, now: float, age: float, read_summary: Callable[[Path], Summary]
    ) -> bool:
        """Return whether a file is old by its name, and by the moment of its last seal.

        A server whose clock began in 1970 stores into a file of that day. Once the clock is
        right, the age of that file counts from the seal, and not from its name.
        """
        if name.end + age >= now:
            return False
        if name not in self._age_from:
            sealed_at = read_summary(self.file(name)).sealed_at
            usable = sealed_at is not None and name.end < sealed_at <= now
            self._age_from[name] = sealed_at if usable and sealed_at is not None else name.end
        return self._age_from[name] + age < now

    def _last_write(self, name: DayFileName) -> float:
        """Return when a file or a companion was last modified; 0.0 when that is not known."""
        times = [0.0]
        for path in self._with_companions(name):
            try:
                times.append(path.stat().st_mtime)
            except OSError:
                continue
        return max(times)

    def _delete(self, name: DayFileName) -> bool:
        # The database is deleted first. `delete_orphans` removes a log without its database, but
        # a database without its log would look whole and lack rows.
        try:
            for path in self._with_companions(name):
                path.unlink(missing_ok=True)
        except OSError as error:
            if name not in self._undeletable:
                log.warning("retention: cannot delete %s: %s", self.file(name), error.strerror)
            self._undeletable.add(name)
            return False
        self._age_from.pop(name, None)
        return True


def _is_regular(path: Path) -> bool:
    """Return whether this is a regular file, and not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _format_span(summary: Summary) -> str:
    if summary.first is None or summary.last is None:
        return "the time of its records is not known"
    return f"records of {_format_time(summary.first)} to {_format_time(summary.last)}"


def _format_time(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"@{seconds:.0f}"
