"""Day files for tests, made without a server: by the code of the sink, or as old versions did."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from fastlog.block import Block
from fastlog.decode import Decoded
from fastlog.decode.columns import columns_of
from fastlog.record import Record
from fastlog.sinks.day_file import DayFile

START = 1_700_000_000.0
"""`created` of record number 0."""
START_NAME = "2023-11-14.db"
"""The name of the file of that day. In a file of another name, no minute of it is counted by
itself."""
NODE = "ab"

_FLAT_SCHEMA = (
    "CREATE TABLE records (created REAL NOT NULL, levelno INTEGER, levelname TEXT, name TEXT,"
    " message TEXT, pathname TEXT, filename TEXT, module TEXT, lineno INTEGER, funcName TEXT,"
    " process INTEGER, processName TEXT, thread INTEGER, threadName TEXT, taskName TEXT,"
    " exc_text TEXT, stack_info TEXT, host TEXT, received REAL NOT NULL, extra TEXT,"
    " offset INTEGER NOT NULL, idx INTEGER NOT NULL, node TEXT NOT NULL)",
    "CREATE INDEX records_created ON records (created)",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value)",
    "INSERT INTO meta VALUES ('min_created', NULL), ('max_created', NULL), ('synced', 0)",
)
_CURSOR_1 = "CREATE TABLE cursor (node TEXT PRIMARY KEY, offset INTEGER NOT NULL, sealed TEXT)"
_CURSOR_2 = (
    "CREATE TABLE cursor (node TEXT PRIMARY KEY, offset INTEGER NOT NULL, sealed TEXT,"
    " step INTEGER NOT NULL DEFAULT 0, frames INTEGER, sealed_at REAL)"
)


def make_record(at: int, **fields: Any) -> Record:
    """Return record number `at`, a second after its predecessor."""
    values: dict[str, Any] = dict.fromkeys(Record._fields)
    values |= {
        "created": START + at,
        "levelno": 20,
        "levelname": "INFO",
        "name": "app",
        "message": f"message {at}",
        "host": "127.0.0.1",
        "received": START + at,
        "extra": "{}",
        "offset": at,
        "idx": 0,
    }
    return Record(**(values | fields))


def write_day(
    path: Path, records: Iterable[Record], node: str = NODE, *, per_block: int = 1
) -> Path:
    """Append records to a day file, which is created if it is missing.

    Args:
        per_block: as in `append`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(open_day(path, node)) as file:
        append(file, records, node, per_block=per_block)
    return path


def open_day(path: Path, node: str = NODE) -> DayFile:
    """Open a day file for writing, and move the node's cursor into it."""
    file = DayFile(path)
    if file.read_cursor(node) is None:
        file.enter(node, 0, 1, 0)
    return file


def append(
    file: DayFile, records: Iterable[Record], node: str = NODE, *, per_block: int = 1
) -> None:
    """Add records in one transaction.

    The cursor does not follow their offsets, which need not rise: it counts the records.

    Args:
        per_block: Records of a block, whose `offset` and `received` are those of the first. Many
            records take much less time in larger blocks.
    """
    cursor = file.read_cursor(node)
    assert cursor is not None
    rest, end = iter(records), cursor.offset
    blocks: list[Decoded] = []
    while part := list(islice(rest, per_block)):
        start, end = end, end + len(part)
        received_us = int(part[0].received * 1e6)
        block = Block(part[0].offset, end, start, len(part), received_us, memoryview(b""))
        blocks.append(Decoded(block, part, [], columns=columns_of(part)))
    if blocks:
        file.append(node, blocks, cursor.offset)


def write_old_day(
    path: Path, records: Iterable[Record], node: str = NODE, *, version: int = 2
) -> Path:
    """Write a new day file as fastlog did when its schema had this version, which is 1 to 3."""
    if version == 3:
        return _without_certificate(write_day(path, records, node))
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        execute = connection.execute
        execute("PRAGMA page_size = 8192")
        execute("PRAGMA journal_mode = WAL")
        execute("BEGIN")
        for statement in (*_FLAT_SCHEMA, _CURSOR_1 if version == 1 else _CURSOR_2):
            execute(statement)
        execute("INSERT INTO meta VALUES ('schema', ?)", (version,))
        fields = [name for name in Record._fields if name != "certificate"]
        slots = ", ".join("?" * (len(fields) + 1))
        connection.executemany(
            f"INSERT INTO records ({', '.join(fields)}, node) VALUES ({slots})",
            ((*(getattr(record, name) for name in fields), node) for record in records),
        )
        for function in ("min", "max"):
            execute(
                f"UPDATE meta SET value = (SELECT {function}(created) FROM records)"
                f" WHERE key = '{function}_created'"
            )
        execute("COMMIT")
    return path


def _without_certificate(path: Path) -> Path:
    """Make a file of version 3 of one of version 4."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        execute = connection.execute
        [(view,)] = execute("SELECT sql FROM sqlite_master WHERE name = 'records'").fetchall()
        execute("DROP VIEW records")
        execute("ALTER TABLE processes DROP COLUMN certificate")
        execute(view.replace("processes.[certificate], ", ""))
        execute("UPDATE meta SET value = 3 WHERE key = 'schema'")
    return path
