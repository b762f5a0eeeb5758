"""The records that a store has already, by identity: journal, offset of the block, number in it.

The identities of a day are read when its first record is imported. They are kept in a temporary
database on disk, so a day of any size takes little memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fastlog.search import Found
from fastlog.search.day_reader import open_day, unless_gone

_TABLES: Final = (
    "CREATE TABLE known (node INTEGER, offset INTEGER, idx INTEGER,"
    " PRIMARY KEY (node, offset, idx)) WITHOUT ROWID",
    "CREATE TABLE wanted (number INTEGER PRIMARY KEY, node INTEGER, offset INTEGER, idx INTEGER)",
)
_NEW: Final = (
    "SELECT min(number) FROM wanted WHERE NOT EXISTS (SELECT 1 FROM known WHERE"
    " known.node = wanted.node AND known.offset = wanted.offset AND known.idx = wanted.idx)"
    " GROUP BY node, offset, idx ORDER BY 1"
)


class KnownRecords:
    """The identities of records in parts of a store. A context manager."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -16384"):
            self._connection.execute(f"PRAGMA {pragma}")
        for statement in _TABLES:
            self._connection.execute(statement)
        self._nodes: dict[str, int] = {}
        self._read: set[tuple[Hashable, str]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._connection.close()

    def read(self, part: Hashable, node: str, places: Iterable[tuple[int, int]]) -> None:
        """Read the identities of a journal in a part of the store, unless that is done.

        Args:
            part: Its name.
            places: Offset and number of each record, lazily.
        """
        if (part, node) in self._read:
            return
        number = self._number(node)
        rows = ((number, *place) for place in places)
        self._insert("INSERT OR IGNORE INTO known VALUES (?, ?, ?)", rows)
        self._read.add((part, node))

    def new(self, some: Sequence[Found]) -> list[Found]:
        """Return those of some records that are not known, each once. They are not known yet."""
        self._connection.execute("DELETE FROM wanted")
        self._insert(
            "INSERT INTO wanted VALUES (?, ?, ?, ?)",
            [
                (at, self._number(found.node), found.record.offset, found.record.idx)
                for at, found in enumerate(some)
            ],
        )
        return [some[at] for (at,) in self._connection.execute(_NEW)]

    def add_last(self) -> None:
        """Count those of the last call of `new` as known."""
        self._connection.execute("INSERT OR IGNORE INTO known SELECT node, offset, idx FROM wanted")

    def _insert(self, statement: str, rows: object) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany(statement, rows)  # type: ignore[arg-type]
        self._connection.execute("COMMIT")

    def _number(self, node: str) -> int:
        return self._nodes.setdefault(node, len(self._nodes))


def places_in_day_file(path: Path, node: str) -> Iterator[tuple[int, int]]:
    """Yield offset and number of the records of a journal in a day file.

    Raises:
        FastlogError: The file cannot be read.
    """
    with unless_gone(path), closing(open_day(path)) as connection:
        yield from connection.execute("SELECT offset, idx FROM records WHERE node = ?", (node,))
