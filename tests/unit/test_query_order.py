"""Searches return records in order, over any number of files, with bounded memory."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from day_files import START, append, make_record, open_day, write_day
from hypothesis import given, settings
from hypothesis import strategies as st
from queries import parsed
from searches import messages

from fastlog.search import Progress, search
from fastlog.search.day_reader import open_day as open_reading
from fastlog.search.day_reader import read_day
from fastlog.search.day_search import DaySearch
from fastlog.search.spans import Span


def test_records_come_back_whole(tmp_path: Path):
    record = make_record(
        1, lineno=7, thread=2**63 - 1, extra='{"a":{"b":[1,null]}}', exc_text="é", idx=3
    )
    write_day(tmp_path / "2026-11-23.db", [record], node="cafe")
    assert list(search(tmp_path)) == [(record, "cafe")]


def test_records_are_ordered_by_created_and_equal_ones_by_arrival(tmp_path: Path):
    write_day(
        tmp_path / "2026-11-22.db",
        [
            make_record(0, message="c", created=3.0),
            make_record(1, message="a", created=1.0),
            make_record(2, message="d", created=3.0, offset=0),  # a new node counts from 0 again
        ],
    )
    write_day(tmp_path / "2026-11-23.db", [make_record(0, message="e", created=3.0)])
    write_day(tmp_path / "2026-11-23.1.db", [make_record(0, message="b", created=2.0)])
    assert messages(tmp_path) == ["a", "b", "c", "d", "e"]
    assert messages(tmp_path, newest_first=True) == ["e", "d", "c", "b", "a"]


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_search_that_is_stopped_leaves_no_gap(tmp_path: Path, newest_first: bool):
    """A file whose search has ended may hold what comes before the rows of the others."""
    for day in range(3):
        records = [make_record(at, created=START + 3 * at + day) for at in range(100)]
        write_day(tmp_path / f"2026-11-2{day}.db", records, per_block=20)
    progress = Progress()
    found = search(tmp_path, newest_first=newest_first, progress=progress)
    assert [next(found).record.created for _ in range(10)]
    progress.interrupt()
    assert list(found) == []


@settings(deadline=None, max_examples=50)  # it writes files
@given(
    files=st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6),
    newest_first=st.booleans(),
)
def test_any_files_are_merged_as_one_sorted_list(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]], newest_first: bool
):
    logs = tmp_path_factory.mktemp("logs")
    expected: list[tuple[float, int, int]] = []
    for day, moments in enumerate(files):
        path = logs / f"2026-11-{day + 1:02}.db"
        write_day(
            path,
            [
                make_record(at, created=float(moment), message=f"{moment} {day} {at}")
                for at, moment in enumerate(moments)
            ],
        )
        expected += [(moment, day, at) for at, moment in enumerate(moments)]
    expected.sort(reverse=newest_first)
    assert messages(logs, newest_first=newest_first) == [f"{a:.0f} {b} {c}" for a, b, c in expected]


def test_the_tenth_file_of_a_day_comes_after_its_second(tmp_path: Path):
    for number in ("", ".1", ".2", ".10"):
        write_day(tmp_path / f"2026-11-23{number}.db", [make_record(0, message=number)])
    assert messages(tmp_path) == ["", ".1", ".2", ".10"]


def test_a_file_is_opened_when_its_first_record_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for day in range(3):
        write_day(
            tmp_path / f"2026-11-0{day + 1}.db", [make_record(day * 10 + i) for i in range(3)]
        )
    opened: list[str] = []

    def spy(path: Path) -> sqlite3.Connection:
        opened.append(path.name)
        return open_reading(path)

    monkeypatch.setattr("fastlog.search.stream.open_day", spy)
    records = search(tmp_path)
    assert opened == []
    next(records)
    assert opened == ["2026-11-01.db"]
    assert len(list(records)) == 8
    assert opened == ["2026-11-01.db", "2026-11-02.db", "2026-11-03.db"]


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_search_walks_the_index_and_sorts_nothing(tmp_path: Path, newest_first: bool):
    path = write_day(tmp_path / "2026-11-23.db", [make_record(i) for i in range(100)])
    day = read_day(path)
    assert day is not None
    query = parsed("level>=30 logger:a x")
    with closing(open_reading(path)) as connection:
        search_of_day = DaySearch(
            connection, query, day.last_id, Progress(), newest_first=newest_first
        )
        sql, parameters = search_of_day._walk(Span(START, START + 9))
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
    text = " ".join(row[3] for row in plan)
    assert "USING INDEX entries_created" in text
    assert "TEMP B-TREE" not in text


MEASURE = """
import resource, sys, tracemalloc
from pathlib import Path
from fastlog.search import Progress, search
logs = Path(sys.argv[1])
next(search(logs))  # all that is imported and cached once
tracemalloc.start()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in search(logs))
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(count, tracemalloc.get_traced_memory()[1], grown * 1024)
"""


def test_a_hundred_thousand_rows_are_never_in_memory_together(tmp_path: Path):
    with closing(open_day(tmp_path / "2026-11-22.db")) as connection:
        records = (make_record(i, message="x" * 100) for i in range(50_000))
        append(connection, records, per_block=100)
    with closing(open_day(tmp_path / "2026-11-23.db")) as connection:
        records = (make_record(i + 25_000, message="x" * 100) for i in range(50_000))
        append(connection, records, per_block=100)
    output = subprocess.check_output([sys.executable, "-c", MEASURE, tmp_path], text=True)
    rows, python_peak, grown = map(int, output.split())
    assert rows == 100_000
    assert python_peak < 1 << 20
    assert grown < 16 << 20  # SQLite's page caches
