"""The search of day files by counts and chunks gives what looking at each record gives."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from day_files import (
    NODE,
    START,
    START_NAME,
    append,
    make_record,
    open_day,
    write_day,
    write_old_day,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlog.errors import FastlogError
from fastlog.query import Filters, parse_condition
from fastlog.record import Record
from fastlog.search import chunk_search, pieces, search
from fastlog.sinks import day_chunks

EVERYTHING = Filters()
CHUNK = 4
"""Entries of a chunk in these tests."""
DAY_START = START - START % 86_400

LEVELS = st.sampled_from([(10, "DEBUG"), (20, "INFO"), (40, "ERROR"), (None, None)])
NAMES = st.sampled_from(["app", "app.db", "app.db.pool", "web", None])
HOSTS = st.sampled_from(["h", "i"])
TEXTS = st.sampled_from(["", "one", "ONE two", "two\none", "\N{KELVIN SIGN}", "three one"])
TIMES = st.one_of(
    st.integers(0, 9).map(lambda minute: DAY_START + 60.0 * minute),
    st.floats(0, 600).map(lambda second: DAY_START + second),
    st.sampled_from([0.0, DAY_START - 86_400.5, DAY_START + 3 * 86_400, 4e9]),
)
RECORDS = st.lists(
    st.builds(
        lambda level, **fields: {"levelno": level[0], "levelname": level[1], **fields},
        LEVELS,
        created=TIMES,
        name=NAMES,
        host=HOSTS,
        message=TEXTS,
        exc_text=st.none() | TEXTS,
        lineno=st.integers(1, 2),
        extra=st.sampled_from(["{}", '{"user":77}', '{"user":"77"}', '{"user":770,"a":1}']),
    ),
    min_size=1,
    max_size=30,
)


def where(*texts: str) -> dict[str, Any]:
    return {"where": tuple(parse_condition(text, START) for text in texts)}


FILTERS = st.lists(
    st.one_of(
        TIMES.map(lambda time: {"since": time}),
        TIMES.map(lambda time: {"until": time}),
        st.sampled_from([{"level": 20}, {"level": 40}]),
        st.sampled_from([("app.db",), ("app.db.pool", "web"), ("none",)]).map(
            lambda names: {"logger": names}
        ),
        st.sampled_from([("h",), ("h", "i"), ("j",)]).map(lambda names: {"host": names}),
        st.sampled_from([("one",), ("k",), ("TWO", "one"), ("nowhere",)]).map(
            lambda texts: {"grep": texts}
        ),
        st.sampled_from([("^one",), (r"\Aone\z",), ("(?s)two.*one",), (r"(?-m:e$)",)]).map(
            lambda patterns: {"regex": patterns}
        ),
        st.sampled_from([where("extra.user=77"), where("lineno=2"), where("lineno!=2", "host=i")]),
    ),
    max_size=3,
).map(lambda parts: Filters(**{name: value for part in parts for name, value in part.items()}))


def is_wanted(record: Record, filters: Filters) -> bool:
    """Return whether a record matches, by a look at nothing else."""
    texts = [text for text in (record.message, record.exc_text) if text is not None]
    names = {"extra.user=77": record.extra[:12] in ('{"user":77}', '{"user":"77"')}
    names |= {"lineno=2": record.lineno == 2, "lineno!=2": record.lineno != 2}
    names |= {"host=i": record.host == "i"}
    return (
        (filters.since is None or record.created >= filters.since)
        and (filters.until is None or record.created < filters.until)
        and (filters.level is None or (record.levelno or 0) >= filters.level)
        and (not filters.logger or any(map(is_below(record.name), filters.logger)))
        and (not filters.host or record.host in filters.host)
        and all(any(contains(text, part) for text in texts) for part in filters.grep)
        and all(any(PATTERNS[each].search(text) for text in texts) for each in filters.regex)
        and all(names[f"{each.field}{each.operator}{each.value}"] for each in filters.where)
    )


PATTERNS = {
    "^one": re.compile("^one"),
    r"\Aone\z": re.compile(r"\Aone\Z"),
    "(?s)two.*one": re.compile("(?s)two.*one"),
    "(?-m:e$)": re.compile(r"e\Z"),
}
"""The same patterns for Python's `re`."""


def contains(text: str, part: str) -> bool:
    return part.lower() in text.lower()  # the same as simple case folding for these texts


def is_below(name: str | None) -> Any:
    return lambda logger: name is not None and f"{name}.".startswith(f"{logger}.")


@contextmanager
def small(waiting: int, uncovered: int = 1000) -> Iterator[None]:
    """Make chunks of a few entries, and let few entries wait for overlapping chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(day_chunks, "CHUNK_ENTRIES", CHUNK)
        patch.setattr(pieces, "WAITING", waiting)
        patch.setattr(pieces, "UNCOVERED", uncovered)
        yield


def found(logs: Path, filters: Filters = EVERYTHING, **options: Any) -> list[str]:
    return [found.record.funcName or "" for found in search(logs, filters, **options)]


@settings(deadline=None, max_examples=200)  # it writes files
@given(
    records=RECORDS,
    filters=FILTERS,
    newest_first=st.booleans(),
    waiting=st.sampled_from([0, 3, 1000]),
    uncovered=st.sampled_from([0, 1000]),
    version=st.sampled_from([1, 2, 3, 3, 3, 3]),
)
def test_any_search_gives_the_records_that_match_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[dict[str, Any]],
    filters: Filters,
    newest_first: bool,
    waiting: int,
    uncovered: int,
    version: int,
):
    made = [make_record(0, funcName=f"{n}", offset=n, **fields) for n, fields in enumerate(records)]
    path = tmp_path_factory.mktemp("logs") / START_NAME
    with small(waiting, uncovered):
        if version < 3:
            write_old_day(path, made, version=version)
        else:
            write_day(path, made)
        matching = [record for record in made if is_wanted(record, filters)]
        expected = [each.funcName for each in sorted(matching, key=lambda each: each.created)]
        assert found(path.parent, filters, newest_first=newest_first) == (
            expected[::-1] if newest_first else expected
        )


# --- what is read ----------------------------------------------------------------------------


class Log:
    """The chunks that are read. None is read before it is due."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.chunks: list[int] = []
        read = chunk_search._read_text

        def spy(connection: sqlite3.Connection, chunk: pieces.Piece) -> bytes:
            self.chunks.append(chunk.first_id)
            return read(connection, chunk)

        patch.setattr(chunk_search, "_read_text", spy)
        patch.setattr(chunk_search, "AHEAD", 0)


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a record a minute, in chunks of four and two more; the 13th is of another logger."""
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", CHUNK)
    names = {13: "rare"}
    records = [
        make_record(
            0, created=DAY_START + 60 * n, funcName=f"{n}", name=names.get(n, "app"), offset=n
        )
        for n in range(22)
    ]
    write_day(tmp_path / START_NAME, records)
    return tmp_path


def test_chunks_are_read_when_they_are_due(logs: Path, monkeypatch: pytest.MonkeyPatch):
    log = Log(monkeypatch)
    newest = search(logs, Filters(grep=("message",)), newest_first=True)
    assert [next(newest).record.funcName for _ in range(3)] == ["21", "20", "19"]
    assert log.chunks == [17]
    log.chunks.clear()
    assert next(search(logs, Filters(grep=("message",)))).record.funcName == "0"
    assert log.chunks == [1]


def test_only_chunks_that_may_have_the_wanted_logger_and_time_are_read(
    logs: Path, monkeypatch: pytest.MonkeyPatch
):
    log = Log(monkeypatch)
    assert found(logs, Filters(grep=("message",), logger=("rare",))) == ["13"]
    assert log.chunks == [13]
    log.chunks.clear()
    late = Filters(grep=("message",), since=DAY_START + 60 * 15, until=DAY_START + 60 * 17)
    assert found(logs, late) == ["15", "16"]
    assert log.chunks == [13, 17]


def test_only_minutes_that_have_the_wanted_logger_are_read(
    logs: Path, monkeypatch: pytest.MonkeyPatch
):
    visited: list[str] = []

    def visit(text: str | None) -> bool:
        visited.append(text or "")
        return True

    monkeypatch.setattr("fastlog.search.clauses.matches", lambda expression, text: visit(text))
    monkeypatch.setattr("fastlog.search.day_search.bulk_expressions", lambda filters: [])
    assert found(logs, Filters(regex=("x",), logger=("rare",))) == ["13"]
    assert len(visited) == 1


def test_entries_that_no_chunk_covers_are_found_at_any_time(logs: Path):
    late = make_record(0, created=DAY_START + 60 * 5, funcName="late", name="rare")
    write_day(logs / START_NAME, [late])
    assert found(logs, Filters(logger=("rare",))) == ["late", "13"]
    assert found(logs, Filters(logger=("rare",), grep=("message",))) == ["late", "13"]


@pytest.mark.parametrize("created", [0.0, 4e9])
def test_entries_of_no_counted_minute_are_found(logs: Path, created: float):
    fields = {"created": created, "funcName": "wrong", "name": "rare"}
    write_day(logs / START_NAME, [make_record(0, **fields), make_record(1)])
    expected = ["wrong", "13"] if created == 0.0 else ["13", "wrong"]
    assert found(logs, Filters(logger=("rare",))) == expected
    assert found(logs, Filters(logger=("rare",), grep=("message",))) == expected


def test_a_sender_whose_clock_is_wrong_does_not_make_memory_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each chunk has an entry of 1970, so that all overlap."""
    records = [
        make_record(0, created=DAY_START + n if n % CHUNK else 0.0, funcName=f"{n}", offset=n)
        for n in range(400)
    ]
    held: list[int] = []
    order = pieces.in_order

    def spy(*args: Any, **options: Any) -> Iterator[pieces.Batch]:
        for batch in order(*args, **options):
            held.append(len(batch.ids))
            yield batch

    monkeypatch.setattr(chunk_search, "in_order", spy)
    with small(waiting=20):
        write_day(tmp_path / START_NAME, records)
        expected = sorted(records, key=lambda record: record.created)
        for newest_first in (False, True):
            names = [record.funcName for record in expected]
            filters = Filters(grep=("message",))
            assert found(tmp_path, filters, newest_first=newest_first) == (
                names[::-1] if newest_first else names
            )
    assert max(held) <= 20 + 2 * CHUNK


def test_entries_that_arrive_during_a_search_are_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The new entries complete a chunk, between the look at the file and the search in it."""
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", CHUNK)
    with closing(open_day(tmp_path / START_NAME, NODE)) as file:
        append(file, [make_record(n, funcName=f"{n}") for n in range(6)])
        running = search(tmp_path, Filters(grep=("message",)))
        append(file, [make_record(n, funcName=f"{n}") for n in range(3, 9)])
        assert [each.record.funcName for each in running] == [f"{n}" for n in range(6)]


# --- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "filters", "message"),
    [
        ("UPDATE chunks SET text = x'00'", Filters(grep=("m",)), "a chunk cannot be decompressed"),
        ("UPDATE chunks SET text = 'no'", Filters(grep=("m",)), "a chunk cannot be decompressed"),
        ("UPDATE chunks SET min_created = 'x'", Filters(grep=("m",)), "a chunk has the span"),
        (
            "UPDATE meta SET value = 'x' WHERE key = 'first_minute'",
            Filters(level=10), "it does not state the minutes",
        ),
    ],
)  # fmt: skip
def test_damage_of_the_search_structures_is_reported(
    logs: Path, change: str, filters: Filters, message: str
):
    with closing(sqlite3.connect(logs / START_NAME, isolation_level=None)) as connection:
        connection.execute(change)
    with pytest.raises(FastlogError, match=f"{START_NAME} is damaged: {message}"):
        found(logs, filters)
    assert len(found(logs)) == 22
