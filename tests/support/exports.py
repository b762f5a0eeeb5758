"""Stores with any records, for exports and imports; and what a store has, with all columns."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from day_files import START, START_NAME, make_record, write_day

from fastlog.decode import read_record
from fastlog.query import COLUMNS
from fastlog.record import Record

ONE, OTHER = "ab" * 16, "cd" * 16
"""Ids of journals."""
DAY = 86_400.0
_FRAMES = (
    rb'{"msg": "\ud800 and \u0000", "created": 1700000100.1, "n": 1234567890123456789012345}',
    rb'{"msg": "%s %d", "args": ["x"], "created": 1e999, "levelno": "high", "thread": 1e30}',
    b'{"msg": "\x7f \xe2\x80\xa8 \xe2\x80\xae \\u001b[31m \\n =1", "name": "=cmd", "a\\"": -0.0}',
    b'{"msg": "", "lineno": 9223372036854775807, "process": -9223372036854775808, "x": [1e-320]}',
)
"""Frames of JSON with values that the normal form changes, and others that it keeps."""


def hostile_records() -> list[Record]:
    """Return records as a server stores them, of frames that are hard to store."""
    frames = [*_FRAMES, *(frame.replace(b"msg", b"message") for frame in _FRAMES)]
    return [
        read_record(frame, host="::1", received=START, offset=7_000, idx=idx)
        for idx, frame in enumerate(frames)
    ]


def make_store(data_dir: Path, count: int = 50, node: str = ONE) -> Path:
    """Make a data directory with records of three days, hostile ones among them."""
    numbered = [make_record(n, offset=10 * n, extra=f'{{"n":{n}}}') for n in range(count)]
    later = [
        make_record(n, offset=100_000 + n, received=START + DAY + n, created=START + DAY - n / 7)
        for n in range(count)
    ]
    logs = data_dir / "logs"
    write_day(logs / START_NAME, [*numbered, *hostile_records()], node, per_block=1)
    write_day(logs / "2023-11-15.db", later[: count // 2], node)
    write_day(logs / "2023-11-16.db", [make_record(0, offset=5, received=START + 2 * DAY)], OTHER)
    return data_dir


def place(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the identity of a row."""
    return tuple(row[COLUMNS.index(name)] for name in ("node", "offset", "idx"))


def stored(data_dir: Path) -> list[tuple[Any, ...]]:
    """Return all columns of all records, in order of journal and arrival."""
    found: list[tuple[Any, ...]] = []
    for path in sorted((data_dir / "logs").glob("*.db")):
        with closing(sqlite3.connect(path)) as connection:
            found += connection.execute(
                f"SELECT {', '.join(COLUMNS)}, typeof(created) FROM records"
            )
    return sorted(found, key=place)
