"""The names of day files: `2026-11-23.db`, and `2026-11-23.1.db` where a day goes on.

Here is decided which file a block belongs to, which files are old enough to go, and under which
name a damaged one is kept: `2026-11-23.db.damaged`, or `2026-11-23.db.1.damaged` for the next.
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

log = logging.getLogger(__name__)

DAY = 86_400
_NAME = re.compile(r"(\d{4}-\d\d-\d\d)(?:\.([1-9]\d*))?\.db", re.ASCII)
_COMPANIONS = ("-wal", "-shm")
"""What SQLite keeps beside a database in WAL mode."""
_DAMAGED = re.compile(r"(.+\.db)(\.[1-9]\d*)?\.damaged", re.ASCII)
_LAST_STAMP = 253_402_300_799_999_999
"""Of the year 9999, the last that a date can have."""


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
    return datetime.fromtimestamp(min(stamp, _LAST_STAMP) // 1_000_000, UTC).date()


def read_name(name: str) -> Part | None:
    """The part that a file name stands for; None for any other file."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        return Part(date.fromisoformat(match[1]), int(match[2] or 0))
    except ValueError:
        return None


class Age(NamedTuple):
    """What decides whether a file is old, and what is said when it goes."""

    left_at: float | None
    """When the last cursor left it, by the wall clock; None where none did."""
    span: tuple[float, float] | None
    """The smallest and greatest `created`, where the file tells them."""


def list_parts(directory: Path) -> list[Part]:
    """The day files of a directory, by name; whatever has such a name is among them."""
    try:
        return sorted(part for entry in directory.iterdir() if (part := read_name(entry.name)))
    except FileNotFoundError:  # nothing was stored yet
        return []


def list_damaged(directory: Path) -> list[Path]:
    """The files that a sink has set aside because they were damaged."""
    try:
        found = [(entry, _DAMAGED.fullmatch(entry.name)) for entry in directory.iterdir()]
    except FileNotFoundError:
        return []
    return sorted(entry for entry, match in found if match and read_name(match[1]))


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
        self._kept_until: dict[Part, float] = {}
        """When files are old that are not as old as their names say."""
        self._undeletable: set[Part] = set()

    def parts(self) -> list[Part]:
        """The files that are there, oldest first."""
        return list_parts(self.path)

    def file(self, part: Part) -> Path:
        """Where the part lies, or would lie."""
        return self.path / part.name

    def size(self, part: Part) -> int:
        """Bytes of the part with what SQLite keeps beside it; 0 when it is not there."""
        return sum(_size(path) for path in self._files(part))

    def choose(self, stamp: int, current: Part | None) -> Part:
        """The file for a block: the last one of its day that has room.

        Args:
            current: the file where the cursor is, which goes on if it is of that day.
        """
        day = day_of(stamp)
        if current is not None and current.day == day:
            part = current
        else:
            part = max((p for p in self.parts() if p.day == day), default=Part(day))
        while self.size(part) >= self._limit:
            part = part.after()
        return part

    def retire(
        self,
        now: float | None,
        age: float,
        size: int,
        current: Part | None,
        age_of: Callable[[Path], Age],
    ) -> None:
        """Delete what is too old, then the oldest while all together are too big.

        The newest file and the current one always stay. A file that cannot be deleted is tried
        again at the next call.

        Args:
            now: seconds since the epoch; None while the clock is not trusted, and then nothing
                is too old.
            current: the file where the cursor is; None where that is not known, and then the
                file that was written last stays instead.
            age_of: asks a file that its name says is too old, or that goes because of its size.
        """
        parts = [part for part in self.parts() if _is_plain(self.file(part))]
        sizes = {part: self.size(part) for part in parts}
        total = sum(sizes.values())
        if current is None:
            current = max(parts, key=self._written, default=None)
        for part in parts[:-1]:
            if part == current:
                self._kept_until.pop(part, None)
                continue
            if now is not None and self._is_expired(part, now, age, age_of):
                reason = f"older than {format_duration(age)}"
            elif total > size:
                reason = f"all day files together were over {format_size(size)}"
            else:
                continue
            span = _shown(age_of(self.file(part)).span)
            if self._delete(part):
                log.info(
                    "retention: deleted %s: %s; %s, %s",
                    *(self.file(part), reason, format_size(sizes[part]), span),
                )
            total -= sizes[part]

    def set_aside(self, part: Part) -> Path:
        """Rename a damaged file, with what SQLite keeps beside it, so that nobody reads it as a
        day file. Nothing is overwritten.

        Returns:
            Where it is now.

        Raises:
            OSError: it has its old name still.
        """
        source = self.file(part)
        for number in count():
            name = f"{source.name}.{number}.damaged" if number else f"{source.name}.damaged"
            target = source.with_name(name)
            if not os.path.lexists(target):
                break
        # The database goes last: one without its log would look whole and miss rows, and this
        # begins again if it is interrupted.
        for suffix in (*_COMPANIONS, ""):
            path = source.with_name(source.name + suffix)
            if os.path.lexists(path):
                path.rename(target.with_name(target.name + suffix))
        sync_directory(self.path)
        return target

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

    def _is_expired(
        self, part: Part, now: float, age: float, age_of: Callable[[Path], Age]
    ) -> bool:
        """Whether the file is old by its name, and by the moment at which the cursor left it.

        A server whose clock began in 1970 stores into a file of that day. Once the clock is
        right, that file is as old as the seal, and not as old as its name.
        """
        if part.end + age >= now:
            return False
        if part not in self._kept_until:
            left_at = age_of(self.file(part)).left_at
            known = left_at is not None and part.end < left_at <= now
            self._kept_until[part] = left_at if known and left_at is not None else part.end
        return self._kept_until[part] + age < now

    def _written(self, part: Part) -> float:
        """When a file was written to last, as far as the file system knows."""
        times = [0.0]
        for path in self._files(part):
            try:
                times.append(path.stat().st_mtime)
            except OSError:
                continue
        return max(times)

    def _delete(self, part: Part) -> bool:
        # The database goes first: a write-ahead log without it is swept up, while a database
        # without its log would look whole and miss rows.
        try:
            for path in self._files(part):
                path.unlink(missing_ok=True)
        except OSError as error:
            if part not in self._undeletable:
                log.warning("retention: cannot delete %s: %s", self.file(part), error.strerror)
            self._undeletable.add(part)
            return False
        self._kept_until.pop(part, None)
        return True


def _is_plain(path: Path) -> bool:
    """Whether this is a file, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _shown(span: tuple[float, float] | None) -> str:
    if span is None:
        return "it does not tell of which time"
    return "records of {} to {}".format(*map(_moment, span))


def _moment(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"@{seconds:.0f}"
