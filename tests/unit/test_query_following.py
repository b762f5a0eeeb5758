"""The newest records, and those that arrive while a search follows them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from day_files import NODE, START, make_record, write_day
from queries import parsed

from fastlog.query import EVERYTHING, Node
from fastlog.search import follow, last_arrival, newest
from fastlog.search.day_reader import open_day as open_reading


def test_the_newest_are_the_last_by_created_over_all_files(tmp_path: Path):
    write_day(tmp_path / "2026-11-22.db", [make_record(i) for i in range(10)])
    write_day(tmp_path / "2026-11-23.db", [make_record(i) for i in (3, 20)])
    records, _ = newest(tmp_path, EVERYTHING, 3)
    assert [found.record.message for found in records] == ["message 8", "message 9", "message 20"]


class Script:
    """A pause for `follow`: each call runs the next step, and the last raises `TimeoutError`."""

    def __init__(self, *steps: Any) -> None:
        self._steps: Iterator[Any] = iter(steps)

    def __call__(self, seconds: float) -> None:
        step = next(self._steps, None)
        if step is None:
            raise TimeoutError
        step()


def followed(logs: Path, query: Node, *steps: Any) -> list[str]:
    _, position = newest(logs, query, 0)
    seen: list[str] = []
    with pytest.raises(TimeoutError):
        for batch in follow(logs, query, position, Script(*steps)):
            seen += [found.record.message for found in batch]
    return seen


def test_following_gives_each_new_record_once_in_order_of_arrival(tmp_path: Path):
    path = write_day(tmp_path / "2026-11-23.db", [make_record(0)])
    seen = followed(
        tmp_path,
        EVERYTHING,
        lambda: write_day(path, [make_record(5), make_record(4)]),
        lambda: None,
        lambda: write_day(path, [make_record(i) for i in range(10, 1210)]),
    )
    assert seen == [f"message {i}" for i in (5, 4, *range(10, 1210))]


def test_following_begins_before_anything_is_stored(tmp_path: Path):
    path = tmp_path / "logs" / "2026-11-23.db"
    assert followed(path.parent, EVERYTHING, lambda: write_day(path, [make_record(0)])) == [
        "message 0"
    ]


def test_following_continues_in_the_next_file_and_misses_nothing_of_the_last(tmp_path: Path):
    first = write_day(tmp_path / "2026-11-23.db", [make_record(0)])

    def midnight() -> None:
        write_day(first, [make_record(1)])
        write_day(tmp_path / "2026-11-23.1.db", [make_record(2)])
        write_day(tmp_path / "2026-11-24.db", [make_record(3)])

    later = tmp_path / "2026-11-24.db"
    seen = followed(tmp_path, EVERYTHING, midnight, lambda: write_day(later, [make_record(4)]))
    assert seen == ["message 1", "message 2", "message 3", "message 4"]


def test_following_finds_records_beside_the_file_of_a_future_day(tmp_path: Path):
    future = write_day(tmp_path / "2030-01-01.db", [make_record(0)])
    today = tmp_path / "2026-11-23.db"
    seen = followed(
        tmp_path,
        EVERYTHING,
        lambda: write_day(today, [make_record(1)]),
        lambda: write_day(future, [make_record(2)]),
        lambda: write_day(today, [make_record(3)]),
    )
    assert seen == ["message 1", "message 2", "message 3"]


def test_following_reads_only_what_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = [write_day(tmp_path / f"2026-11-2{n}.db", [make_record(n)]) for n in range(3)]
    read: list[str] = []

    def spy(path: Path) -> sqlite3.Connection:
        read.append(path.name)
        return open_reading(path)

    def age() -> None:
        for path in paths:
            os.utime(path, (START, START))

    def grow() -> None:
        read.clear()
        write_day(paths[1], [make_record(9)])

    age()
    monkeypatch.setattr("fastlog.search.live.open_day", spy)
    assert followed(tmp_path, EVERYTHING, lambda: None, lambda: None, grow) == ["message 9"]
    assert set(read) == {"2026-11-21.db"}


def test_following_survives_the_deletion_of_old_files(tmp_path: Path):
    old = write_day(tmp_path / "2026-11-22.db", [make_record(0)])
    current = write_day(tmp_path / "2026-11-23.db", [make_record(1)])

    def retire() -> None:
        write_day(tmp_path / "2026-11-24.db", [make_record(2)])
        old.unlink()
        current.unlink()

    later = tmp_path / "2026-11-24.db"
    seen = followed(tmp_path, EVERYTHING, retire, lambda: write_day(later, [make_record(3)]))
    assert seen == ["message 2", "message 3"]


def test_following_filters_and_skips_what_does_not_match(tmp_path: Path):
    path = write_day(tmp_path / "2026-11-23.db", [make_record(0)])
    seen = followed(
        tmp_path,
        parsed("level>=30"),
        lambda: write_day(path, [make_record(1), make_record(2, levelno=40)]),
        lambda: write_day(path, [make_record(3)]),
    )
    assert seen == ["message 2"]


def test_following_a_file_that_was_set_aside_gives_what_is_stored_again_only_once(tmp_path: Path):
    path = write_day(tmp_path / "2026-11-23.db", [make_record(i) for i in range(5)])

    def set_aside() -> None:
        path.rename(path.with_name(f"{path.name}.damaged"))
        write_day(path, [make_record(i) for i in range(2, 12)])

    seen = followed(
        tmp_path,
        parsed("-message:10"),
        lambda: write_day(path, [make_record(i) for i in range(5, 8)]),
        set_aside,
        lambda: write_day(path, [make_record(12)]),
    )
    assert seen == [f"message {i}" for i in (5, 6, 7, 8, 9, 11, 12)]


def test_the_last_arrival_is_the_last_record_of_the_file_that_was_written_last(tmp_path: Path):
    assert last_arrival(tmp_path / "none") is None
    write_day(tmp_path / "2026-11-23.db", [make_record(i) for i in (9, 3)])
    write_day(tmp_path / "2030-01-01.db", [make_record(1)], node="cd")
    write_day(tmp_path / "2026-11-23.db", [make_record(8), make_record(4)])
    assert last_arrival(tmp_path) == (NODE, 4, 0)
