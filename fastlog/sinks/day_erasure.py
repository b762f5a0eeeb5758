"""Erasure: deletes entries of a day file, with all that is derived from them.

A step is one transaction: it deletes entries of one chunk, writes the chunk anew, and takes the
entries out of the counts. So chunks, counts and entries agree at every moment, and whatever kills
the process, the next run continues. The sink may write to the file meanwhile. It finds in the table
`meta` that something was erased, and forgets the ids that it has in memory.

The numbers of erased entries are not used again: a chunk has an empty text in their places, and
`meta` has the greatest number that was in use.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from fastlog import zstd
from fastlog.sinks.day_chunks import LEVEL, MinuteBounds, text_of_rows
from fastlog.sinks.day_schema import COUNTED_PROCESS, COUNTED_SITE, ERASURES, LAST_ID

NO_NOTES: Final[Mapping[str, object]] = MappingProxyType({})
BUSY_TIMEOUT: Final = 30.0
TRUNCATE_SECONDS: Final = 10.0
"""Seconds to wait for readers before the write-ahead log is left as it is."""


class _Counted(NamedTuple):
    """Rows by which entries are counted, by minute."""

    table: str
    key: str
    counts: str
    columns: tuple[str, ...]


_COUNTED: Final = (
    _Counted("sites", "site_id", "site_counts", COUNTED_SITE),
    _Counted("processes", "process_id", "process_counts", COUNTED_PROCESS),
)


class Erasure:
    """Deletes entries of one file.

    Args:
        connection: To a file of the current version; its transactions are this object's.
    """

    def __init__(self, connection: sqlite3.Connection, *, secure: bool) -> None:
        self._connection = connection
        [(first, end)] = connection.execute(
            "SELECT (SELECT value FROM meta WHERE key = 'first_minute'),"
            " (SELECT value FROM meta WHERE key = 'end_minute')"
        )
        self._bounds = MinuteBounds(first, end)
        self._values: dict[str, dict[int, tuple[Any, ...]]] = {each.table: {} for each in _COUNTED}
        self._unused: dict[str, set[int]] = {
            table: set() for table in ("sites", "processes", "blocks")
        }
        """Ids of rows that erased entries have referred to."""
        self._newest: dict[str, int] = {}
        if secure:  # deleted bytes are overwritten
            connection.execute("PRAGMA secure_delete = ON").fetchall()

    def erase(self, ids: Sequence[int], notes: Mapping[str, object] = NO_NOTES) -> int:
        """Delete entries in one transaction.

        Args:
            ids: Few enough for one transaction.
            notes: What to set in the table `meta` in the same transaction.

        Returns:
            How many there were.
        """
        with transaction(self._connection) as execute:
            wanted = json.dumps(list(ids))
            rows = execute(
                "SELECT id, created, site_id, process_id, block_id FROM entries"
                " WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
                (wanted,),
            ).fetchall()
            for key, value in notes.items():
                execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
            if rows:
                self._note()
                for node, offset in execute(
                    "SELECT node, max(offset) FROM blocks"
                    " WHERE id IN (SELECT value FROM json_each(?)) GROUP BY node",
                    (json.dumps(sorted({row[4] for row in rows})),),
                ):
                    self._newest[node] = max(offset, self._newest.get(node, 0))
                execute(
                    "DELETE FROM entries WHERE id IN (SELECT value FROM json_each(?))", (wanted,)
                )
                self._fix_chunks(rows[0][0], rows[-1][0])
                self._fix_counts(rows)
        for _, _, site_id, process_id, block_id in rows:
            self._unused["sites"].add(site_id)
            self._unused["processes"].add(process_id)
            self._unused["blocks"].add(block_id)
        return len(rows)

    def newest_offsets(self) -> dict[str, int]:
        """Return for each journal the greatest offset of a block that had an erased entry."""
        return dict(self._newest)

    def remove_unused(self, *, all_rows: bool = False) -> None:
        """Delete the call sites, processes and blocks that only erased entries have referred to.

        Args:
            all_rows: Look at all of them: earlier erasures were broken off.
        """
        keys = {"sites": "site_id", "processes": "process_id", "blocks": "block_id"}
        for table, candidates in self._unused.items():
            if all_rows:
                rows = self._connection.execute(f"SELECT id FROM {table}")  # noqa: S608 our own text
                candidates.update(key for (key,) in rows)
            if not candidates:
                continue
            key = keys[table]
            [(last_id,)] = self._connection.execute("SELECT ifnull(max(id), 0) FROM entries")
            # All entries are read before the transaction, which must be short.
            unused = candidates - self._used(key, "id <= ?", last_id)
            with transaction(self._connection) as execute:
                unused -= self._used(key, "id > ?", last_id)
                for each in _COUNTED:
                    if each.table == table:
                        self._replace_in_counts(each, unused)
                execute(
                    f"DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608 our own text
                    (json.dumps(sorted(unused)),),
                )
                self._note()
            candidates.clear()

    def _used(self, key: str, condition: str, last_id: int) -> set[int]:
        rows = self._connection.execute(
            f"SELECT DISTINCT {key} FROM entries WHERE {condition}",  # noqa: S608 our own text
            (last_id,),
        )
        return {value for (value,) in rows}

    def _note(self) -> None:
        """Note in `meta` that entries are erased, and the greatest id that was in use."""
        execute = self._connection.execute
        execute(
            "INSERT INTO meta VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET value = value + 1",
            (ERASURES,),
        )
        execute(
            "INSERT INTO meta SELECT ?, ifnull(max(id), 0) FROM entries WHERE true"
            " ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)",
            (LAST_ID,),
        )

    # ---- chunks ----

    def _fix_chunks(self, first_id: int, last_id: int) -> None:
        execute = self._connection.execute
        chunks = execute(
            "SELECT first_id, last_id FROM chunks WHERE last_id >= ? AND first_id <= ?",
            (first_id, last_id),
        ).fetchall()
        for first, last in chunks:
            rows = execute(
                "SELECT id, created, message, exc_text, stack_info, extra FROM entries"
                " WHERE id BETWEEN ? AND ? ORDER BY id",
                (first, last),
            ).fetchall()
            text = text_of_rows(first, last, [(row[0], *row[2:]) for row in rows])
            execute(
                "UPDATE chunks SET text = ? WHERE last_id = ?", (zstd.compress(text, LEVEL), last)
            )
            if rows:
                times = [row[1] for row in rows]
                execute(
                    "UPDATE chunks SET min_created = ?, max_created = ? WHERE last_id = ?",
                    (min(times), max(times), last),
                )

    # ---- counts ----

    def _fix_counts(self, rows: Sequence[tuple[Any, ...]]) -> None:
        [(covered,)] = self._connection.execute("SELECT ifnull(max(last_id), 0) FROM chunks")
        for place, each in enumerate(_COUNTED, 2):
            values = self._read_values(each)
            gone = Counter(
                (self._bounds.minute(row[1]), values.get(row[place]))
                for row in rows
                if row[0] <= covered
            )
            in_order = sorted(gone.items(), key=lambda item: item[0][0])
            for minute, items in groupby(in_order, key=lambda item: item[0][0]):
                self._subtract(each, minute, {key[1]: number for key, number in items})

    def _subtract(
        self, each: _Counted, minute: int, gone: dict[tuple[Any, ...] | None, int]
    ) -> None:
        """Take entries out of the counts of a minute.

        Several rows may count entries with the same values.
        """
        execute, values = self._connection.execute, self._values[each.table]
        rows = execute(
            f"SELECT {each.key}, records FROM {each.counts} WHERE minute = ?",  # noqa: S608 our own text
            (minute,),
        ).fetchall()
        for key, records in rows:
            left = gone.get(values.get(key), 0)
            taken = min(left, records)
            if not taken:
                continue
            gone[values.get(key)] = left - taken
            if taken == records:
                sql = f"DELETE FROM {each.counts} WHERE minute = ? AND {each.key} = ?"  # noqa: S608
                execute(sql, (minute, key))
            else:
                execute(
                    f"UPDATE {each.counts} SET records = records - ? WHERE minute = ?"  # noqa: S608
                    f" AND {each.key} = ?",
                    (taken, minute, key),
                )

    def _read_values(self, each: _Counted) -> dict[int, tuple[Any, ...]]:
        """Return the counted values of all rows of a table, by id. New ones are read each time."""
        known = self._values[each.table]
        names = ", ".join(f"[{name}]" for name in each.columns)
        rows = self._connection.execute(
            f"SELECT id, {names} FROM {each.table} WHERE id > ?",  # noqa: S608 our own text
            (max(known, default=0),),
        )
        known.update((key, tuple(row)) for key, *row in rows)
        return known

    def _replace_in_counts(self, each: _Counted, unused: set[int]) -> None:
        """Let counts name other rows with the same values instead of those that will be gone."""
        execute, values = self._connection.execute, self._read_values(each)
        named = {key for (key,) in execute(f"SELECT DISTINCT {each.key} FROM {each.counts}")}  # noqa: S608
        others: dict[tuple[Any, ...], int] = {}
        if named & unused:
            used = self._used(each.key, "id > ?", 0)
            others = {values[key]: key for key in sorted(used) if key in values}
        for key in named & unused:
            other = others.get(values[key])
            if other is None:  # then nothing is counted by it: the file was not consistent
                unused.discard(key)
                continue
            execute(
                f"INSERT INTO {each.counts} SELECT minute, ?, records FROM {each.counts}"  # noqa: S608
                f" WHERE {each.key} = ? ON CONFLICT DO UPDATE"
                " SET records = records + excluded.records",
                (other, key),
            )
            execute(f"DELETE FROM {each.counts} WHERE {each.key} = ?", (key,))  # noqa: S608


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[Any]:
    """Commit what the body does, or roll it back if the body raises; yield `execute`."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection.execute
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def rewrite(connection: sqlite3.Connection) -> None:
    """Write the file anew, so that no page has bytes of what was deleted.

    SQLite needs as much free disk space as the file has, and a sink waits meanwhile.
    """
    connection.execute("VACUUM")


def truncate_log(connection: sqlite3.Connection) -> bool:
    """Move the write-ahead log into the file, and empty it.

    Returns:
        Whether it is empty: a reader may need it for longer.
    """
    deadline = time.monotonic() + TRUNCATE_SECONDS
    while True:
        [(busy, *_)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if not busy:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)


def connect(path: Path) -> sqlite3.Connection:
    """Open an existing file of the current version for an erasure."""
    uri = f"{path.absolute().as_uri()}?mode=rw"  # retention may delete it: never create it
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT)
    connection.execute("PRAGMA synchronous = FULL")
    return connection
