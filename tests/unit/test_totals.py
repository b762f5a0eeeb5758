"""Totals: the counts of a day file and its rows together equal a count of every record."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from day_files import START, START_NAME, make_record, write_day, write_old_day
from hypothesis import given, settings
from hypothesis import strategies as st
from query_terms import QUESTIONS, Question, fields_of_records
from searches import totals

from fastlog.record import Record
from fastlog.search import Totals
from fastlog.search.day_reader import open_day
from fastlog.sinks import day_chunks


def plain_count(records: Iterable[Record]) -> Totals:
    totals = Totals(Counter(), Counter(), Counter(), Counter())
    for record in records:
        totals.levels[record.levelname or str(record.levelno or "?")] += 1
        totals.loggers["?" if record.name is None else record.name] += 1
        totals.hosts[record.host] += 1
        totals.hours[int(record.created // 3600 * 3600)] += 1
    return totals


def write_by_two_nodes(path: Path, records: list[Record]) -> None:
    for at in range(0, len(records), 5):
        write_day(path, records[at : at + 5], node=f"node {at % 2}")


def write_version_1(path: Path, records: list[Record]) -> None:
    write_old_day(path, records, version=1)


@pytest.mark.parametrize("write", [write_day, write_by_two_nodes, write_old_day, write_version_1])
@settings(deadline=None, max_examples=60)
@given(st.lists(fields_of_records(), max_size=40), QUESTIONS, st.sampled_from(["unix", None]))
def test_totals_equal_a_count_of_every_record(
    write: Callable[[Path, list[Record]], object],
    records: list[dict[str, Any]],
    question: Question,
    host: str | None,
) -> None:
    """With a single host, counts answer what they cannot with several."""
    made = [make_record(0, **fields) for fields in records]
    if host is not None:
        made = [record._replace(host=host) for record in made]
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(day_chunks, "CHUNK_ENTRIES", 7)
        write(Path(name) / START_NAME, made)
        found = totals(Path(name), question.text)
    assert found == plain_count(record for record in made if question.is_wanted(record))


def test_totals_of_what_chunks_cover_come_from_the_counts_and_not_from_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", 100)
    path = write_day(tmp_path / START_NAME, [make_record(n) for n in range(250)])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE site_counts SET records = 1000 * records")
        connection.execute("UPDATE process_counts SET records = 1000 * records")
        connection.commit()
    whole = 200_050
    for query in ("", "level>=info", "host:127.0.0.1", "level:(info error) -logger:x host:127.*"):
        found = totals(tmp_path, query)
        assert found.levels == {"INFO": whole}
        assert found.loggers == {"app": whole}
        assert found.hosts == {"127.0.0.1": whole}
        assert found.hours.total() == whole
    # START is 20 seconds after a minute: the rows of 40 seconds, and then whole minutes.
    assert totals(tmp_path, f"created>={START} created<{START + 160}").records == 40 + 120_000
    assert totals(tmp_path, "message").records == 250


def test_what_no_chunk_covers_is_found_by_its_ids_and_not_by_its_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By times, SQLite would read all entries of the span."""
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", 100)
    path = write_day(tmp_path / START_NAME, [make_record(n) for n in range(250)])
    statements: list[str] = []

    def traced(path: Path) -> sqlite3.Connection:
        connection = open_day(path)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr("fastlog.search.totals.open_day", traced)
    assert totals(tmp_path, f"created>={START - 20} created<{START + 3600}").records == 250
    [uncovered] = [text for text in statements if "entries.id > 200" in text]
    with closing(open_day(path)) as connection:
        plan = str(connection.execute(f"EXPLAIN QUERY PLAN {uncovered}").fetchall())
    assert "SEARCH entries USING INTEGER PRIMARY KEY" in plan
