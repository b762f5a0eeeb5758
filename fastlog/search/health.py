"""Health: whether the day files of a directory are whole."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from fastlog.search.consistency import find_differences, find_faults
from fastlog.search.day_reader import Unread, list_files, open_day, unless_gone
from fastlog.search.layout import Layout, read_layout
from fastlog.sinks.day_directory import list_damaged


class Health(NamedTuple):
    """The result of examining one file."""

    path: Path
    trouble: str
    """What is wrong with the file, to be printed after its name; "" when it is whole."""
    set_aside: bool = False
    """Whether a sink renamed the file because it was damaged."""


def examine(logs: Path, *, deep: bool = False) -> Iterator[Health]:
    """Examine each day file, and list those that were set aside.

    Args:
        deep: read every page, and compare chunks and counts with the entries, which takes about a
            minute per gigabyte. Otherwise only the file's length and the pages that opening it
            touches are checked, and damage elsewhere is not found.
    """
    for path in list_files(logs):
        unread = Unread(lambda line: None)
        trouble = None
        with unless_gone(path, unread), closing(open_day(path)) as connection:
            trouble = _examine_file(connection, path, deep=deep)
        trouble = unread.files.get(path, trouble)
        if trouble is not None:
            yield Health(path, trouble)
    for path in list_damaged(logs):
        yield Health(path, "was damaged, and a sink set it aside", set_aside=True)


def _examine_file(connection: sqlite3.Connection, path: Path, *, deep: bool) -> str:
    """Return what is wrong; "" for nothing."""
    connection.execute("BEGIN")  # all that follows is about one state of the file
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    log = path.with_name(f"{path.name}-wal")
    checkpointed = not log.exists() or not log.stat().st_size
    if checkpointed and path.stat().st_size != page_size * pages:
        return f"has {path.stat().st_size} bytes where {pages} pages of {page_size} were expected"
    layout = read_layout(connection)
    table = layout.table
    span = connection.execute(
        f"SELECT (SELECT min(created) FROM {table}), (SELECT max(created) FROM {table})"  # noqa: S608 our own text
    ).fetchone()
    if not {*map(type, span)} <= {float, type(None)}:
        return "is damaged: a time of a record is no number"
    return _examine_all(connection, path, layout) if deep else ""


def _examine_all(connection: sqlite3.Connection, path: Path, layout: Layout) -> str:
    (first, *_) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if first != "ok":
        return f"is damaged ({' '.join(str(first).split())})"
    if not layout.is_split:
        return ""
    if faults := "; ".join(find_faults(connection)):
        return f"is damaged: {faults}"
    if differences := "; ".join(find_differences(connection)):
        remedy = f"fastlog migrate --rebuild {shlex.quote(str(path))}"
        return f"is searched and counted wrongly: {differences}; repair it with `{remedy}`"
    return ""
