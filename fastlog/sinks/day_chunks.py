"""Chunks: the search structures of a day file.

A chunk covers consecutive entries. It has their text, compressed, for substrings and regular
expressions, and its entries are in the counts by minute. Entries behind the last chunk are not
covered yet: they are fewer than `CHUNK_ENTRIES`, and readers search them as rows. A file without
chunks is searched in that way as a whole.

    text  = entry | entry | …             compressed as one frame of Zstandard
    entry = NUL LF message LF exc_text LF stack_info LF extra LF          in UTF-8, NULL as nothing

The fields of an entry have no NUL. Entry number n of a chunk has the id `first_id` + n; where an
entry was erased, all its fields are empty.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from fastlog import zstd
from fastlog.sinks.day_rows import Entries, RecurringRows, text_of

CHUNK_ENTRIES: Final = 2048
"""A chunk is complete with the block that brings it to so many entries. Measured: 26.2 bytes of
compressed text an entry with 1,024 and 2,048, 25.7 with 4,096."""
CHUNK_BYTES: Final = 4 << 20
"""A chunk is also complete with the block that brings its text to so many bytes."""
LEVEL: Final = 1
"""Of the compression. Measured: 0.22 µs and 26 bytes an entry; level 3 is slower and no smaller on
text like this, and -1 takes 42 bytes."""

OTHER_MINUTES: Final = -1
"""The minute under which entries are counted whose time is not near the day of the file."""
MINUTE: Final = 60
_DAY: Final = 24 * 60


BLANK: Final = text_of([""], [None], [None], [""])
"""The text of an entry that was erased."""


def text_of_rows(first_id: int, last_id: int, rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Return the text of the entries of some ids, in which those that are not there are blank.

    Args:
        rows: In order: id, then the columns `TEXTS`.
    """
    ids = [row[0] for row in rows]
    if not ids:
        return BLANK * (last_id - first_id + 1)
    if len(ids) == last_id - first_id + 1:
        return text_of(*zip(*(row[1:] for row in rows), strict=True))
    texts, end = list[bytes](), first_id
    for row in rows:
        texts += (BLANK * (row[0] - end), text_of(*([value] for value in row[1:])))
        end = row[0] + 1
    return b"".join([*texts, BLANK * (last_id + 1 - end)])


class MinuteBounds(NamedTuple):
    """The minutes since the epoch that are counted each by itself: `first` ≤ minute < `end`."""

    first: int
    end: int

    @classmethod
    def around(cls, day_end: float) -> MinuteBounds:
        """Return the bounds for the file of a day: that day, the one before and the one after.

        Args:
            day_end: The end of the day, in seconds since the epoch.
        """
        end = int(day_end // MINUTE)
        return cls(end - 2 * _DAY, end + _DAY)

    def minute(self, created: float) -> int:
        """Return the minute under which a time is counted."""
        minute = int(created // MINUTE)
        return minute if self.first <= minute < self.end else OTHER_MINUTES


class Chunks:
    """Writes the chunks of a file.

    Args:
        connection: Its transactions are the caller's. After a rollback the caller calls `forget`.
        bounds: The minutes that are counted.
        sites, processes: The rows that entries refer to.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        bounds: MinuteBounds,
        sites: RecurringRows,
        processes: RecurringRows,
    ) -> None:
        self._connection = connection
        self._bounds = bounds
        self._sites, self._processes = sites, processes
        self._last_id: int | None = None
        """The id of the last pending entry, or of the last chunk. None: not known."""
        self._covered = 0
        """The last id of the last chunk."""
        # Of the pending entries, which are those after the last chunk:
        self._created: list[float] = []
        self._site_ids: list[int] = []
        self._process_ids: list[int] = []
        self._texts: list[bytes] = []
        self._bytes = 0

    def forget(self) -> None:
        """Forget what a rollback may have changed."""
        self._last_id = None

    def begin(self, used: int = 0) -> int:
        """Make ready for `add`, in a transaction that has not inserted entries yet.

        Reads the entries behind the last chunk, unless they are in memory. They are not after a
        start, and after another process has written to the file or made its chunks anew.

        Args:
            used: An id that was in use at an erasure. The caller inserts no entry with this id or
                a smaller one.

        Returns:
            The greatest id of an entry.
        """
        [(last_id, covered)] = self._connection.execute(
            "SELECT (SELECT ifnull(max(id), 0) FROM entries),"
            " (SELECT ifnull(max(last_id), 0) FROM chunks)"
        )
        if (self._last_id, self._covered) != (max(last_id, covered, used), covered):
            self._load(used)
        return int(last_id)

    def add(self, parts: Iterable[Entries]) -> None:
        """Add the entries that were inserted; write the chunks that are full."""
        for part in parts:
            assert self._last_id is not None
            self._add(part, self._last_id + len(part.created))

    def _add(self, part: Entries, last_id: int) -> None:
        self._last_id = last_id
        self._created += part.created
        self._site_ids += part.site_id
        self._process_ids += part.process_id
        self._texts.append(part.text)
        self._bytes += len(part.text)
        is_full = last_id - self._covered >= CHUNK_ENTRIES or self._bytes >= CHUNK_BYTES
        if is_full and self._created:
            self._write()

    def _load(self, used: int) -> None:
        """Read the entries behind the last chunk; write the chunks that are full."""
        [(self._covered,)] = self._connection.execute("SELECT ifnull(max(last_id), 0) FROM chunks")
        self._last_id = last_id = self._covered
        self._clear()
        rows = self._connection.execute(
            "SELECT id, created, site_id, process_id, message, exc_text, stack_info, extra"
            " FROM entries WHERE id > ? ORDER BY id",
            (self._covered,),
        )
        while some := rows.fetchmany(CHUNK_ENTRIES):
            ids, created, site_id, process_id, *_ = map(list, zip(*some, strict=True))
            text = text_of_rows(last_id + 1, ids[-1], [(row[0], *row[4:]) for row in some])
            last_id = ids[-1]
            self._add(Entries(created, site_id, process_id, text), last_id)
        if used > last_id:
            self._add(Entries([], [], [], BLANK * (used - last_id)), used)

    def _write(self) -> None:
        """Write a chunk of the pending entries."""
        assert self._last_id is not None
        created = self._created
        self._connection.execute(
            "INSERT INTO chunks (first_id, last_id, min_created, max_created, text)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                *(self._covered + 1, self._last_id),
                *(min(created), max(created)),
                zstd.compress(b"".join(self._texts), LEVEL),
            ),
        )
        self._count("site_counts", "site_id", self._sites, created, self._site_ids)
        self._count("process_counts", "process_id", self._processes, created, self._process_ids)
        self._covered = self._last_id
        self._clear()

    def _clear(self) -> None:
        self._created, self._site_ids, self._process_ids = [], [], []
        self._texts, self._bytes = [], 0

    def _count(
        self,
        table: str,
        column: str,
        rows: RecurringRows,
        created: Sequence[float],
        ids: Sequence[int],
    ) -> None:
        counts = self._by_minute(created, rows.representatives(ids))
        self._connection.executemany(
            f"INSERT INTO {table} (minute, {column}, records) VALUES (?, ?, ?)"  # noqa: S608 our own text
            " ON CONFLICT DO UPDATE SET records = records + excluded.records",
            [(*key, number) for key, number in sorted(counts.items())],
        )

    def _by_minute(self, created: Sequence[float], ids: Sequence[int]) -> Counter[tuple[int, int]]:
        """Count the entries by minute and id."""
        first, last = self._bounds.minute(min(created)), self._bounds.minute(max(created))
        if first == last != OTHER_MINUTES:  # as nearly always under load
            return Counter({(first, each): number for each, number in Counter(ids).items()})
        return Counter(zip(map(self._bounds.minute, created), ids, strict=True))
