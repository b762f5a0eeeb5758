"""The search of day files by counts and chunks gives what looking at each record gives."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from day_files import (
    NODE,
    START_NAME,
    append,
    make_record,
    open_day,
    write_day,
    write_old_day,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from queries import parsed
from query_terms import DAY_START, QUESTIONS, Question, fields_of_records

from fastlog.errors import FastlogError
from fastlog.search import chunk_search, pieces, search
from fastlog.sinks import day_chunks

CHUNK = 4
"""Entries of a chunk in these tests."""


@contextmanager
def small(waiting: int, uncovered: int = 1000) -> Iterator[None]:
    """Make chunks of a few entries, and let few entries wait for overlapping chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(day_chunks, "CHUNK_ENTRIES", CHUNK)
        patch.setattr(pieces, "WAITING", waiting)
        patch.setattr(pieces, "UNCOVERED", uncovered)
        yield


def found(logs: Path, query: str = "", **options: Any) -> list[str]:
    return [found.record.funcName or "" for found in search(logs, parsed(query), **options)]


@settings(deadline=None, max_examples=300)  # it writes files
@given(
    records=st.lists(fields_of_records(), min_size=1, max_size=30),
    question=QUESTIONS,
    newest_first=st.booleans(),
    waiting=st.sampled_from([0, 3, 1000]),
    uncovered=st.sampled_from([0, 1000]),
    version=st.sampled_from([1, 2, 3, 4, 4, 4]),
)
def test_any_search_gives_the_records_that_match_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[dict[str, Any]],
    question: Question,
    newest_first: bool,
    waiting: int,
    uncovered: int,
    version: int,
):
    made = [make_record(0, funcName=f"{n}", offset=n, **fields) for n, fields in enumerate(records)]
    path = tmp_path_factory.mktemp("logs") / START_NAME
    with small(waiting, uncovered):
        if version < 4:
            write_old_day(path, made, version=version)
        else:
            write_day(path, made)
        matching = [record for record in made if question.is_wanted(record)]
        expected = [each.funcName for each in sorted(matching, key=lambda each: each.created)]
        assert found(path.parent, question.text, newest_first=newest_first) == (
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
    newest = search(logs, parsed("message"), newest_first=True)
    assert [next(newest).record.funcName for _ in range(3)] == ["21", "20", "19"]
    assert log.chunks == [17]
    log.chunks.clear()
    assert next(search(logs, parsed("message"))).record.funcName == "0"
    assert log.chunks == [1]


def test_only_chunks_that_may_have_the_wanted_logger_and_time_are_read(
    logs: Path, monkeypatch: pytest.MonkeyPatch
):
    log = Log(monkeypatch)
    assert found(logs, "message logger:rare") == ["13"]
    assert log.chunks == [13]
    log.chunks.clear()
    late = f"message created>={DAY_START + 60 * 15} created<{DAY_START + 60 * 17}"
    assert found(logs, late) == ["15", "16"]
    assert log.chunks == [13, 17]


def test_only_minutes_that_have_the_wanted_logger_are_read(
    logs: Path, monkeypatch: pytest.MonkeyPatch
):
    visited: list[str] = []

    def visit(expression: object, text: str) -> bool:
        visited.append(text)
        return True

    monkeypatch.setattr("fastlog.query.evaluate.matches", visit)
    monkeypatch.setattr("fastlog.search.day_search.bulk_expressions", lambda query: [])
    assert found(logs, "message:/x/ logger:rare") == ["13"]
    assert len(visited) == 1


def test_entries_that_no_chunk_covers_are_found_at_any_time(logs: Path):
    late = make_record(0, created=DAY_START + 60 * 5, funcName="late", name="rare")
    write_day(logs / START_NAME, [late])
    assert found(logs, "logger:rare") == ["late", "13"]
    assert found(logs, "logger:rare message") == ["late", "13"]


@pytest.mark.parametrize("created", [0.0, 4e9])
def test_entries_of_no_counted_minute_are_found(logs: Path, created: float):
    fields = {"created": created, "funcName": "wrong", "name": "rare"}
    write_day(logs / START_NAME, [make_record(0, **fields), make_record(1)])
    expected = ["wrong", "13"] if created == 0.0 else ["13", "wrong"]
    assert found(logs, "logger:rare") == expected
    assert found(logs, "logger:rare message") == expected


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
            assert found(tmp_path, "message", newest_first=newest_first) == (
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
        running = search(tmp_path, parsed("message"))
        append(file, [make_record(n, funcName=f"{n}") for n in range(3, 9)])
        assert [each.record.funcName for each in running] == [f"{n}" for n in range(6)]


# --- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "query", "message"),
    [
        ("UPDATE chunks SET text = x'00'", "m", "a chunk cannot be decompressed"),
        ("UPDATE chunks SET text = 'no'", "m", "a chunk cannot be decompressed"),
        ("UPDATE chunks SET min_created = 'x'", "m", "a chunk has the span"),
        (
            "UPDATE meta SET value = 'x' WHERE key = 'first_minute'",
            "level>=10", "it does not state the minutes",
        ),
    ],
)  # fmt: skip
def test_damage_of_the_search_structures_is_reported(
    logs: Path, change: str, query: str, message: str
):
    with closing(sqlite3.connect(logs / START_NAME, isolation_level=None)) as connection:
        connection.execute(change)
    with pytest.raises(FastlogError, match=f"{START_NAME} is damaged: {message}"):
        found(logs, query)
    assert len(found(logs)) == 22
