"""Totals of the stored records by level, logger, host and hour."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from day_files import START, make_record, write_day
from searches import messages

from fastlog.query import Filters
from fastlog.search import count_totals as count


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
    write_day(tmp_path / "2026-11-23.db", [make_record(i) for i in range(50_000)], per_block=100)
    started = time.perf_counter()
    whole = len(messages(tmp_path))
    middle = time.perf_counter()
    part = len(messages(tmp_path, Filters(since=START + 100, until=START + 160)))
    ended = time.perf_counter()
    assert (whole, part) == (50_000, 60)
    assert (ended - middle) * 3 < middle - started  # it takes about a hundredth of the time
