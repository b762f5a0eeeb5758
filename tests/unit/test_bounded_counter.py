"""The counter with a bounded number of keys, and the event log that uses it."""

from __future__ import annotations

import logging

import pytest

from fastlog.bounded_counter import BoundedCounter
from fastlog.eventlog import TEXTS_PER_KIND, EventLog


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
