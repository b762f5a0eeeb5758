"""The rows of a day file: entries, and the values that recur.

A call site, a process or a block that recurs is stored once, and its entries hold its id. Nothing
depends on that: two rows of `sites` may be equal, as after a restart.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fastlog.record import PROCESS, SITE
from fastlog.sinks.day_schema import COUNTED_PROCESS, COUNTED_SITE

if TYPE_CHECKING:
    from fastlog.decode import Columns, Combinations, Decoded

ROWS: Final = 40
"""Rows of one statement, which share its cost. Measured: 2.18 µs a row with 20, 1.98 with 40, 1.97
with 100."""

KNOWN: Final = 32_768
"""Rows of `sites` and of `processes` whose ids are kept in memory, so that no client can make it
grow without bound. Beyond that, all are forgotten, and those that recur are stored again."""

LONG: Final = 2048
"""Characters of the texts of a row, beyond which it is not kept in memory, but stored each time."""

_COLUMNS: Final = (
    *("created", "site_id", "process_id", "block_id", "idx"),
    *("message", "exc_text", "stack_info", "extra"),
)
_SLOTS: Final = f"({', '.join('?' * len(_COLUMNS))})"
# OR FAIL: a failed statement need not be rolled back, since the transaction is. Otherwise SQLite
# would copy each page before a change, for each statement.
_INSERT: Final = f"INSERT OR FAIL INTO entries ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608 our own text
_INSERT_ONE: Final = _INSERT + _SLOTS
_RESERVE: Final = (
    "INSERT INTO entries (id, created, site_id, process_id, block_id, idx, message, extra)"
    " VALUES (?, 0.0, 0, 0, 0, 0, '', '{}')"
)
_INSERT_MANY: Final = _INSERT + ", ".join([_SLOTS] * ROWS)


class Entries(NamedTuple):
    """What chunks need of consecutive rows of `entries`: lists with a value for every row."""

    created: list[float]
    site_id: list[int]
    process_id: list[int]
    text: bytes
    """The texts of all rows, as `Columns.text` has them."""


def text_of(
    message: Iterable[str],
    exc_text: Iterable[str | None],
    stack_info: Iterable[str | None],
    extra: Iterable[str],
) -> bytes:
    """Return the texts of rows, as `Columns.text` has them."""
    fields = list(zip(message, exc_text, stack_info, extra, strict=True))
    text = "".join([f"\0\n{a}\n{b or ''}\n{c or ''}\n{d or ''}\n" for a, b, c, d in fields])
    if text.count("\0") != len(fields):
        # Normal text has no NUL, but the rows of a file may be of another program.
        rows = (tuple(each and each.replace("\0", " ") for each in row) for row in fields)
        return text_of(*zip(*rows, strict=True))
    return text.encode()


class RecurringRows:
    """The rows of a table of recurring values that this process knows.

    Args:
        connection: Its transactions are the caller's. After a rollback the caller calls `forget`.
        table: The table.
        columns: Its columns, without `id`.
        counted_by: Those of its columns by which entries are counted.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        table: str,
        columns: Sequence[str],
        counted_by: Sequence[str],
    ) -> None:
        names, slots = ", ".join(f"[{name}]" for name in columns), ", ".join("?" * len(columns))
        self._connection = connection
        self._insert = f"INSERT INTO {table} ({names}) VALUES ({slots})"  # noqa: S608 our own text
        self._select = f"SELECT {names}, id FROM {table}"  # noqa: S608
        self._group_of = itemgetter(*map(columns.index, counted_by))
        self._ids: dict[tuple[Any, ...], int] = {}
        self._first: dict[Any, int] = {}
        self._representatives: dict[int, int] = {}
        self._combinations: Combinations | None = None
        self._ids_by_number: dict[int, int] = {}
        """By number in `_combinations`."""
        newest = f"{self._select} ORDER BY id DESC LIMIT {KNOWN // 2}"
        for *values, identifier in self._connection.execute(newest):
            self._add(tuple(values), identifier)

    def forget(self) -> None:
        """Forget the ids of all rows."""
        self._ids, self._first, self._representatives = {}, {}, {}
        self._ids_by_number = {}

    def ids(self, numbers: Sequence[int], combinations: Combinations) -> list[int]:
        """Return the ids of the rows that hold some combinations; insert those that none holds."""
        if combinations is not self._combinations:
            self._combinations, self._ids_by_number = combinations, {}
        try:
            return list(map(self._ids_by_number.__getitem__, numbers))
        except KeyError:
            return [self._id(number, combinations) for number in numbers]

    def representatives(self, ids: Sequence[int]) -> list[int]:
        """Return for each id the one under which the entries of all rows with the same counted
        values are counted."""
        try:
            return list(map(self._representatives.__getitem__, ids))
        except KeyError:
            return list(map(self._representative, ids))

    def _representative(self, identifier: int) -> int:
        known = self._representatives.get(identifier)
        if known is None:  # forgotten, or inserted by another process
            query = f"{self._select} WHERE id = ?"
            for *values, _ in self._connection.execute(query, (identifier,)):
                self._add(tuple(values), identifier)
            known = self._representatives.setdefault(identifier, identifier)
        return known

    def _id(self, number: int, combinations: Combinations) -> int:
        known = self._ids_by_number.get(number)
        if known is not None:
            return known
        values = combinations[number]
        identifier = self._ids.get(values)
        if identifier is None:
            identifier = self._connection.execute(self._insert, values).lastrowid
            assert identifier is not None
            self._add(values, identifier)
        self._ids_by_number[number] = identifier
        return identifier

    def _add(self, values: tuple[Any, ...], identifier: int) -> None:
        if len(self._representatives) >= KNOWN:
            self.forget()
        if sum(len(each) for each in values if type(each) is str) > LONG:
            self._representatives[identifier] = identifier
            return
        self._ids[values] = identifier
        group = self._group_of(values)
        self._representatives[identifier] = self._first.setdefault(group, identifier)


class EntryWriter:
    """Inserts the entries of blocks.

    Args:
        connection: Its transactions are the caller's. After a rollback the caller calls `forget`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.sites = RecurringRows(connection, "sites", SITE, COUNTED_SITE)
        self.processes = RecurringRows(connection, "processes", PROCESS, COUNTED_PROCESS)

    def forget(self) -> None:
        """Forget the ids of rows that a rollback may have removed."""
        self.sites.forget()
        self.processes.forget()

    def insert(
        self, node: str, blocks: Iterable[Decoded], behind: int | None = None
    ) -> list[Entries]:
        """Insert the records of some blocks; return the entries of each block, in order.

        Args:
            node: The id of the journal that the blocks came from.
            behind: An id that is greater than those of all entries: the first one gets the next.

        Raises:
            ValueError: A block was not decoded into columns.
        """
        parts: list[Entries] = []
        rows: list[Iterator[tuple[Any, ...]]] = []
        for block_id, columns in self._insert_blocks(node, blocks):
            entries = self._entries_of(columns)
            parts.append(entries)
            rows.append(_rows(block_id, columns, entries))
        if behind is not None:  # SQLite gives an entry the greatest id there is, and one
            self._connection.execute(_RESERVE, (behind,))
        self._insert_rows(chain.from_iterable(rows), sum(len(part.created) for part in parts))
        if behind is not None:
            self._connection.execute("DELETE FROM entries WHERE id = ?", (behind,))
        return parts

    def _insert_blocks(self, node: str, blocks: Iterable[Decoded]) -> list[tuple[int, Columns]]:
        """Insert the rows of the blocks that have records; return their ids and columns."""
        [(last,)] = self._connection.execute("SELECT ifnull(max(id), 0) FROM blocks")
        rows: list[tuple[int, str, int, float]] = []
        inserted: list[tuple[int, Columns]] = []
        for block, columns in ((decoded.block, decoded.columns) for decoded in blocks):
            if columns is None:
                raise ValueError(f"block {block.offset} has no columns")
            if columns.idx:
                last += 1
                rows.append((last, node, block.offset, block.received))
                inserted.append((last, columns))
        self._connection.executemany(
            "INSERT INTO blocks (id, node, offset, received) VALUES (?, ?, ?, ?)", rows
        )
        return inserted

    def _entries_of(self, columns: Columns) -> Entries:
        text = columns.text
        if text is None:
            text = text_of(columns.message, columns.exc_text, columns.stack_info, columns.extra)
        return Entries(
            columns.created,
            self.sites.ids(columns.site, columns.sites),
            self.processes.ids(columns.process, columns.processes),
            text,
        )

    def _insert_rows(self, rows: Iterable[tuple[Any, ...]], count: int) -> None:
        values = chain.from_iterable(rows)
        statements, rest = divmod(count, ROWS)
        many = (list(islice(values, ROWS * len(_COLUMNS))) for _ in range(statements))
        self._connection.executemany(_INSERT_MANY, many)
        one = (list(islice(values, len(_COLUMNS))) for _ in range(rest))
        self._connection.executemany(_INSERT_ONE, one)


def _rows(block_id: int, columns: Columns, entries: Entries) -> Iterator[tuple[Any, ...]]:
    """Return the values of `_COLUMNS` for each record of a block."""
    return zip(
        *(entries.created, entries.site_id, entries.process_id, repeat(block_id), columns.idx),
        *(columns.message, columns.exc_text, columns.stack_info, columns.extra),
        strict=False,  # `repeat` has no end
    )
