"""The output of a server: its size while it runs, and a check of its records afterwards."""

from __future__ import annotations

import mmap
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from blog_store import count_rows, table_of_rows

from bench.frames import NUMBER


class Tally(NamedTuple):
    """How the stored records differ from the sent ones."""

    stored: int
    """Records, each number once."""
    missing: int
    doubled: int
    """Records beyond the first of their number."""
    unknown: int
    """Records that were never sent, or have no number."""

    @property
    def whole(self) -> bool:
        return self.missing == self.doubled == self.unknown == 0

    def in_words(self) -> str:
        faults = {
            name: count for name, count in self._asdict().items() if name != "stored" and count
        }
        return ", ".join(f"{count:,} {name}" for name, count in faults.items()) or "all arrived"


def tally(numbers: Iterable[int], sent: int) -> Tally:
    """Compare stored numbers with 0 to `sent` - 1; negative ones are unknown."""
    seen = bytearray(sent)
    doubled = unknown = 0
    for number in numbers:
        if not 0 <= number < sent:
            unknown += 1
        elif seen[number]:
            doubled += 1
        else:
            seen[number] = 1
    missing = seen.count(0)
    return Tally(sent - missing, missing, doubled, unknown)


class Output(ABC):
    """The output of one server."""

    @abstractmethod
    def size(self) -> int:
        """Return a number that grows when records are stored. It is cheap."""

    @abstractmethod
    def count(self) -> int:
        """Return the number of stored records. Call it only if `size` does not change."""

    @abstractmethod
    def changed_at(self) -> float:
        """Return when a record was last stored, in seconds since the epoch."""

    @abstractmethod
    def check(self, sent: int) -> Tally:
        """Read the whole output and compare."""


class LinesFile(Output):
    """A line a record."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counted = self._lines = 0

    def size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def count(self) -> int:
        if not self._path.exists():
            return 0
        with self._path.open("rb") as file:
            file.seek(self._counted)
            while chunk := file.read(1 << 20):
                self._counted += len(chunk)
                self._lines += chunk.count(b"\n")
        return self._lines

    def changed_at(self) -> float:
        return self._path.stat().st_mtime

    def check(self, sent: int) -> Tally:
        found = tally(self._numbers(), sent)
        numbered = found.stored + found.doubled + found.unknown
        return found._replace(unknown=found.unknown + max(self.count() - numbered, 0))

    def _numbers(self) -> Iterator[int]:
        if self.size() == 0:
            return
        with (
            self._path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            yield from (int(found[1]) for found in NUMBER.finditer(data))


class DayFiles(Output):
    """The SQLite files of a data directory: a row a record."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._known = 0
        self._changed_at = 0.0

    def size(self) -> int:
        rows = count_rows(self._data_dir)
        if rows != self._known:
            self._known, self._changed_at = rows, time.time()
        return rows

    def count(self) -> int:
        return self.size()

    def changed_at(self) -> float:
        return self._changed_at

    def check(self, sent: int) -> Tally:
        return tally(self._numbers(), sent)

    def _numbers(self) -> Iterator[int]:
        for path in sorted((self._data_dir / "logs").glob("*.db")):
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as day:
                for (message,) in day.execute(f"SELECT message FROM {table_of_rows(day)}"):
                    found = NUMBER.match(message.encode())
                    yield int(found[1]) if found else -1


class Counter(Output):
    """A file with a number: the floor counts frames and stores none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self) -> int:
        return self.count()

    def count(self) -> int:
        return int(self._path.read_text() or 0) if self._path.exists() else 0

    def changed_at(self) -> float:
        return self._path.stat().st_mtime

    def check(self, sent: int) -> Tally:
        count = self.count()
        return Tally(min(count, sent), max(sent - count, 0), max(count - sent, 0), 0)
