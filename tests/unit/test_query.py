"""Queries and searches of day files: matches, their order, a concurrent writer, bounded memory."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from day_files import START, append, make_record, open_day, write_day
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SUPPORT

from fastlog.errors import ConfigError, FastlogError
from fastlog.query import (
    Filters,
    check_regex,
    check_text,
    parse_condition,
    parse_level,
    parse_moment,
)
from fastlog.search import Unread, count, day_reader, follow, newest, search
from fastlog.search.day_reader import open_day as open_reading
from fastlog.search.day_reader import read_day
from fastlog.search.day_search import DaySearch
from fastlog.search.layout import read_layout
from fastlog.search.spans import Span

EVERYTHING = Filters()


def messages(logs: Path, filters: Filters = EVERYTHING, **options: Any) -> list[str]:
    return [found.record.message for found in search(logs, filters, **options)]


def one(tmp_path: Path, filters: Filters, **fields: Any) -> bool:
    """Return whether a record with these fields matches."""
    tmp_path.joinpath("2026-11-23.db").unlink(missing_ok=True)
    write_day(tmp_path / "2026-11-23.db", [make_record(0, **fields)])
    return bool(messages(tmp_path, filters))


def conditions(*texts: str) -> Filters:
    return Filters(where=tuple(parse_condition(text, START) for text in texts))


# --- order -----------------------------------------------------------------------------------


def test_records_come_back_whole(tmp_path: Path):
    record = make_record(
        1, lineno=7, thread=2**63 - 1, extra='{"a":{"b":[1,null]}}', exc_text="é", idx=3
    )
    write_day(tmp_path / "2026-11-23.db", [record], node="cafe")
    assert list(search(tmp_path, Filters())) == [(record, "cafe")]


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
    records = search(tmp_path, Filters())
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
    filters = Filters(level=30, logger=("a",), grep=("x",))
    with closing(open_reading(path)) as connection:
        layout = read_layout(connection)
        search_of_day = DaySearch(connection, layout, filters, day.last_id, newest_first)
        sql, parameters = search_of_day.walk(Span(START, START + 9))
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
    text = " ".join(row[3] for row in plan)
    assert "USING INDEX entries_created" in text
    assert "TEMP B-TREE" not in text


MEASURE = """
import resource, sys, tracemalloc
from pathlib import Path
from fastlog.query import Filters
from fastlog.search import search
logs = Path(sys.argv[1])
next(search(logs, Filters()))  # all that is imported and cached once
tracemalloc.start()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in search(logs, Filters()))
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(count, tracemalloc.get_traced_memory()[1], grown * 1024)
"""


def test_three_hundred_thousand_rows_are_never_in_memory_together(tmp_path: Path):
    with closing(open_day(tmp_path / "2026-11-22.db")) as connection:
        append(connection, (make_record(i, message="x" * 100) for i in range(150_000)))
    with closing(open_day(tmp_path / "2026-11-23.db")) as connection:
        append(connection, (make_record(i + 75_000, message="x" * 100) for i in range(150_000)))
    output = subprocess.check_output([sys.executable, "-c", MEASURE, tmp_path], text=True)
    rows, python_peak, grown = map(int, output.split())
    assert rows == 300_000
    assert python_peak < 1 << 20
    assert grown < 16 << 20  # SQLite's page caches


# --- filters ---------------------------------------------------------------------------------


def test_since_is_included_and_until_is_not(tmp_path: Path):
    write_day(tmp_path / "2026-11-23.db", [make_record(i) for i in range(5)])
    filters = Filters(since=START + 1, until=START + 3)
    assert messages(tmp_path, filters) == ["message 1", "message 2"]


def test_a_file_whose_stated_span_is_of_another_time_is_not_searched(
    tmp_path: Path,
):
    """The span in `meta` is wrong here, which shows that it is used; a missing one is ignored."""
    path = write_day(tmp_path / "2026-11-23.db", [make_record(0), make_record(10)])
    window = Filters(since=START + 5, until=START + 20)
    assert messages(tmp_path, window) == ["message 10"]
    with closing(open_day(path)) as day:
        execute = day.connection.execute
        execute("UPDATE meta SET value = ? WHERE key = 'min_created'", (START,))
        execute("UPDATE meta SET value = ? WHERE key = 'max_created'", (START + 4,))
    assert messages(tmp_path, window) == []
    assert messages(tmp_path, Filters(until=START + 20)) == ["message 0", "message 10"]


@pytest.mark.parametrize(("level", "matches"), [(29, False), (30, True), (35, True), (None, False)])
def test_a_level_is_the_lowest_one(tmp_path: Path, level: int | None, matches: bool):
    assert one(tmp_path, Filters(level=30), levelno=level) == matches


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        ("app.db", True), ("app.db.pool", True), ("app.db.", True), ("app", False),
        ("app.dbx", False), ("app.db-x", False), ("app.db/x", False), ("App.db", False),
        (None, False),
    ],
)  # fmt: skip
def test_a_logger_matches_all_below_it(tmp_path: Path, name: str | None, matches: bool):
    assert one(tmp_path, Filters(logger=("app.db",)), name=name) == matches


def test_of_several_loggers_or_hosts_one_must_match(tmp_path: Path):
    filters = Filters(logger=("a", "b"), host=("h", "i"))
    assert one(tmp_path, filters, name="b.c", host="h")
    assert not one(tmp_path, filters, name="b.c", host="j")
    assert not one(tmp_path, filters, name="c", host="h")


@pytest.mark.parametrize(
    ("text", "message", "matches"),
    [
        ("WORLD", "hello world", True), ("100%", "it is 100% sure", True), ("100%", "1000", False),
        ("a_b", "a_b", True), ("a_b", "axb", False), ("\\", "a\\b", True), ("x", "", False),
        ("größe", "GRÖẞE", True), ("größe", "GRÖSSE", False), ("ÄÖ", "äö", True),
        ("k", "\N{KELVIN SIGN}", True), ("\N{LATIN SMALL LETTER LONG S}", "S", True),
        ("", "", True),
    ],
)  # fmt: skip
def test_grep_is_plain_text_in_any_case(tmp_path: Path, text: str, message: str, matches: bool):
    assert one(tmp_path, Filters(grep=(text,)), message=message) == matches


def test_grep_and_regex_search_the_traceback_too(tmp_path: Path):
    fields = {"message": "it failed", "exc_text": "ZeroDivisionError: ü"}
    assert one(tmp_path, Filters(grep=("zerodiv",)), **fields)
    assert one(tmp_path, Filters(grep=("Ü",)), **fields)
    assert one(tmp_path, Filters(regex=(r"^Zero\w+: .$",)), **fields)
    assert not one(tmp_path, Filters(regex=("^zero",)), **fields)
    assert not one(tmp_path, Filters(grep=("failed", "nothing")), **fields)


EXTRA = (
    '{"user":77,"text":"77","f":1.5,"yes":true,"none":null,"a":{"b":"x","n":{"m":1}},'
    '"dot.ted":"d","q\'":1,"list":[1]}'
)


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ("extra.user=77", True), ("extra.text=77", True), ("extra.user=78", False),
        ("extra.user!=77", False), ("extra.user!=78", True), ("extra.missing!=1", True),
        ("extra.missing=1", False), ("extra.a.b=x", True), ("extra.a.n.m=1", True),
        ("extra.dot.ted=d", True), ("extra.f=1.5", True), ("extra.f>1", True),
        ("extra.f>1.5", False), ("extra.f>=1.5", True), ("extra.user<100", True),
        ("extra.text<100", False), ("extra.text<9", False), ("extra.a.b>w", True),
        ("extra.yes=true", True), ("extra.yes=false", False), ("extra.none=null", True),
        ("extra.missing=null", False), ("extra.q'=1", True), ("extra.a=x", False),
        ("extra.list=[1]", True),
        ("levelno>=20", True), ("levelno>20", False), ("levelname=INFO", True),
        ("lineno=5", False), ("lineno!=5", True), ("message = a = b", True),
        ("host<=127.0.0.1", True), ("node=ab", True), ("offset=0", True),
        (f"created>={START}", True), ("created>1s", True), ("created<1s", False),
        ("created<=2023-11-14T22:13:20Z", True), ("created<2023-11-14T22:13:20Z", False),
    ],
)  # fmt: skip
def test_a_condition_compares_a_field(tmp_path: Path, condition: str, matches: bool):
    assert one(tmp_path, conditions(condition), extra=EXTRA, message="a = b") == matches


def test_all_conditions_must_hold(tmp_path: Path):
    assert one(tmp_path, conditions("extra.user=77", "levelno=20"), extra=EXTRA)
    assert not one(tmp_path, conditions("extra.user=77", "levelno=30"), extra=EXTRA)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leve=1", "there is no field 'leve'; did you mean 'levelno'?"),
        ("extr.user=1", "there is no field 'extr.user'; did you mean 'extra.NAME'?"),
        ("extra.=1", "expected extra.NAME or extra.NAME.NAME, got 'extra.'"),
        ('extra.a"b=1', "expected extra.NAME or extra.NAME.NAME, got 'extra.a\"b'"),
        ("word", "expected field=value, got 'word'"),
        ("created>soon", "expected a time such as 1h, 2026-11-23, '2026-11-23 14:30' or yesterday, "
         "got 'soon'"),
    ],
)  # fmt: skip
def test_a_wrong_condition_is_an_error(text: str, message: str):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        parse_condition(text, START)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_condition_that_works_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
):
    logs = tmp_path_factory.getbasetemp() / "conditions"
    if not logs.exists():
        write_day(logs / "2026-11-23.db", [make_record(0, extra=EXTRA)])
    for candidate in (text, f"extra.{text}=1", f"message={text}", f"extra.a.{text}!={text}"):
        try:
            filters = conditions(candidate)
        except ConfigError:
            continue
        if "\0" not in candidate and candidate.isprintable():
            messages(logs, filters)


def test_levels_are_named_or_numbered():
    assert [parse_level(text) for text in ("warning", "WARN", "35", "FATAL")] == [30, 30, 35, 50]
    with pytest.raises(ConfigError, match="no level 'WARNIN'; did you mean 'WARNING'"):
        parse_level("WARNIN")


def test_a_wrong_regular_expression_is_an_error():
    with pytest.raises(ConfigError, match=r"not a regular expression: '\(': "):
        check_regex("(")


def test_a_text_that_cannot_be_searched_for_is_an_error():
    with pytest.raises(ConfigError, match=r"not a text to search for: '.*': 'utf-8' codec"):
        check_text("\udcff")


NOW = datetime(2026, 11, 23, 14, 30, 5).timestamp()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1h", NOW - 3600), ("90 min ago", NOW - 5400), ("now", NOW), ("@12.5", 12.5),
        ("today", datetime(2026, 11, 23)), ("Yesterday", datetime(2026, 11, 22)),
        ("2026-11-01", datetime(2026, 11, 1)), ("14:30", datetime(2026, 11, 23, 14, 30)),
        ("2026-11-01 14:30", datetime(2026, 11, 1, 14, 30)),
        ("2026-11-01T14:30:00+02:00", datetime.fromisoformat("2026-11-01T14:30:00+02:00")),
        ("9:05", datetime(2026, 11, 23, 9, 5)),
    ],
)  # fmt: skip
def test_a_moment_is_parsed(text: str, moment: float | datetime):
    expected = moment.timestamp() if isinstance(moment, datetime) else moment
    assert parse_moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "soon", "60", "2026-13-01", "@x", "1 fortnight", "25:00"])
def test_a_text_that_is_no_moment_is_an_error(text: str):
    with pytest.raises(ConfigError, match="expected a time such as"):
        parse_moment(text, NOW)


# --- files -----------------------------------------------------------------------------------


def test_nothing_is_found_where_nothing_is_stored(tmp_path: Path):
    assert messages(tmp_path / "missing") == []
    with closing(open_day(tmp_path / "2026-11-23.db")):
        assert messages(tmp_path) == []
    (tmp_path / "2026-11-24.db").touch()  # a file that its server has just created
    (tmp_path / "notes.db").write_text("another file")
    assert messages(tmp_path) == []


def test_a_search_sees_what_was_committed_while_the_writer_continues(tmp_path: Path):
    with closing(open_day(tmp_path / "2026-11-23.db")) as writer:
        append(writer, [make_record(0), make_record(2)])
        writer.connection.execute("BEGIN IMMEDIATE")
        writer.connection.execute("UPDATE entries SET message = 'not yet'")
        assert messages(tmp_path) == ["message 0", "message 2"]
        writer.connection.execute("ROLLBACK")
        records = search(tmp_path, Filters())
        append(writer, [make_record(1)])  # after the search began: not in it
        assert [found.record.message for found in records] == ["message 0", "message 2"]


KILLED = """
import os, sys
from pathlib import Path
from day_files import append, make_record, open_day
append(open_day(Path(sys.argv[1])), [make_record(0)])
os.kill(os.getpid(), 9)
"""


def test_a_file_whose_writer_was_killed_is_read(tmp_path: Path):
    path = tmp_path / "2026-11-23.db"
    env = os.environ | {"PYTHONPATH": str(SUPPORT)}
    subprocess.run([sys.executable, "-c", KILLED, path], env=env, check=False)
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    assert messages(tmp_path) == ["message 0"]


READ_ONLY_USER = """
import os, sys
from pathlib import Path
from fastlog.query import Filters
from fastlog.search import search
if os.geteuid() == 0:  # root may write everywhere
    os.setuid(65534)
assert not os.access(sys.argv[1], os.W_OK)
for found in search(Path(sys.argv[1]), Filters()):
    print(found.record.message)
"""


@pytest.mark.parametrize("stopped", [True, False])
def test_a_file_is_read_by_a_user_without_write_permission(stopped: bool):
    with tempfile.TemporaryDirectory() as name:  # only its owner can enter tmp_path
        logs = Path(name)
        with closing(open_day(logs / "2026-11-23.db")) as writer:
            append(writer, [make_record(0)])
            if stopped:
                writer.close()
            files = list(logs.iterdir())
            assert len(files) == (1 if stopped else 3)
            for file in files:
                file.chmod(0o644)
            logs.chmod(0o555)
            command = [sys.executable, "-c", READ_ONLY_USER, name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            logs.chmod(0o755)
        assert (done.stdout, done.stderr) == ("message 0\n", "")


def test_a_file_that_retention_deletes_during_the_search_is_skipped(tmp_path: Path):
    for day in range(3):
        write_day(tmp_path / f"2026-11-0{day + 1}.db", [make_record(day)])
    records = search(tmp_path, Filters())
    assert next(records).record.message == "message 0"
    (tmp_path / "2026-11-02.db").unlink()
    assert [found.record.message for found in records] == ["message 2"]


def test_a_file_that_is_deleted_after_it_was_listed_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_day(tmp_path / "2026-11-23.db", [make_record(0)])
    listed = [tmp_path / "2026-11-22.db", tmp_path / "2026-11-23.db"]
    monkeypatch.setattr(day_reader, "list_files", lambda logs: listed)
    assert messages(tmp_path) == ["message 0"]


def test_a_file_that_is_no_database_is_an_error_without_unread(tmp_path: Path):
    path = tmp_path / "2026-11-23.db"
    path.write_text("not a database, but long enough to look at" * 30)
    with pytest.raises(FastlogError, match="file is not a database"):
        messages(tmp_path)
    lines: list[str] = []
    unread = Unread(lines.append)
    assert messages(tmp_path, unread=unread) == []
    assert lines == [
        f"{path} is damaged (file is not a database); some or all of its records are left out"
    ]


# --- the newest, and those that arrive -------------------------------------------------------


def test_the_newest_are_the_last_by_created_over_all_files(tmp_path: Path):
    write_day(tmp_path / "2026-11-22.db", [make_record(i) for i in range(10)])
    write_day(tmp_path / "2026-11-23.db", [make_record(i) for i in (3, 20)])
    records, _ = newest(tmp_path, Filters(), 3)
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


def followed(logs: Path, filters: Filters, *steps: Any) -> list[str]:
    _, position = newest(logs, filters, 0)
    seen: list[str] = []
    with pytest.raises(TimeoutError):
        for batch in follow(logs, filters, position, Script(*steps)):
            seen += [found.record.message for found in batch]
    return seen


def test_following_gives_each_new_record_once_in_order_of_arrival(tmp_path: Path):
    path = write_day(tmp_path / "2026-11-23.db", [make_record(0)])
    seen = followed(
        tmp_path,
        Filters(),
        lambda: write_day(path, [make_record(5), make_record(4)]),
        lambda: None,
        lambda: write_day(path, [make_record(i) for i in range(10, 1210)]),
    )
    assert seen == [f"message {i}" for i in (5, 4, *range(10, 1210))]


def test_following_begins_before_anything_is_stored(tmp_path: Path):
    path = tmp_path / "logs" / "2026-11-23.db"
    assert followed(path.parent, Filters(), lambda: write_day(path, [make_record(0)])) == [
        "message 0"
    ]


def test_following_continues_in_the_next_file_and_misses_nothing_of_the_last(tmp_path: Path):
    first = write_day(tmp_path / "2026-11-23.db", [make_record(0)])

    def midnight() -> None:
        write_day(first, [make_record(1)])
        write_day(tmp_path / "2026-11-23.1.db", [make_record(2)])
        write_day(tmp_path / "2026-11-24.db", [make_record(3)])

    later = tmp_path / "2026-11-24.db"
    seen = followed(tmp_path, Filters(), midnight, lambda: write_day(later, [make_record(4)]))
    assert seen == ["message 1", "message 2", "message 3", "message 4"]


def test_following_finds_records_beside_the_file_of_a_future_day(tmp_path: Path):
    future = write_day(tmp_path / "2030-01-01.db", [make_record(0)])
    today = tmp_path / "2026-11-23.db"
    seen = followed(
        tmp_path,
        Filters(),
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
    assert followed(tmp_path, Filters(), lambda: None, lambda: None, grow) == ["message 9"]
    assert set(read) == {"2026-11-21.db"}


def test_following_survives_the_deletion_of_old_files(tmp_path: Path):
    old = write_day(tmp_path / "2026-11-22.db", [make_record(0)])
    current = write_day(tmp_path / "2026-11-23.db", [make_record(1)])

    def retire() -> None:
        write_day(tmp_path / "2026-11-24.db", [make_record(2)])
        old.unlink()
        current.unlink()

    later = tmp_path / "2026-11-24.db"
    seen = followed(tmp_path, Filters(), retire, lambda: write_day(later, [make_record(3)]))
    assert seen == ["message 2", "message 3"]


def test_following_filters_and_skips_what_does_not_match(tmp_path: Path):
    path = write_day(tmp_path / "2026-11-23.db", [make_record(0)])
    seen = followed(
        tmp_path,
        Filters(level=30),
        lambda: write_day(path, [make_record(1), make_record(2, levelno=40)]),
        lambda: write_day(path, [make_record(3)]),
    )
    assert seen == ["message 2"]


# --- totals ----------------------------------------------------------------------------------


def test_totals_count_by_level_logger_host_and_hour(tmp_path: Path):
    hour = START - START % 3600
    write_day(
        tmp_path / "2026-11-22.db",
        [make_record(0, created=hour), make_record(1, created=hour + 3599)],
    )
    write_day(
        tmp_path / "2026-11-23.db",
        [make_record(2, created=hour + 3600, levelno=40, levelname="ERROR", name=None, host="h")],
    )  # fmt: skip
    totals = count(tmp_path, Filters())
    assert totals.records == 3
    assert totals.levels == {"INFO": 2, "ERROR": 1}
    assert totals.loggers == {"app": 2, "?": 1}
    assert totals.hosts == {"127.0.0.1": 2, "h": 1}
    assert totals.hours == {int(hour): 2, int(hour) + 3600: 1}
    assert count(tmp_path, Filters(level=40)).records == 1


def test_names_that_senders_invent_get_a_bounded_number_of_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("fastlog.search.totals.MAX_NAMES", 3)
    for day in ("2026-11-22", "2026-11-23"):
        names = ["often", "often", *(f"{day} {n}" for n in range(8))]
        records = [make_record(n, name=name, host=name) for n, name in enumerate(names)]
        write_day(tmp_path / f"{day}.db", records)
    totals = count(tmp_path, Filters())
    for counts in (totals.loggers, totals.hosts):
        assert (len(counts), counts["often"], counts["(others)"]) == (4, 4, 14)
        assert counts.total() == totals.records == 20


def test_a_search_of_one_minute_does_not_read_the_whole_day(tmp_path: Path):
    write_day(tmp_path / "2026-11-23.db", [make_record(i) for i in range(50_000)])
    started = time.perf_counter()
    whole = len(messages(tmp_path))
    middle = time.perf_counter()
    part = len(messages(tmp_path, Filters(since=START + 100, until=START + 160)))
    ended = time.perf_counter()
    assert (whole, part) == (50_000, 60)
    assert (ended - middle) * 3 < middle - started  # it takes about a hundredth of the time
