"""Sqlite sinks, and what their day files hold."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from builders import make_context

from fastlog.sinks.sqlite import SqliteSink


def make_sink(data_dir: Path, *, limit: int = 1 << 30, **context: object) -> SqliteSink:
    return SqliteSink(make_context(data_dir, "sqlite:", **context), file_limit=limit)


def files(data_dir: Path) -> list[str]:
    return sorted(path.name for path in (data_dir / "logs").glob("*.db"))


def rows(data_dir: Path, column: str = "message") -> list[object]:
    """Return one column of all rows of all files, in the order of the journal."""
    found: list[tuple[object, ...]] = []
    for name in files(data_dir):
        with closing(sqlite3.connect(data_dir / "logs" / name)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                found += connection.execute(f"SELECT offset, idx, {column} FROM records")
    return [row[2] for row in sorted(found, key=lambda row: row[:2])]


def value(data_dir: Path, name: str, sql: str) -> object:
    with closing(sqlite3.connect(data_dir / "logs" / name)) as connection:
        return connection.execute(sql).fetchone()
