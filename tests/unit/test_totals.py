"""Totals: the counts of a day file and its rows together equal a count of every record."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from day_files import START, START_NAME, make_record, write_day, write_old_day
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlog.query import Condition, Filters
from fastlog.record import Record
from fastlog.search import Totals
from fastlog.search import count_totals as count
from fastlog.sinks import day_chunks

MIDNIGHT = START - START % 86_400
FAR = (0.0, 59.5, MIDNIGHT - 86_400.25, MIDNIGHT - 86_400, MIDNIGHT + 172_800, 1e12)
"""Times that no minute of the file is counted for, and the last one that is."""

times = st.one_of(
    st.sampled_from(FAR),
    # A few minutes, and both sides of the edge of an hour.
    st.integers(0, 4 * 60 * 20).map(lambda twentieths: MIDNIGHT + 3480 + twentieths / 20),
)
records = st.builds(
    lambda created, level, name, host, message: make_record(
        0, created=created, levelno=level, levelname=name and name.upper(), name=name, host=host,
        message=message,
    ),
    times,
    st.sampled_from([10, 20, 40, None]),
    st.sampled_from(["app", "app.db", "other", None]),
    st.sampled_from(["127.0.0.1", "127.0.0.1", "unix"]),
    st.sampled_from(["x", "y"]),
)  # fmt: skip
filters = st.builds(
    Filters,
    since=st.none() | times,
    until=st.none() | times,
    level=st.none() | st.just(20),
    logger=st.just(()) | st.just(("app",)),
    host=st.just(()) | st.just(("unix",)),
    grep=st.just(()) | st.just(("X",)),
    regex=st.just(()) | st.just(("x",)),
    where=st.sampled_from(
        [(), (Condition("name", "!=", "other"),), (Condition("message", "=", "x"),)]
    ),
)  # fmt: skip


def matches(record: Record, filters: Filters) -> bool:
    return (
        (filters.since is None or record.created >= filters.since)
        and (filters.until is None or record.created < filters.until)
        and (filters.level is None or (record.levelno or 0) >= filters.level)
        and (not filters.logger or record.name in ("app", "app.db"))
        and (not filters.host or record.host == "unix")
        and (not (filters.regex or filters.grep) or record.message == "x")
        and all(
            record.message == "x" if each.field == "message" else record.name != "other"
            for each in filters.where
        )
    )


def plain_count(records: Iterable[Record]) -> Totals:
    totals = Totals(Counter(), Counter(), Counter(), Counter())
    for record in records:
        totals.levels[record.levelname or str(record.levelno or "?")] += 1
        totals.loggers[record.name or "?"] += 1
        totals.hosts[record.host] += 1
        totals.hours[int(record.created // 3600 * 3600)] += 1
    return totals


def write_by_two_nodes(path: Path, records: list[Record]) -> None:
    for at in range(0, len(records), 5):
        write_day(path, records[at : at + 5], node=f"node {at % 2}")


def write_version_1(path: Path, records: list[Record]) -> None:
    write_old_day(path, records, version=1)


@pytest.mark.parametrize("write", [write_day, write_by_two_nodes, write_old_day, write_version_1])
@settings(deadline=None, max_examples=50)
@given(st.lists(records, max_size=40), filters)
def test_totals_equal_a_count_of_every_record(
    write: Callable[[Path, list[Record]], object], records: list[Record], filters: Filters
) -> None:
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(day_chunks, "CHUNK_ENTRIES", 7)
        write(Path(name) / START_NAME, records)
        totals = count(Path(name), filters)
    assert totals == plain_count(record for record in records if matches(record, filters))


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
    for filters in (Filters(), Filters(level=20), Filters(host=("127.0.0.1",))):
        totals = count(tmp_path, filters)
        assert totals.levels == {"INFO": whole}
        assert totals.loggers == {"app": whole}
        assert totals.hosts == {"127.0.0.1": whole}
        assert totals.hours.total() == whole
    # START is 20 seconds after a minute: the rows of 40 seconds, and then whole minutes.
    assert count(tmp_path, Filters(since=START, until=START + 160)).records == 40 + 120_000
    assert count(tmp_path, Filters(grep=("message",))).records == 250
