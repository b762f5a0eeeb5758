"""A SQLite sink that works on a chain of blocks as a worker does, and what it has stored."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from builders import DAY, MONDAY, NODE, make_chain, make_context, rest_of

from fastlog.decode import Decoded
from fastlog.errors import SinkConflictError, SinkUnavailableError
from fastlog.sinks.sqlite import SqliteSink


def make(data_dir: Path) -> SqliteSink:
    return SqliteSink(make_context(data_dir, "sqlite:"))


def stored(logs: Path, but: str = "") -> list[str]:
    """Return the messages in all day files but one, in the order of the journal."""
    found: list[tuple[int, int, str]] = []
    for path in logs.glob("*.db"):
        if path.name != but:
            with closing(sqlite3.connect(path)) as connection:
                found += connection.execute("SELECT offset, idx, message FROM records")
    return [message for _, _, message in sorted(found)]


def three_days() -> list[Decoded]:
    """Return two blocks each of Friday the 20th, of Sunday and of Monday."""
    return make_days(-3, -3, -1, -1, 0, 0)


def make_days(*when: int) -> list[Decoded]:
    """Return a block for each of these days, counted from Monday."""
    return make_chain(
        ([f"{n}.{k}" + "x" * 500 for k in range(30)], MONDAY + day * DAY)
        for n, day in enumerate(when)
    )


def work(sink: SqliteSink, chain: list[Decoded]) -> int:
    """Apply the chain as a worker does; return how often the sink raised an error."""
    rejections, opened = 0, False
    while rejections < 10:
        try:
            if not opened:
                sink.open(NODE)
            opened = True
            todo = rest_of(chain, sink.cursor())
            if not todo:
                sink.sync()
                return rejections
            sink.apply(todo[:1])
        except SinkConflictError:
            opened, rejections = False, rejections + 1
        except SinkUnavailableError:
            rejections += 1
    raise AssertionError("the sink does not recover")
