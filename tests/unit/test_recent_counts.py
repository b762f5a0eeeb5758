"""The counts of the last minutes: what is in them, and for how long."""

from __future__ import annotations

import msgspec
from builders import Clock

from fastlog.receiver.recent_counts import SECONDS, SLOT, RecentCounts, Slot


def test_the_counts_hold_what_the_counters_rose_by_in_the_last_minutes() -> None:
    clock = Clock(1_000_000.0)
    recent = RecentCounts(clock)
    recent.update(10, 1)
    clock.now += SECONDS / 2
    recent.update(15, 1)
    assert (recent.dropped, recent.rejected) == (15, 1)
    clock.now += SECONDS / 2
    recent.update(15, 3)
    assert (recent.dropped, recent.rejected) == (5, 2), "the first is too long ago"
    clock.now += SECONDS
    recent.update(15, 3)
    assert (recent.dropped, recent.rejected) == (0, 0)


def test_the_counts_have_a_bounded_size() -> None:
    clock = Clock(0.0)
    recent = RecentCounts(clock)
    for second in range(10_000):
        clock.now += 1
        recent.update(second, second)
    assert len(recent.slots()) <= SECONDS / SLOT
    assert SECONDS - SLOT <= recent.dropped <= SECONDS


def test_another_process_continues_the_counts() -> None:
    clock = Clock(500.0)
    first, second = RecentCounts(clock), RecentCounts(clock)
    first.update(7, 2)
    slots = msgspec.json.decode(msgspec.json.encode(first.slots()), type=list[Slot])
    second.restore(slots, 7, 2)
    clock.now += SLOT
    second.update(9, 2)
    assert (second.dropped, second.rejected) == (9, 2)
    assert first.dropped == 7, "the one that gave them is not changed"
