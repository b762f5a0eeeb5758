"""Day files for tests, made without a server, with the schema of the sink."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from fastlog.record import Record
from fastlog.sinks.day_schema import SCHEMA

START = 1_700_000_000.0
"""`created` of record number 0."""


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


def write_day(path: Path, records: Iterable[Record], node: str = "ab") -> Path:
    """Append records to a day file, which is created if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(open_day(path)) as connection:
        append(connection, records, node)
    return path


def open_day(path: Path) -> sqlite3.Connection:
    """Open a day file for writing, as the sink does."""
    fresh = not path.exists()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    if fresh:
        for statement in SCHEMA:
            connection.execute(statement)
    return connection


def append(connection: sqlite3.Connection, records: Iterable[Record], node: str = "ab") -> None:
    """Add records in one transaction."""
    names = ", ".join(f'"{name}"' for name in (*Record._fields, "node"))
    slots = ", ".join("?" * (len(Record._fields) + 1))
    connection.execute("BEGIN")
    connection.executemany(
        f"INSERT INTO records ({names}) VALUES ({slots})",
        ((*record, node) for record in records),
    )
    connection.execute("COMMIT")
