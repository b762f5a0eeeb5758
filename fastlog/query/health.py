"""Whether the day files of a directory are whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from fastlog.query.days import Unread, list_files, open_day, unless_gone
from fastlog.sinks.days import list_damaged


class Health(NamedTuple):
    """What an examination of a file found."""

    path: Path
    trouble: str
    """What is wrong with it, to be read after its name; "" where it is whole."""
    set_aside: bool = False
    """Whether a sink renamed it because it was damaged."""


def examine(logs: Path, *, deep: bool = False) -> Iterator[Health]:
    """Examine each day file, and name those that were set aside.

    Args:
        deep: read every page, which takes seconds a gigabyte. Else only what an opening touches
            and the file's length are looked at, and damage further inside is not found.
    """
    for path in list_files(logs):
        unread = Unread(lambda line: None)
        trouble = None
        with unless_gone(path, unread), closing(open_day(path)) as connection:
            trouble = _examine_pages(connection, path, deep=deep)
        trouble = unread.files.get(path, trouble)
        if trouble is not None:
            yield Health(path, trouble)
    for path in list_damaged(logs):
        yield Health(path, "was damaged, and a sink set it aside", set_aside=True)


def _examine_pages(connection: sqlite3.Connection, path: Path, *, deep: bool) -> str:
    """What is wrong; "" for nothing."""
    connection.execute("BEGIN")  # all that follows is about one state of the file
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    log = path.with_name(f"{path.name}-wal")
    settled = not log.exists() or not log.stat().st_size
    if settled and path.stat().st_size != size * pages:
        return f"has {path.stat().st_size} bytes where {pages} pages of {size} were expected"
    found = connection.execute("SELECT min(created), max(created) FROM records").fetchone()
    if not {*map(type, found)} <= {float, type(None)}:
        return "is damaged: a time of a record is no number"
    if not deep:
        return ""
    (first, *_) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    return "" if first == "ok" else f"is damaged ({' '.join(str(first).split())})"
