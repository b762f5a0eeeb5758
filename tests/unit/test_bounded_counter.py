"""The counter with a bounded number of keys, and the event log that uses it."""

from __future__ import annotations

import logging
import re

import pytest
from builders import Clock

from fastlog.bounded_counter import BoundedCounter
from fastlog.eventlog import LAST_INTERVAL, REPEATED_TEXTS, TEXTS_PER_KIND, EventLog


def test_keys_beyond_the_limit_share_the_overflow_key() -> None:
    counter = BoundedCounter(2, overflow="")
    assert [counter.add(key) for key in ("a", "b", "c", "a", "d")] == ["a", "b", "", "a", ""]
    assert list(counter.items()) == [("a", 2), ("b", 1), ("", 2)]
    assert (counter["a"], counter[""], counter["c"]) == (2, 2, 0)


def test_the_overflow_key_takes_no_place_of_another_key() -> None:
    counter = BoundedCounter(1, overflow="")
    counter.add("", 7)
    assert counter.add("a") == "a"
    assert list(counter.items()) == [("a", 1), ("", 7)]


def test_a_cleared_counter_counts_new_keys() -> None:
    counter = BoundedCounter(1, overflow="")
    counter.add("a")
    counter.add("b")
    counter.clear()
    assert list(counter.items()) == []
    assert counter.add("b") == "b"


def test_the_event_log_limits_the_texts_of_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    events = EventLog(logging.getLogger("fastlog.test"))
    for n in range(TEXTS_PER_KIND + 3):
        events.add("rejected", f"rejected host-{n}", 2)
    events.add("dropped", "dropped records: disk full")
    with caplog.at_level(logging.WARNING, logger="fastlog.test"):
        events.flush()
        events.flush()
    expected = [f"rejected host-{n} (2)" for n in range(TEXTS_PER_KIND)]
    expected += ["rejected: 6 other events", "dropped records: disk full (1)"]
    assert [record.message for record in caplog.records] == expected


def test_a_text_that_goes_on_is_logged_ever_less_often_and_nothing_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock(0.0)
    events = EventLog(logging.getLogger("fastlog.test"), monotonic=clock)

    def second(*texts: str) -> list[str]:
        before = len(caplog.records)
        for text in texts:
            events.add("rejected", text)
        events.flush()
        clock.now += 1.0
        return [record.getMessage() for record in caplog.records[before:]]

    lines = [line for _ in range(3600) for line in second("a", "a")]
    spans = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600, 600]
    assert lines == ["a (2)", *(f"a ({2 * span} in {span} s)" for span in spans)]
    assert second("b", "a") == ["b (1)"], "another one is not delayed"
    clock.now += LAST_INTERVAL
    assert second() == ["a (353 in 778 s)"]
    clock.now += 2 * LAST_INTERVAL
    assert second() == []
    assert second("a") == ["a (1)"], "after a pause it is logged at once"
    assert second("a") == ["a (1 in 1 s)"]
    assert second("a") == []
    clock.now -= 0.5
    events.flush()
    assert len(caplog.records) == len(lines) + 4
    events.flush(final=True)
    assert len(caplog.records) == len(lines) + 5, "at the end, what is not due yet"


def test_many_texts_that_go_on_are_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(0.0)
    events = EventLog(logging.getLogger("fastlog.test"), monotonic=clock)
    for _ in range(3600):
        for n in range(2 * REPEATED_TEXTS):
            events.add("rejected", f"rejected host-{n}")
        events.flush()
        clock.now += 1.0
    events.flush(final=True)
    lines = [record.getMessage() for record in caplog.records]
    counts = [int(re.search(r"(?:\(|: )(\d+)", line[8:])[1]) for line in lines]  # type: ignore[index]
    assert sum(counts) == 3600 * 2 * REPEATED_TEXTS
    assert len(lines) < 3600 * (TEXTS_PER_KIND + 2)


def test_a_kind_with_an_interval_is_logged_at_once_and_then_with_a_sum(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock(0.0)
    events = EventLog(logging.getLogger("fastlog.test"), {"dropped": 60.0}, clock)
    for second in range(150):
        clock.now = float(second)
        events.add("dropped", "dropped records", 2)
        if second == 70:
            events.add("rejected", "rejected: http")
        events.flush()
    events.flush(final=True)
    clock.now += 3600
    events.add("dropped", "dropped records", 7)
    events.flush()
    assert [record.getMessage() for record in caplog.records] == [
        "dropped records (2)",
        "dropped records (120 in 60 s)",
        "rejected: http (1)",
        "dropped records (120 in 60 s)",
        "dropped records (58 in 29 s)",
        "dropped records (7)",
    ]
