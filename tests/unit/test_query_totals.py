"""Totals of the stored records by level, logger, host and hour."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from day_files import START, make_record, write_day
from searches import messages, totals

from fastlog.search import OTHERS


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
    found = totals(tmp_path)
    assert found.records == 3
    assert found.levels == {"INFO": 2, "ERROR": 1}
    assert found.loggers == {"app": 2, "?": 1}
    assert found.hosts == {"127.0.0.1": 2, "h": 1}
    assert found.hours == {int(hour): 2, int(hour) + 3600: 1}
    assert totals(tmp_path, "level>=40").records == 1


def test_names_that_senders_invent_get_a_bounded_number_of_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("fastlog.search.totals.MAX_GROUPS", 3)
    for day in ("2026-11-22", "2026-11-23"):
        names = ["often", "often", *(f"{day} {n}" for n in range(8))]
        records = [make_record(n, name=name, host=name) for n, name in enumerate(names)]
        write_day(tmp_path / f"{day}.db", records)
    found = totals(tmp_path)
    for counts in (found.loggers, found.hosts):
        assert (len(counts), counts["often"], counts[OTHERS]) == (4, 4, 14)
        assert counts.total() == found.records == 20


def test_a_search_of_one_minute_does_not_read_the_whole_day(tmp_path: Path):
    write_day(tmp_path / "2026-11-23.db", [make_record(i) for i in range(50_000)], per_block=100)
    started = time.process_time()
    whole = len(messages(tmp_path))
    middle = time.process_time()
    part = len(messages(tmp_path, f"created>={START + 100} created<{START + 160}"))
    ended = time.process_time()
    assert (whole, part) == (50_000, 60)
    assert (ended - middle) * 3 < middle - started  # it takes about a hundredth of the time
