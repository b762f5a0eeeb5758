"""Ways to damage a day file, each with the message about it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from day_files import START, make_record, write_day

OLD = "2026-11-20.db"
"""The name of the file that is damaged."""


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def truncate(path: Path, size: int) -> None:
    os.truncate(path, size)
    os.utime(path, (START, START))


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def replace_by_other_database(path: Path) -> None:
    path.unlink()
    change(path, "CREATE TABLE x (y)")


WAYS: dict[str, tuple[Callable[[Path], object], str]] = {
    "random bytes": (lambda p: p.write_bytes(os.urandom(20_000)), "is not a database"),
    "text": (lambda p: p.write_text("no database" * 1000), "is not a database"),
    "cut in half": (lambda p: truncate(p, p.stat().st_size // 2 // 4096 * 4096), "malformed"),
    "zeroed": (
        lambda p: overwrite(p, 4096, bytes(p.stat().st_size - 4096)),
        "malformed",
    ),
    "empty": (lambda p: truncate(p, 0), "is empty"),
    "a directory": (replace_by_directory, "is not a file"),
    "a fifo": (replace_by_fifo, "is not a file"),
    "a link to nothing": (replace_by_link, "unable to open"),
    "another database": (replace_by_other_database, "not one of fastlog's"),
    "a newer schema": (
        lambda p: change(p, "UPDATE meta SET value = 5 WHERE key = 'schema'"),
        "has schema version 5, and this fastlog reads versions up to 4: upgrade fastlog-server",
    ),
    "no number as schema": (
        lambda p: change(p, "UPDATE meta SET value = 'x' WHERE key = 'schema'"),
        "schema version 'x'",
    ),
    "a column less": (
        lambda p: change(p, "ALTER TABLE processes RENAME COLUMN taskName TO task"),
        "processes lacks taskName",
    ),
    "a table less": (lambda p: change(p, "DROP TABLE sites"), "sites lacks filename, funcName, id"),
    "a view of less": (
        lambda p: change(p, "DROP VIEW records", "CREATE VIEW records AS SELECT * FROM entries"),
        "records lacks certificate, filename, funcName, host",
    ),
    "a time that is no number": (
        lambda p: change(p, "UPDATE entries SET created = 'x'"),
        "is no number",
    ),
    "a text that is none": (
        lambda p: change(p, "UPDATE entries SET message = x'ff'"),
        "message of a record is of type bytes",
    ),
}
VALUES = ("a time that is no number", "a text that is none")
"""Ways that only a reader of the records can notice."""


def write_days(logs: Path, way: str) -> None:
    """Write three healthy records into two day files, and a file between them, damaged this way."""
    write_day(logs / "2026-11-19.db", [make_record(0)])
    write_day(logs / OLD, [make_record(n, message="x" * 2000) for n in range(10, 40)])
    write_day(logs / "2026-11-21.db", [make_record(1), make_record(2)])
    WAYS[way][0](logs / OLD)
