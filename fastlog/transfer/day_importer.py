"""What an import adds to a store: records that it does not have, each in the file of its day.

A record is known by its identity, so a repeated import adds nothing, and one that was killed is
completed by repeating it. A server may run meanwhile: it is a second writer of the day files, and
keeps all cursors for itself.
"""

from __future__ import annotations

import fcntl
import os
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import date
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fastlog.block import Block
from fastlog.config import Config
from fastlog.decode import Decoded
from fastlog.decode.columns import columns_of
from fastlog.errors import FastlogError
from fastlog.files import make_directory, open_file
from fastlog.routing.redaction import Redaction
from fastlog.search import Found
from fastlog.search.day_reader import open_day, unless_gone
from fastlog.sinks.day_directory import DayDirectory, DayFileName, day_of
from fastlog.sinks.day_file import DayFile
from fastlog.sinks.sqlite import FILE_LIMIT
from fastlog.transfer.additions import Added, redact
from fastlog.transfer.known import KnownRecords, places_in_day_file
from fastlog.transfer.left_to_servers import offsets_left

_ENDLESS: Final = 1 << 63
"""No journal has this offset."""
_OPEN: Final = 8
"""Day files that are open at the same time."""
LOCK: Final = "import.lock"


class DayImporter:
    """Adds records to the day files of a data directory. A context manager.

    Args:
        config: Of the server, which may run.
        logs: The directory of the day files.
        gone: As in `offsets_left`.

    Raises:
        FastlogError: Another import is running, or a day file cannot be read.
        OSError: The directories cannot be written.
    """

    def __init__(self, config: Config, logs: Path, gone: Collection[str]) -> None:
        self._directory = DayDirectory(logs, FILE_LIMIT)
        self._known = KnownRecords()
        self._redaction = Redaction(config.redact)
        self._files: OrderedDict[DayFileName, DayFile] = OrderedDict()
        self._names_of: dict[str, list[DayFileName]] = {}
        """The files that had records of a journal when the import began."""
        self.days: set[date] = set()
        """The days that records were added to."""
        self.left = set[str]()
        """The journals of which records were left to their servers."""
        make_directory(logs)
        self._lock = open_file(config.data_dir / LOCK, os.O_RDWR)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Before the files are listed: what the server stores from now on is not looked up.
            self._unstored = offsets_left(config, logs, gone)
            self._list_nodes()
        except BlockingIOError:
            os.close(self._lock)
            raise FastlogError(f"another import into {config.data_dir} is running") from None
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            while self._files:
                self._close_oldest(durable=kind is None)
        finally:
            self._known.__exit__(None, None, None)
            os.close(self._lock)

    def add(self, some: Sequence[Found], digest: str = "") -> Added:
        """Store those of some records that the store does not have.

        Args:
            digest: A node that is the digest of a file. The day of its records may be another one
                at each import.
        """
        added = Added()
        days: dict[date, list[Found]] = {}
        waiting = 0
        for found in some:
            if found.record.offset >= self._unstored.get(found.node, _ENDLESS):
                waiting += 1
                self.left.add(found.node)
            else:
                days.setdefault(day_of(_microseconds(found)), []).append(found)
        for day, records in days.items():
            added = added.plus(self._add_to(day, records, digest))
        return added.plus(Added(waiting=waiting))

    def _add_to(self, day: date, some: Sequence[Found], digest: str) -> Added:
        for node in {found.node for found in some}:
            for name in self._names_of.get(node, ()):
                if node == digest or name.day == day:
                    path = self._directory.file(name)
                    self._known.read(path, node, places_in_day_file(path, node))
        new, redacted = redact(self._known.new(some), self._redaction)
        if new:
            file = self._file(self._directory.choose(_microseconds(new[0]), None))
            for node, blocks in _blocks(new):
                file.add(node, blocks)
            self.days.add(day)
        self._known.add_last()
        return Added(new=len(new), known=len(some) - len(new), redacted=redacted)

    def _file(self, name: DayFileName) -> DayFile:
        if name in self._files:
            self._files.move_to_end(name)
        else:
            if len(self._files) >= _OPEN:
                self._close_oldest(durable=True)
            self._files[name] = DayFile(self._directory.file(name))
        return self._files[name]

    def _close_oldest(self, *, durable: bool) -> None:
        _, file = self._files.popitem(last=False)
        with closing(file):
            if durable:
                file.sync()

    def _list_nodes(self) -> None:
        """Find out which files have records of which journals.

        Raises:
            FastlogError: A file cannot be read, so what it has is not known.
        """
        for name in self._directory.names():
            path = self._directory.file(name)
            with unless_gone(path), closing(open_day(path)) as connection:
                tables = {each for (each,) in connection.execute("SELECT name FROM sqlite_schema")}
                table = "blocks" if "blocks" in tables else "records"
                for (node,) in connection.execute(f"SELECT DISTINCT node FROM {table}"):  # noqa: S608 our own text
                    self._names_of.setdefault(node, []).append(name)


def _microseconds(found: Found) -> int:
    return round(found.record.received * 1e6)


def _blocks(some: Sequence[Found]) -> Iterator[tuple[str, list[Decoded]]]:
    """Yield the records as blocks, by node."""
    for node, of_node in groupby(some, key=lambda found: found.node):
        blocks = groupby(of_node, key=lambda found: (found.record.offset, _microseconds(found)))
        yield node, [_block(offset, at, group) for (offset, at), group in blocks]


def _block(offset: int, received_us: int, group: Iterable[Found]) -> Decoded:
    records = [found.record for found in group]
    block = Block(offset, offset, 0, len(records), received_us, memoryview(b""))
    return Decoded(block, [], [], columns=columns_of(records))
