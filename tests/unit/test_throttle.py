"""Rate limits: the loop, the progress page of a sink, the worker's throughput, the throttle."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from builders import NODE, Clock
from loop_receiver import KIB, MIB, Receiver, encode, receiving, was_closed

from fastlog.block import HEADER, Block
from fastlog.config import LimitsConfig
from fastlog.core import FRAME_WEIGHT, Loop
from fastlog.journal import UNKNOWN, ProgressPage, Reading
from fastlog.receiver import throttle
from fastlog.receiver.throttle import Throttle
from fastlog.worker import throughput
from fastlog.worker.throughput import Throughput

FRAME = encode(bytes(996))
WEIGHT = len(FRAME) + FRAME_WEIGHT


def fill(receiver: Receiver, frames: int, rest: bytes = b"", peer: str = "unix") -> socket.socket:
    """Add a connection with `frames` frames in its kernel buffer: no further event follows."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MIB)
    theirs.setblocking(False)
    for _ in range(frames):
        assert theirs.send(FRAME) == len(FRAME), "the kernel has no room for the test"
    if rest:
        theirs.send(rest)
    receiver.clients.append(theirs)
    receiver.loop.add(ours.detach(), peer)
    return theirs


def frames_of(receiver: Receiver) -> dict[int, int]:
    """Return the number of frames received from each connection."""
    found: dict[int, int] = {}
    for run in receiver.runs():
        found[run.connection] = found.get(run.connection, 0) + run.frames
    return found


# ---- the loop ------------------------------------------------------------------------------


def test_without_a_limit_no_connection_is_throttled() -> None:
    with receiving() as receiver:
        fill(receiver, 150)
        receiver.until(lambda: receiver.loop.stats().frames == 150)
        assert receiver.loop.stats().throttlings == 0


def known(receiver: Receiver) -> socket.socket:
    """Add a connection that was read empty once."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MIB)
    receiver.clients.append(theirs)
    receiver.loop.add(ours.detach(), "unix")
    theirs.sendall(encode(b"known"))
    receiver.until(lambda: b"known" in receiver.frames())
    return theirs


@pytest.mark.parametrize(("is_known", "rate"), [(False, 60), (True, 100)])
def test_a_limited_connection_is_read_at_its_rate_to_its_end_without_a_busy_loop(
    is_known: bool, rate: int
) -> None:
    """A connection that was never read empty has only its host's rate; another also its own."""
    with receiving() as receiver:
        client = known(receiver) if is_known else None
        receiver.loop.limit_rate(40 * KIB, 60 * KIB)
        if client is None:
            fill(receiver, 150)
        else:
            client.sendall(FRAME * 150)
        before = receiver.loop.stats().frames
        started, polls = time.monotonic(), 0
        while receiver.loop.stats().frames < before + 150:
            receiver.poll(30)
            polls += 1
            seconds = time.monotonic() - started
            read = (receiver.loop.stats().frames - before) * WEIGHT
            assert read <= rate * KIB * (seconds + 0.125) + 2 * 12 * KIB
        assert seconds < 30
        assert polls < 200, "the loop is busy while it waits"
        assert receiver.loop.stats().throttlings > 3


def test_a_connection_that_sends_little_is_read_at_once_beside_a_throttled_one() -> None:
    with receiving() as receiver:
        quiet = known(receiver)
        receiver.loop.limit_rate(MIB, 1)
        fill(receiver, 150)
        receiver.until(lambda: receiver.loop.stats().throttled == 1)
        for number in range(20):
            before = receiver.loop.stats().frames
            sent = b"%d" % number
            quiet.sendall(encode(sent))
            receiver.until(lambda sent=sent: receiver.frames()[-1] == sent)  # type: ignore[misc]
            assert receiver.loop.stats().frames < before + 20
        assert receiver.loop.stats().frames < 150
        assert list(receiver.loop.throttled()) == [("unix", receiver.loop.stats().throttlings)]
        assert list(receiver.loop.throttled()) == []


def test_an_event_does_not_resume_a_throttled_connection() -> None:
    with receiving() as receiver:
        receiver.loop.limit_rate(1, 1)
        client = fill(receiver, 50)
        receiver.until(lambda: receiver.loop.stats().throttled == 1)
        before = receiver.loop.stats()
        for _ in range(20):
            client.send(FRAME)
            assert receiver.poll(0).more is False
        after = receiver.loop.stats()
        assert (after.frames, after.throttlings) == (before.frames, before.throttlings)


def test_without_the_limit_throttled_connections_are_read_at_once() -> None:
    with receiving() as receiver:
        receiver.loop.limit_rate(1, 1)
        fill(receiver, 150)
        receiver.until(lambda: receiver.loop.stats().throttled == 1)
        throttlings = receiver.loop.stats().throttlings
        receiver.loop.limit_rate(0, 0)
        receiver.until(lambda: receiver.loop.stats().frames == 150)
        assert receiver.loop.stats().throttlings == throttlings


def test_a_drain_reads_throttled_connections_too() -> None:
    with receiving() as receiver:
        receiver.loop.limit_rate(1, 1)
        fill(receiver, 150, rest=FRAME[:10])
        receiver.until(lambda: receiver.loop.stats().throttled == 1)
        throttlings = receiver.loop.stats().throttlings
        receiver.loop.drain()
        receiver.until(lambda: receiver.loop.stats().frames == 150)
        assert receiver.loop.stats().throttlings == throttlings
        receiver.loop.close_connections()
        assert receiver.loop.stats().rejected == {"truncated": 1}


def test_closing_a_throttled_connection_leaves_nothing() -> None:
    with receiving() as receiver:
        receiver.loop.limit_rate(1, 1)
        client = fill(receiver, 50)
        receiver.until(lambda: receiver.loop.stats().throttled == 1)
        receiver.loop.close_connections()
        stats = receiver.loop.stats()
        assert (stats.throttled, stats.ready, stats.connections) == (0, 0, 0)
        assert was_closed(client)
        receiver.pair(encode(b"in the same slot"))
        receiver.until(lambda: receiver.frames()[-1] == b"in the same slot")


def test_a_partial_frame_does_not_time_out_while_it_is_throttled() -> None:
    with receiving(stall=0.2) as receiver:
        receiver.loop.limit_rate(1, 1)
        client = fill(receiver, 100, rest=FRAME[:100])
        receiver.until(lambda: receiver.loop.stats().throttled == 1)
        assert receiver.loop.stats().partials == 1
        until = time.monotonic() + 3.5  # three sweeps, one of them after the timeout
        while time.monotonic() < until:
            receiver.poll(0.1)
        assert receiver.loop.stats().frames < 100
        assert receiver.loop.stats().rejected == {}
        receiver.loop.limit_rate(0, 0)
        receiver.until(lambda: receiver.loop.stats().frames == 100)
        receiver.until(lambda: receiver.loop.stats().rejected == {"truncated": 1})
        assert was_closed(client), "the timeout counts after the limit is gone"


def test_a_paused_loop_sleeps_although_a_connection_is_throttled() -> None:
    with receiving() as receiver:
        receiver.loop.limit_rate(64 * KIB, 64 * KIB)
        fill(receiver, 150)
        fill(receiver, 150)
        receiver.until(lambda: receiver.loop.stats().throttled == 2)
        receiver.loop.pause(True)
        frames = receiver.loop.stats().frames
        started = time.monotonic()
        for _ in range(3):
            assert receiver.poll(0.2).more is False
        assert time.monotonic() - started > 0.5
        assert receiver.loop.stats().frames == frames
        receiver.loop.pause(False)
        receiver.loop.limit_rate(MIB, MIB)
        receiver.until(lambda: receiver.loop.stats().frames == 300)


def test_a_large_frame_of_a_limited_connection_arrives_whole() -> None:
    with receiving() as receiver:
        receiver.loop.limit_rate(MIB, MIB)
        sent = bytes(range(256)) * 800
        client = receiver.pair()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB)
        client.sendall(encode(sent, b"end"))
        receiver.until(lambda: receiver.loop.stats().frames == 2)
        assert receiver.frames() == [sent, b"end"]


def read_for(receiver: Receiver, seconds: float) -> float:
    """Poll for some seconds, and return the seconds that it took."""
    started = time.monotonic()
    while time.monotonic() < started + seconds:
        receiver.poll(0.05)
    return time.monotonic() - started


def test_new_connections_of_a_host_share_one_rate() -> None:
    with receiving() as receiver:
        receiver.loop.limit_rate(MIB, 256 * KIB)
        for _ in range(150):
            fill(receiver, 15).close()
        seconds = read_for(receiver, 1)
        read = receiver.loop.stats().frames * WEIGHT
        assert 64 * KIB < read <= 256 * KIB * (seconds + 0.125) + 20 * KIB
        assert receiver.loop.stats().throttlings <= 300, "each wait counts once"
        receiver.loop.limit_rate(0, 0)
        receiver.until(lambda: receiver.loop.stats().frames == 150 * 15)


def test_new_connections_one_after_another_share_one_rate() -> None:
    """Each is closed before the next is opened."""
    with receiving() as receiver:
        receiver.loop.limit_rate(MIB, 64 * KIB)
        started = time.monotonic()
        for number in range(1, 31):
            fill(receiver, 7).close()
            receiver.until(lambda number=number: receiver.loop.stats().frames == 7 * number)  # type: ignore[misc]
        most = 64 * KIB * (time.monotonic() - started + 0.125) + 10 * KIB
        assert most >= 30 * 7 * WEIGHT


def test_a_connection_that_is_read_empty_within_its_first_frame_gets_no_rate_of_its_own() -> None:
    begun = FRAME[:500]
    with receiving() as receiver:
        clients = [fill(receiver, 0, begun) for _ in range(10)]
        receiver.until(lambda: receiver.loop.stats().partials == 10)
        receiver.loop.limit_rate(MIB, 64 * KIB)
        for client in clients:
            client.sendall((FRAME * 30)[len(begun) :])
        seconds = read_for(receiver, 1)
        read = receiver.loop.stats().frames * WEIGHT
        assert 32 * KIB < read <= 64 * KIB * (seconds + 0.125) + 20 * KIB


def test_a_new_connection_does_not_wait_for_those_of_another_host() -> None:
    with receiving() as receiver:
        receiver.loop.limit_rate(1, 1)
        for _ in range(5):
            fill(receiver, 150, peer="10.0.0.1:5")
        receiver.until(lambda: receiver.loop.stats().throttled == 5)
        frames = receiver.loop.stats().frames
        for host in range(2, 6):
            fill(receiver, 2, peer=f"10.0.0.{host}:5")
        read_for(receiver, 0.2)
        # Hosts are hashed: one pair in thousands shares a bucket.
        assert receiver.loop.stats().frames >= frames + 3 * 2


def test_connections_of_a_host_use_its_rate_in_rotation() -> None:
    with receiving() as receiver:
        receiver.loop.limit_rate(1, 256 * KIB)
        for _ in range(4):
            fill(receiver, 100)
        receiver.until(lambda: len(frames_of(receiver)) == 4 and sum_of(receiver) > 100)
        assert max(frames_of(receiver).values()) <= 3 * min(frames_of(receiver).values())


def sum_of(receiver: Receiver) -> int:
    return sum(frames_of(receiver).values())


def test_a_poll_ends_after_its_step() -> None:
    with receiving() as receiver:
        receiver.loop.limit_poll(20 * KIB)
        for _ in range(10):
            fill(receiver, 100)
        while receiver.loop.stats().frames < 1000:
            before = receiver.loop.stats().frames
            assert receiver.poll(1).more or receiver.loop.stats().frames == 1000
            read = (receiver.loop.stats().frames - before) * WEIGHT
            assert read <= 2 * 20 * KIB * WEIGHT // len(FRAME)
        assert receiver.loop.stats().throttlings == 0


@pytest.mark.parametrize("is_known", [True, False])
def test_a_throttled_connection_is_handed_over_with_its_partial_frame(is_known: bool) -> None:
    with receiving() as old, receiving() as new:
        client = known(old) if is_known else None
        before = old.loop.stats().frames
        old.loop.limit_rate(1, 1)
        if client is None:
            fill(old, 150, rest=FRAME[:10])
        else:
            client.sendall(FRAME * 150 + FRAME[:10])
        old.until(lambda: old.loop.stats().throttled == 1)
        old.loop.pause(True)
        (handed,) = old.loop.export()
        kept = handed._replace(fd=socket.fromfd(handed.fd, socket.AF_UNIX, 1).detach())
        new.loop.limit_rate(MIB, 1)
        assert new.loop.take(kept) is None
        rest = 150 + before - old.loop.stats().frames
        if not is_known:
            read_for(new, 0.3)
            assert new.loop.stats().frames < rest, "it is new there too"
            new.loop.limit_rate(0, 0)
        new.until(lambda: new.loop.stats().frames == rest)
        assert new.loop.stats().partials == 1


# ---- the progress page ---------------------------------------------------------------------


def test_a_progress_page_shows_the_last_published_reading(tmp_path: Path) -> None:
    with (
        ProgressPage(tmp_path, "s", NODE, writable=True) as writer,
        ProgressPage(tmp_path, "s", NODE) as reader,
    ):
        assert reader.read() is None
        writer.publish(Reading(10, 3, 20))
        assert reader.read() == reader.read() == Reading(10, 3, 20)
        writer.publish(Reading(1 << 60, UNKNOWN, 1))
        assert reader.read() == Reading(1 << 60, UNKNOWN, 1)
    with ProgressPage(tmp_path, "s", NODE) as reader:
        assert reader.read() is not None, "the page of a dead worker stays"


def test_a_missing_progress_page_is_an_error_and_one_of_another_journal_shows_nothing(
    tmp_path: Path,
) -> None:
    with pytest.raises(OSError, match="positions"):
        ProgressPage(tmp_path, "s", NODE)
    with ProgressPage(tmp_path, "s", NODE, writable=True) as writer:
        writer.publish(Reading(10, 3, 20))
    with ProgressPage(tmp_path, "s", "ff" * 16) as reader:
        assert reader.read() is None


def test_a_progress_page_that_is_being_written_shows_the_previous_reading(
    tmp_path: Path,
) -> None:
    with (
        ProgressPage(tmp_path, "s", NODE, writable=True) as writer,
        ProgressPage(tmp_path, "s", NODE) as reader,
    ):
        writer.publish(Reading(10, 3, 20))
        assert reader.read() == Reading(10, 3, 20)
        writer.words[0] += 1  # the state of an interrupted writer
        assert reader.read() == Reading(10, 3, 20)
        writer.publish(Reading(30, 4, 20))
        assert reader.read() == Reading(30, 4, 20)


# ---- the worker's side ---------------------------------------------------------------------


def reading_of(data_dir: Path) -> Reading:
    with ProgressPage(data_dir, "s", NODE) as page:
        reading = page.read()
    assert reading is not None
    return reading


def block_of(weight: int) -> Block:
    """Return a block of a hundred frames with this weight."""
    size = weight - 100 * FRAME_WEIGHT - HEADER.size
    return Block(0, size, 0, 100, 0, memoryview(bytes(size)))


def test_throughput_follows_the_speed_of_large_or_slow_batches(tmp_path: Path) -> None:
    own = Throughput(tmp_path, "s", NODE, Clock())
    own.measure([block_of(100_000)], 0.01)
    own.publish(5, 2)
    assert reading_of(tmp_path) == Reading(5, 2, throughput.FIRST_GUESS)
    own.measure([block_of(MIB // 4)], 0.25)
    own.publish(5, 2)
    assert reading_of(tmp_path).speed < 4 * MIB, "one that takes long shows at once"
    for _ in range(3):
        own.measure([block_of(MIB // 2)] * 2, 1.0)
    own.publish(6, 2)
    assert reading_of(tmp_path).speed == pytest.approx(MIB, rel=0.02)
    for _ in range(50):
        own.measure([block_of(100_000)], 1.0)
    own.publish(7, 2)
    assert reading_of(tmp_path).speed == pytest.approx(100_000, rel=0.02), "little, and slow"
    for _ in range(10):
        own.measure([block_of(4 * MIB)], 0.04)
    own.publish(8, 2)
    assert reading_of(tmp_path).speed > 40 * MIB, "and soon as fast as before"
    fast = reading_of(tmp_path).speed
    for _ in range(50):
        own.measure([], 5.0)
    own.publish(8, None)
    assert reading_of(tmp_path) == Reading(8, UNKNOWN, fast), "one that is down is not slow"


def test_throughput_without_a_progress_page_tries_again_later(tmp_path: Path) -> None:
    (tmp_path / "positions").write_text("in the way")
    clock = Clock()
    own = Throughput(tmp_path, "s", NODE, clock)
    own.measure([block_of(MIB)], 1.0)
    own.publish(7, 1)
    (tmp_path / "positions").unlink()
    own.publish(8, 1)
    clock.now += throughput.RETRY_INTERVAL
    own.publish(9, 1)
    assert reading_of(tmp_path).applied == 9, "it was tried again"
    own.close()


def test_throughput_publishes_that_the_sink_is_down(tmp_path: Path) -> None:
    own = Throughput(tmp_path, "s", NODE, Clock())
    own.publish(7, 3)
    own.publish_failure()
    assert reading_of(tmp_path) == Reading(7, 3, 0)
    own.publish(8, 3)
    assert reading_of(tmp_path).speed > 0


# ---- the receiver's side -------------------------------------------------------------------


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
