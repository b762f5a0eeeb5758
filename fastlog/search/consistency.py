"""Consistency: whether the entries of a day file are whole, and its search structures theirs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

from fastlog import zstd
from fastlog.search.layout import RECURRING, Recurring
from fastlog.search.minutes import read_minutes
from fastlog.sinks.day_chunks import MINUTE, OTHER_MINUTES, text_of_rows
from fastlog.sinks.day_matches import Piece
from fastlog.sinks.day_schema import TEXTS

_FAULTS: Final = {
    "a time that is no number": "typeof(created) <> 'real'",
    "a text of another type": (
        "typeof(message) <> 'text' OR typeof(extra) <> 'text'"
        " OR typeof(exc_text) NOT IN ('text', 'null') OR typeof(stack_info) NOT IN ('text', 'null')"
    ),
    "no site": "site_id NOT IN (SELECT id FROM sites)",
    "no process": "process_id NOT IN (SELECT id FROM processes)",
    "no block": "block_id NOT IN (SELECT id FROM blocks)",
}
"""What a damaged entry has, and the condition that finds it."""


def find_faults(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield what is wrong with entries of a file of the current version, each with the first one.

    Args:
        connection: In a transaction, so that all is about one state of the file.
    """
    first = ", ".join(f"min(id) FILTER (WHERE {condition})" for condition in _FAULTS.values())
    [found] = connection.execute(f"SELECT {first} FROM entries")  # noqa: S608 our own text
    for fault, first_id in zip(_FAULTS, found, strict=True):
        if first_id is not None:
            yield f"entry {first_id} has {fault}"


def find_differences(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield which search structures differ from what the entries give.

    Args:
        connection: As for `find_faults`, which has found nothing.
    """
    wrong = [first_id for first_id, is_right in _compare_chunks(connection) if not is_right]
    if wrong:
        yield f"{len(wrong)} chunks differ from their entries, the first begins at {wrong[0]}"
    for each in RECURRING:
        if _counts_differ(connection, each):
            yield f"{each.counts} differs from the entries"


def _compare_chunks(connection: sqlite3.Connection) -> Iterator[tuple[int, bool]]:
    """Yield the first id of each chunk, and whether it follows its predecessor and is right."""
    end = 1
    names = ", ".join(("id", "created", *TEXTS))
    entries = f"SELECT {names} FROM entries WHERE id BETWEEN ? AND ? ORDER BY id"  # noqa: S608 our own text
    for first_id, last_id, *content in connection.execute(
        "SELECT first_id, last_id, min_created, max_created, text FROM chunks ORDER BY last_id"
    ):
        rows = connection.execute(entries, (first_id, last_id)).fetchall()
        is_next = first_id == end <= last_id
        yield first_id, is_next and _has_content(Piece(first_id, last_id), rows, *content)
        end = last_id + 1


def _has_content(
    piece: Piece,
    rows: Sequence[tuple[Any, ...]],
    min_created: float,
    max_created: float,
    text: bytes,
) -> bool:
    """Return whether a chunk of these entries has this content. Some may have been erased."""
    created = [row[1] for row in rows] or [min_created, max_created]
    if (min_created, max_created) != (min(created), max(created)):
        return False
    try:
        expected = text_of_rows(*piece, [(row[0], *row[2:]) for row in rows])
        return bool(zstd.decompress(text) == expected)
    except (zstd.ZstdError, TypeError):
        return False


def _counts_differ(connection: sqlite3.Connection, each: Recurring) -> bool:
    """Return whether the counts of any minute differ from the number of covered entries.

    Which of several rows with the same counted values the counts name is not compared.
    """
    minutes = read_minutes(connection)
    entries = (
        f"SELECT CASE WHEN created >= :first * {MINUTE} AND created < :end * {MINUTE}"  # noqa: S608 our own text
        f" THEN CAST(created AS INTEGER) / {MINUTE} ELSE {OTHER_MINUTES} END AS minute,"
        f" {each.key}, count(*) AS number FROM entries"
        " WHERE id <= (SELECT max(last_id) FROM chunks) GROUP BY 1, 2"
    )
    counts = (
        f"SELECT CASE WHEN minute >= :first AND minute < :end THEN minute ELSE {OTHER_MINUTES} END,"  # noqa: S608
        f" {each.key}, -records FROM {each.counts}"
    )
    differing = connection.execute(
        f"SELECT 1 FROM ({entries} UNION ALL {counts}) LEFT JOIN {each.table}"  # noqa: S608 our own text
        f" ON {each.table}.id = {each.key} GROUP BY minute, {', '.join(each.counted)}"
        " HAVING sum(number) <> 0 LIMIT 1",
        minutes._asdict(),
    )
    return differing.fetchone() is not None
