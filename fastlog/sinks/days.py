"""The names of day files: `2026-11-23.db`, and `2026-11-23.1.db` where a day goes on.

Here is decided which file a block belongs to and which files are old enough to go.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

DAY = 86_400
_NAME = re.compile(r"(\d{4}-\d\d-\d\d)(?:\.([1-9]\d*))?\.db", re.ASCII)
_COMPANIONS = ("-wal", "-shm")
"""What SQLite keeps beside a database in WAL mode."""


class Part(NamedTuple):
    """One file of a day; ordered by time."""

    day: date
    number: int = 0

    @property
    def name(self) -> str:
        return f"{self.day}.{self.number}.db" if self.number else f"{self.day}.db"

    def after(self) -> Part:
        """The next file of the same day."""
        return Part(self.day, self.number + 1)

    @property
    def end(self) -> float:
        """When its day is over, in seconds since the epoch."""
        return (self.day.toordinal() + 1 - date(1970, 1, 1).toordinal()) * float(DAY)


def day_of(stamp: int) -> date:
    """The UTC day of a block's receive stamp (microseconds since the epoch)."""
    return datetime.fromtimestamp(stamp // 1_000_000, UTC).date()


def read_name(name: str) -> Part | None:
    """The part that a file name stands for; None for any other file."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        return Part(date.fromisoformat(match[1]), int(match[2] or 0))
    except ValueError:
        return None


class DayDirectory:
    """The directory that holds the day files of one sink."""

    def __init__(self, path: Path, limit: int) -> None:
        """
        Args:
            path: need not exist yet.
            limit: bytes from which on a day goes on in another file.
        """
        self.path = path
        self._limit = limit

    def parts(self) -> list[Part]:
        """The files that are there, oldest first."""
        if not self.path.is_dir():
            return []
        return sorted(part for entry in self.path.iterdir() if (part := read_name(entry.name)))

    def file(self, part: Part) -> Path:
        """Where the part lies, or would lie."""
        return self.path / part.name

    def size(self, part: Part) -> int:
        """Bytes of the part with what SQLite keeps beside it; 0 when it is not there."""
        return sum(_size(path) for path in self._files(part))

    def choose(self, stamp: int, current: Part | None) -> Part:
        """The file for a block: its day's last one that has room, never one before `current`.

        A worker never goes back, so that the chain of files which its cursor walked has no loop.
        """
        day = day_of(stamp)
        if current is not None and current.day >= day:
            part = current
        else:
            part = max((p for p in self.parts() if p.day == day), default=Part(day))
        while self.size(part) >= self._limit:
            part = part.after()
        return part

    def retire(self, now: float, age: float, size: int, current: Part | None) -> None:
        """Delete what is too old, then the oldest while all together are too big.

        The newest file and the current one always stay. A file that cannot be deleted is tried
        again at the next call.
        """
        parts = self.parts()
        sizes = {part: self.size(part) for part in parts}
        total = sum(sizes.values())
        for part in parts[:-1]:
            if part == current:
                continue
            expired = part.end + age < now
            if not expired and total <= size:
                continue
            reason = "older than the retention" if expired else "over the size to keep"
            log.info("deleting %s, %s", self.file(part), reason)
            self._delete(part)
            total -= sizes[part]

    def sweep(self) -> None:
        """Delete the companions of databases that are gone: an interrupted deletion left them."""
        if not self.path.is_dir():
            return
        for path in self.path.iterdir():
            for suffix in _COMPANIONS:
                database = path.name.removesuffix(suffix)
                orphan = database != path.name and read_name(database) is not None
                if orphan and not (self.path / database).exists():
                    path.unlink(missing_ok=True)

    def _files(self, part: Part) -> Iterator[Path]:
        database = self.file(part)
        yield database
        for suffix in _COMPANIONS:
            yield database.with_name(database.name + suffix)

    def _delete(self, part: Part) -> None:
        # The database goes first: a write-ahead log without it is swept up, while a database
        # without its log would look whole and miss rows.
        try:
            for path in self._files(part):
                path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("cannot delete %s: %s", self.file(part), error.strerror)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
