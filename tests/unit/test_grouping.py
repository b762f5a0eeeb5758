"""Counts by any fields and in bars: they equal a count of every record, and end when they must."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from day_files import START, START_NAME, make_record, write_day, write_old_day
from hypothesis import given, settings
from hypothesis import strategies as st
from queries import matches, parsed
from query_terms import QUESTIONS, Question, compact_json, fields_of_records

from fastlog.record import Record
from fastlog.search import OTHERS, Grouping, Progress, count, search
from fastlog.search.grouping import begin_of_bar
from fastlog.sinks import day_chunks

BERLIN, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")

FIELDS = {
    "level": lambda r: r.levelname or (None if r.levelno is None else str(r.levelno)),
    "logger": lambda r: r.name,
    "host": lambda r: r.host,
    "lineno": lambda r: r.lineno,
    "message": lambda r: r.message,
    "extra.user": lambda r: user(r),
}  # fmt: skip
GROUPINGS = st.builds(
    Grouping,
    st.lists(st.sampled_from([*FIELDS]), max_size=2, unique=True).map(tuple),
    st.sampled_from([None, None, 60, 300, 3600, 86_400]),
    st.sampled_from([BERLIN, KOLKATA]),
)


def user(record: Record) -> str | None:
    extra = json.loads(record.extra)
    if "user" not in extra:
        return None
    value = extra["user"]
    return value if isinstance(value, str) else compact_json(value)


def plain_bar(created: float, interval: int, zone: ZoneInfo | None) -> int:
    """Return the start of a bar; those of an hour or less are counted by the clock of the zone."""
    local = datetime.fromtimestamp(int(created), zone)
    if interval == 86_400:
        return int(local.replace(hour=0, minute=0, second=0).timestamp())
    seconds = local.hour * 3600 + local.minute * 60 + local.second
    return int(created) - seconds % interval


def plain_count(records: list[Record], grouping: Grouping) -> Counter[tuple[Any, ...]]:
    counts: Counter[tuple[Any, ...]] = Counter()
    for record in records:
        group: tuple[Any, ...] = tuple(FIELDS[name](record) for name in grouping.fields)
        if grouping.interval is not None:
            group = (*group, plain_bar(record.created, grouping.interval, grouping.zone))
        counts[group] += 1
    return counts


@settings(deadline=None, max_examples=100)
@given(
    st.lists(fields_of_records(), max_size=30),
    QUESTIONS,
    st.lists(GROUPINGS, min_size=1, max_size=2),
    st.booleans(),
    st.sampled_from(["unix", None]),
)
def test_counts_by_any_fields_equal_a_count_of_every_record(
    fields: list[dict[str, Any]],
    question: Question,
    groupings: list[Grouping],
    is_old: bool,
    host: str | None,
):
    made = [make_record(0, **each) for each in fields]
    if host is not None:
        made = [record._replace(host=host) for record in made]
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(day_chunks, "CHUNK_ENTRIES", 7)
        (write_old_day if is_old else write_day)(Path(name) / START_NAME, made)
        found = count(Path(name), parsed(question.text), groupings)
    wanted = [record for record in made if question.is_wanted(record)]
    assert found == [plain_count(wanted, grouping) for grouping in groupings]


@pytest.mark.parametrize(
    ("fields", "query"),
    [(("logger", "host"), ""), (("logger",), "host:a"), (("host",), "logger:x")],
)
def test_loggers_of_several_hosts_are_counted_by_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: tuple[str, ...], query: str
):
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", 7)
    made = [make_record(n, name="xy"[n % 2], host="abc"[n % 3]) for n in range(60)]
    write_day(tmp_path / START_NAME, made)
    grouping = Grouping(fields)
    wanted = [record for record in made if matches(query, record)]
    assert count(tmp_path, parsed(query), [grouping]) == [plain_count(wanted, grouping)]


def test_bars_follow_the_clock_of_the_zone_over_a_change():
    begin = int(datetime(2026, 10, 25, tzinfo=BERLIN).timestamp())  # a day of 25 hours
    hours = [begin_of_bar(begin + 1800 * n, 3600, BERLIN) for n in range(50)]
    assert hours == [begin + 3600 * (n // 2) for n in range(50)]
    assert {begin_of_bar(begin + 1800 * n, 86_400, BERLIN) for n in range(50)} == {begin}
    assert begin_of_bar(begin + 25 * 3600, 86_400, BERLIN) == begin + 25 * 3600
    assert begin_of_bar(2**62, 3600, BERLIN) is None


def test_groups_that_senders_invent_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fastlog.search.totals.MAX_GROUPS", 3)
    names = ["often"] * 5 + [f"{n}" for n in range(8)]
    write_day(tmp_path / START_NAME, [make_record(n, name=name) for n, name in enumerate(names)])
    [groups] = count(tmp_path, parsed(""), [Grouping(("logger",))])
    assert (len(groups), groups[("often",)], groups[(OTHERS,)]) == (4, 5, 6)


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(day_chunks, "CHUNK_ENTRIES", 100)
    write_day(tmp_path / START_NAME, [make_record(n) for n in range(1050)])
    return tmp_path


@pytest.mark.parametrize("query", ["", "message", "-nothing", "level:info"])
def test_a_search_tells_how_much_of_the_files_it_has_read(logs: Path, query: str):
    progress = Progress()
    found = search(logs, parsed(query), progress=progress)
    next(found)
    assert 0 <= progress.read < progress.total == 1050
    assert len(list(found)) == 1049
    assert progress.read == 1050


@pytest.mark.parametrize("query", ["", "message", "-nothing"])
def test_a_search_that_must_stop_ends_without_an_error(logs: Path, query: str):
    progress = Progress()
    found = search(logs, parsed(query), progress=progress)
    some = [next(found) for _ in range(5)]
    progress.interrupt()
    assert len(some + list(found)) < 1050
    assert progress.stopped == "interrupt"
    late = Progress(deadline=time.monotonic())
    assert list(search(logs, parsed(query), progress=late)) == []
    assert late.stopped == "deadline"


def test_sqlite_itself_stops_when_it_must(logs: Path, monkeypatch: pytest.MonkeyPatch):
    """The deadline passes while SQLite runs, as it does in a count of all rows."""
    monkeypatch.setattr("fastlog.search.progress._STEPS", 10)
    progress = Progress()
    calls = iter(range(10_000))
    monkeypatch.setattr(
        progress, "must_stop", lambda: next(calls) > 3 and (progress.interrupt() or True)
    )
    [groups] = count(logs, parsed(""), [Grouping(("lineno",))], progress=progress)
    assert groups.total() < 1050
    assert progress.stopped == "interrupt"


def test_a_day_outside_the_calendar_has_no_bar(tmp_path: Path):
    write_day(tmp_path / START_NAME, [make_record(0, created=1e17), make_record(1)])
    [groups] = count(tmp_path, parsed(""), [Grouping(interval=3600)])
    assert groups[(None,)] == 1
    assert groups.total() == 2


def test_intervals_are_shown_from_midnight():
    begin = begin_of_bar(int(START), 6 * 3600, KOLKATA)
    assert begin is not None
    local = datetime.fromtimestamp(begin, KOLKATA)
    assert (local.hour % 6, local.minute) == (0, 0)
    assert timedelta(0) <= datetime.fromtimestamp(START, KOLKATA) - local < timedelta(hours=6)
