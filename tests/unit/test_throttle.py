"""The throttle of the receiver: the rates that it chooses by the progress of the sinks."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import NODE, Clock
from loop_receiver import MIB

from fastlog.config import LimitsConfig
from fastlog.core import FRAME_WEIGHT, Loop
from fastlog.journal import UNKNOWN, ProgressPage, Reading
from fastlog.receiver import throttle
from fastlog.receiver.throttle import Throttle


class Limits(Loop):
    """A loop that records its limits and steps."""

    def __init__(self) -> None:
        super().__init__(lambda block, count: None)
        self.limits: list[tuple[int, int]] = []
        self.steps: list[int] = []

    def limit_rate(self, own: int, host: int) -> None:
        self.limits.append((own, host))

    def limit_poll(self, weight: int) -> None:
        self.steps.append(weight)


FREE = (0, 0)
RATE = LimitsConfig().rate
SPEED = 10 * MIB


class Harness:
    """A `Throttle` with a clock, a loop and progress pages of two sinks that the test controls."""

    def __init__(self, data_dir: Path, lag: float = 1.0) -> None:
        self.loop, self.clock = Limits(), Clock()
        self.pages = [ProgressPage(data_dir, name, NODE, writable=True) for name in ("a", "b")]
        limits = LimitsConfig(lag=lag)
        self.throttle = Throttle(self.loop, limits, data_dir, NODE, ["a", "b"], self.clock)
        self.end = 0

    def show(self, *applied: int, speed: int = SPEED) -> None:
        for page, offset in zip(self.pages, applied, strict=False):
            page.publish(Reading(offset, 0, speed))

    def update(self, end: int, durable: int | None = None, seconds: float = 0.1) -> None:
        self.clock.now += seconds
        self.throttle.update(end, 0, end if durable is None else durable)

    def prove(self, size: int) -> int:
        """Let both sinks apply this weight, and return the end of the journal."""
        step = throttle.MIN_BOUND
        while self.end < size:
            self.update(self.end + step)
            self.end += step
            self.show(self.end, self.end)
            self.update(self.end)
            self.update(self.end)
            step = min(throttle.GROWTH * step, size)
        return self.end

    @property
    def now(self) -> tuple[int, int]:
        """The limits set last."""
        return self.loop.limits[-1] if self.loop.limits else FREE


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def test_all_clients_are_limited_while_the_lag_of_the_slowest_sink_is_too_great(
    harness: Harness,
) -> None:
    harness.show(0, 0)
    end = harness.prove(20 * MIB)
    assert harness.now == FREE
    harness.update(end + 9 * MIB)
    assert harness.now == FREE, "0.9 s of work"
    harness.throttle.take_cause()
    end += 15 * MIB
    harness.show(end, end - 12 * MIB)
    harness.update(end)
    assert harness.throttle.lag == pytest.approx(1.2)
    assert harness.now == (throttle.MIN_CONNECTION_RATE, SPEED // throttle.HOST_PART)
    assert harness.throttle.timeout() < 1
    harness.show(end, end - 5 * MIB)
    harness.update(end)
    assert harness.now == FREE
    assert harness.throttle.timeout() == float("inf")
    assert harness.throttle.take_cause() == "sink b was 1.2 s behind", "not the lag of now"
    # Clients may have been limited between this call and the update that lifted the limit.
    assert harness.throttle.take_cause() == "sink b was 1.2 s behind"


def test_the_rate_of_a_host_is_a_part_of_the_slowest_sinks_speed(tmp_path: Path) -> None:
    harness = Harness(tmp_path, lag=0.01)
    harness.show(0, 0)
    for speed, host in (
        (1000, throttle.MIN_HOST_RATE),
        (8 * MIB, 8 * MIB // throttle.HOST_PART),
        (1 << 40, RATE),
    ):
        end = harness.prove(harness.end + 4 * MIB)
        harness.show(end, end, speed=speed)
        harness.update(end + MIB)
        assert harness.now == (throttle.MIN_CONNECTION_RATE, host)


def test_the_bound_grows_with_what_was_applied(harness: Harness) -> None:
    """Even after a high speed: the cost of the new records is unknown."""
    harness.show(0, 0)
    harness.update(0)
    assert harness.now == FREE
    window, end = throttle.MIN_BOUND, 0
    harness.update(end + window)
    assert harness.now == FREE
    harness.update(end + window + 1)
    assert harness.now == (throttle.MIN_CONNECTION_RATE, throttle.MIN_HOST_RATE)
    end += window + 1
    harness.show(end, end)
    harness.update(end)
    assert harness.now == FREE
    next_window = throttle.GROWTH * window // 2  # after a round with almost no data
    harness.update(end + next_window)
    assert harness.now == FREE
    harness.update(end + next_window + window)
    assert harness.now == (throttle.MIN_CONNECTION_RATE, throttle.MIN_HOST_RATE)
    end = harness.prove(20 * MIB)
    harness.update(end + 4 * MIB)
    assert harness.now == FREE


def test_the_bound_falls_while_little_is_received(harness: Harness) -> None:
    harness.show(0, 0)
    end = harness.prove(20 * MIB)
    harness.update(end + 4 * MIB)
    assert harness.now == FREE
    harness.show(end + 4 * MIB, end + 4 * MIB)
    end += 4 * MIB
    for _ in range(12):
        harness.update(end := end + 100)
        harness.show(end, end)
    harness.update(end + MIB)
    assert harness.now == (throttle.MIN_CONNECTION_RATE, throttle.MIN_HOST_RATE)
    harness.throttle.take_cause()
    harness.pages[1].publish(Reading(end + MIB // 2, 0, SPEED // 8))  # it needs longer for less
    harness.update(end + MIB)
    assert "than sink a has stored lately" in harness.throttle.take_cause()


def test_frames_count_in_addition_to_their_bytes(harness: Harness) -> None:
    harness.show(0, 0)
    harness.update(0)
    frames = throttle.MIN_BOUND // FRAME_WEIGHT
    harness.clock.now += 1
    harness.throttle.update(1000, frames, 1000)
    assert harness.now == (throttle.MIN_CONNECTION_RATE, throttle.MIN_HOST_RATE)
    for page in harness.pages:
        page.publish(Reading(0, UNKNOWN, SPEED))
    harness.clock.now += 1
    harness.throttle.update(1000, frames, 1000)
    assert harness.now == FREE, "a worker that does not know the number of its frames"


def test_a_sink_without_progress_for_long_counts_as_slow(harness: Harness) -> None:
    harness.show(0, 0)
    end = harness.prove(4 * MIB)
    for _ in range(9):
        harness.update(end + MIB)
    assert harness.now == FREE
    for _ in range(6):
        harness.update(end + MIB)
    assert harness.throttle.lag > 1.0
    assert harness.now[0] == throttle.MIN_CONNECTION_RATE
    harness.show(end + MIB, end + MIB)
    harness.update(end + MIB)
    assert harness.now == FREE


def test_a_sink_that_is_down_limits_clients_to_the_configured_rate(harness: Harness) -> None:
    """It has no lag, however long it is down."""
    harness.show(0, 0)
    harness.update(100)
    harness.pages[1].publish(Reading(0, 0, 0))
    for end in range(200, 5200, 100):
        harness.pages[0].publish(Reading(end, 0, SPEED))
        harness.update(end)
    assert harness.throttle.lag == 0.0
    assert harness.now == (throttle.MIN_CONNECTION_RATE, RATE)
    assert harness.throttle.take_cause() == "no progress of sink b"
    harness.show(5100, 5100)
    harness.update(5100)
    assert harness.now == FREE


def test_a_sink_that_publishes_nothing_while_it_has_work_counts_as_down(harness: Harness) -> None:
    harness.show(0, 0)
    harness.update(100)
    for end in range(200, 600, 10):
        harness.pages[0].publish(Reading(end, 0, SPEED))
        harness.update(end)
    assert harness.throttle.lag == 0.0
    assert harness.now == (throttle.MIN_CONNECTION_RATE, RATE)


def test_a_sink_without_work_for_long_does_not_count_as_down(
    harness: Harness,
) -> None:
    harness.show(100, 100)
    for _ in range(9):
        harness.update(100, seconds=1.0)
    harness.update(600, 100, seconds=1.0)
    harness.update(600, 600)
    assert harness.now == FREE


def test_a_slow_sync_does_not_count_as_lag_of_the_sink(harness: Harness) -> None:
    harness.show(0, 0)
    end = harness.prove(20 * MIB)
    harness.update(end + 5 * MIB, end)
    for _ in range(30):
        harness.update(end + 15 * MIB, end, seconds=0.03)
    assert harness.now == FREE, "1.5 s of work, and 0.9 s in which the disk gave none of it"
    harness.update(end + 30 * MIB, end, seconds=0.03)
    assert harness.now != FREE
    end += 30 * MIB
    harness.show(end, end)
    harness.update(end, seconds=0.03)
    harness.update(end + 15 * MIB, end, seconds=0.03)
    assert harness.now == FREE, "it is known how long the disk takes"


def test_a_pause_of_the_clients_does_not_count_as_a_slow_sync(harness: Harness) -> None:
    harness.show(0, 0)
    end = harness.prove(20 * MIB)
    harness.update(end + 5 * MIB, end)
    end += 5 * MIB
    harness.show(end, end)
    harness.update(end + 15 * MIB, end, seconds=1.0)
    harness.update(end + 15 * MIB, end, seconds=0.03)
    assert harness.now != FREE


def test_updates_are_due_after_a_time_or_a_weight(harness: Harness) -> None:
    harness.show(0, 0)
    harness.update(0)
    harness.update(1000, seconds=0.001)
    assert harness.throttle.lag == 0.0
    harness.update(throttle.UPDATE_WEIGHT[0], seconds=0.001)  # the loop ends its poll there
    assert harness.throttle.lag > 0.0
    assert set(harness.loop.steps) == {throttle.UPDATE_WEIGHT[0]}
    harness.prove(20 * MIB)
    harness.update(harness.end + 1)
    assert max(harness.loop.steps) <= throttle.UPDATE_WEIGHT[1]


def test_a_sink_that_has_not_started_counts_as_down(tmp_path: Path) -> None:
    loop, clock = Limits(), Clock()
    own = Throttle(loop, LimitsConfig(), tmp_path, NODE, ["a"], clock)
    own.update(1 << 40, 0, 0)
    assert (loop.limits, own.lag) == ([(throttle.MIN_CONNECTION_RATE, RATE)], 0.0)
    with ProgressPage(tmp_path, "a", NODE, writable=True) as page:
        page.publish(Reading(1 << 40, 0, 1000))
        clock.now += throttle.OPEN_INTERVAL
        own.update(1 << 40, 0, 0)
        assert loop.limits[-1] == FREE
    own.close()


def test_a_missing_progress_page_limits_clients_only_for_a_while(tmp_path: Path) -> None:
    loop, clock = Limits(), Clock()
    own = Throttle(loop, LimitsConfig(), tmp_path, NODE, ["a"], clock)
    own.update(1 << 20, 0, 0)
    assert loop.limits[-1] != FREE
    clock.now += throttle.STALLED_AFTER + 0.1
    own.update(1 << 22, 0, 0)
    assert loop.limits[-1] == FREE


def test_without_a_sink_that_holds_the_journal_there_are_no_limits(tmp_path: Path) -> None:
    loop = Limits()
    Throttle(loop, LimitsConfig(), tmp_path, NODE, [], Clock()).update(1 << 40, 0, 0)
    assert loop.limits == []


def test_a_lag_of_zero_disables_the_throttle(tmp_path: Path) -> None:
    harness = Harness(tmp_path, lag=0)
    harness.show(0, 0)
    harness.update(1 << 40)
    assert (harness.loop.limits, harness.loop.steps) == ([], [])
