"""Count and check the records of a load in a data directory.

It reads the files directly, so that a bug of `fastlog query` cannot hide a fault.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

EXAMPLES = 5


class Stored(NamedTuple):
    """The columns of a row that the check needs. Rows sort in order of arrival."""

    offset: int
    idx: int
    trace_id: str
    number: int


class Verdict(NamedTuple):
    """How the stored rows differ from the sent records."""

    stored: int
    """Rows of this load."""
    missing: int
    doubled: int
    """Rows beyond the first of their number."""
    disordered: int
    """Rows that arrived after one of a greater number of their run."""
    unknown: int
    """Rows that were never sent."""
    examples: list[str]
    """The first few faults, in words."""


def check(expected: Mapping[str, int], rows: Iterable[Stored]) -> Verdict:
    """Compare what was sent with what is stored.

    Args:
        expected: for each run's trace_id, how many records it has, numbered from 0.
        rows: in the order of their arrival.
    """
    seen = {trace_id: bytearray(count) for trace_id, count in expected.items()}
    highest = dict.fromkeys(expected, -1)
    stored = doubled = disordered = unknown = 0
    examples: list[str] = []

    def fault(trace_id: str, number: int, what: str) -> int:
        if len(examples) < EXAMPLES:
            examples.append(f"run {trace_id}, record {number}: {what}")
        return 1

    for row in rows:
        stored += 1
        trace_id, number = row.trace_id, row.number
        numbers = seen.get(trace_id)
        if numbers is None or not 0 <= number < len(numbers):
            unknown += fault(trace_id, number, "was not sent")
        elif numbers[number]:
            doubled += fault(trace_id, number, "is stored twice")
        else:
            numbers[number] = 1
            if number < highest[trace_id]:
                disordered += fault(trace_id, number, f"came after {highest[trace_id]}")
            highest[trace_id] = max(number, highest[trace_id])
    missing = 0
    for trace_id, numbers in seen.items():
        if gaps := numbers.count(0):
            missing += gaps
            fault(trace_id, numbers.index(0), f"is missing, the first of {gaps}")
    return Verdict(stored, missing, doubled, disordered, unknown, examples)


def stored_rows(data_dir: Path, load: str) -> Iterator[Stored]:
    """Yield the rows of the load from all day files, in order of arrival."""
    return heapq.merge(*(_rows(path, load) for path in _day_files(data_dir)))


def count_rows(data_dir: Path) -> int:
    """Return the number of rows in the store, of all loads. It is cheap."""
    total = 0
    for path in _day_files(data_dir):
        with closing(_open(path)) as database:
            if _has_tables(database):
                query = f"SELECT max(rowid) FROM {table_of_rows(database)}"
                total += database.execute(query).fetchone()[0] or 0
    return total


def table_of_rows(database: sqlite3.Connection) -> str:
    """Return the table that has a row for each record; `entries` came with version 2."""
    found = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'entries'").fetchone()
    return "records" if found is None else "entries"


def count_load(data_dir: Path, load: str) -> int:
    """Return the number of stored rows of the load. It reads all rows."""
    query = "SELECT count(*) FROM records WHERE json_extract(extra, '$.trace_id') GLOB ?"
    return sum(_one(path, query, f"{load}-*") for path in _day_files(data_dir))


def count_ledger(data_dir: Path) -> tuple[int, int]:
    """Return the numbers of rejected and of lost records in the ledger."""
    path = data_dir / "ledger.db"
    if not path.exists():
        return 0, 0
    total = "SELECT sum(max(count, 1)) FROM {}"  # a loss of unknown size is one at least
    return _one(path, total.format("rejected")), _one(path, total.format("losses"))


def _day_files(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "logs").glob("*.db"))


def _rows(path: Path, load: str) -> Iterator[Stored]:
    with closing(_open(path)) as database:
        if _has_tables(database):
            yield from map(
                Stored._make,
                database.execute(
                    "SELECT offset, idx, json_extract(extra, '$.trace_id') AS trace,"
                    " ifnull(json_extract(extra, '$.number'), -1) FROM records"
                    " WHERE trace GLOB ? ORDER BY offset, idx",
                    [f"{load}-*"],
                ),
            )


def _one(path: Path, query: str, *values: str) -> int:
    """Return the only value of a query; 0 for none, or if the tables do not exist yet."""
    with closing(_open(path)) as database:
        return database.execute(query, values).fetchone()[0] or 0 if _has_tables(database) else 0


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)


def _has_tables(database: sqlite3.Connection) -> bool:
    """Return whether the tables exist. Those of the ledger are made one after the other."""
    names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    return "records" in names or {"rejected", "losses"} <= names
