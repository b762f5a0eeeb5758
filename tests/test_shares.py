"""Who is read more slowly: the loop's shares, a sink's gauge, what the receiver makes of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from making import NODE, Clock
from sending import stock_frame
from test_loop import KIB, MIB, Receiver, encode, receiving, was_closed

from fastlog.block import Block, Kind, Run, make_run
from fastlog.config import LimitsConfig
from fastlog.core import FRAME_WEIGHT, Loop
from fastlog.decode import Decoder
from fastlog.journal import Gauge, Reading
from fastlog.receiver import shares
from fastlog.receiver.shares import Shares
from fastlog.worker import pace
from fastlog.worker.pace import Pace

FRAME = encode(bytes(996))
WEIGHT = len(FRAME) + FRAME_WEIGHT


def fill(receiver: Receiver, frames: int, rest: bytes = b"") -> socket.socket:
    """A connection with so many frames waiting in its kernel: there will be no further event."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MIB)
    theirs.setblocking(False)
    for _ in range(frames):
        assert theirs.send(FRAME) == len(FRAME), "the kernel has no room for the test"
    if rest:
        theirs.send(rest)
    receiver.clients.append(theirs)
    receiver.loop.add(ours.detach(), "unix")
    return theirs


def frames_of(receiver: Receiver) -> dict[int, int]:
    """How many frames came over each connection."""
    found: dict[int, int] = {}
    for run in receiver.runs():
        found[run.connection] = found.get(run.connection, 0) + run.frames
    return found


# ---- the loop ------------------------------------------------------------------------------


def test_nobody_is_slowed_unless_told() -> None:
    with receiving() as receiver:
        fill(receiver, 150)
        receiver.until(lambda: receiver.loop.stats().frames == 150)
        assert receiver.loop.stats().slowings == 0


def test_a_limited_connection_is_read_at_its_rate_to_its_end_without_a_busy_loop() -> None:
    with receiving() as receiver:
        receiver.loop.limit(100 * KIB, everyone=True)
        fill(receiver, 150)
        started, turns = time.monotonic(), 0
        while receiver.loop.stats().frames < 150:
            receiver.turn(30)
            turns += 1
            seconds = time.monotonic() - started
            read = receiver.loop.stats().frames * WEIGHT
            assert read <= 100 * KIB * (seconds + 0.125) + 2 * 20 * KIB
        assert turns < 100, "it spins while it waits"
        assert receiver.loop.stats().slowings > 3


def test_who_sends_little_is_read_at_once_beside_one_that_is_slowed() -> None:
    with receiving() as receiver:
        receiver.loop.limit(64 * KIB, everyone=True)
        fill(receiver, 150)
        receiver.until(lambda: receiver.loop.stats().slowed == 1)
        quiet = receiver.pair()
        for number in range(20):
            before = receiver.loop.stats().frames
            quiet.sendall(encode(b"%d" % number))
            sent = b"%d" % number
            receiver.until(lambda sent=sent: receiver.frames()[-1] == sent)  # type: ignore[misc]
            assert receiver.loop.stats().frames < before + 20
        assert receiver.loop.stats().frames < 150
        assert list(receiver.loop.slowed()) == [("unix", receiver.loop.stats().slowings)]
        assert list(receiver.loop.slowed()) == []


def test_an_event_does_not_wake_a_slowed_connection() -> None:
    with receiving() as receiver:
        receiver.loop.limit(1, everyone=True)
        client = fill(receiver, 50)
        receiver.until(lambda: receiver.loop.stats().slowed == 1)
        before = receiver.loop.stats()
        for _ in range(20):
            client.send(FRAME)
            assert receiver.turn(0).more is False
        after = receiver.loop.stats()
        assert (after.frames, after.slowings) == (before.frames, before.slowings)


def test_when_the_limit_goes_all_that_waits_is_read_at_once() -> None:
    with receiving() as receiver:
        receiver.loop.limit(1, everyone=True)
        fill(receiver, 150)
        receiver.until(lambda: receiver.loop.stats().slowed == 1)
        slowings = receiver.loop.stats().slowings
        receiver.loop.limit(0, everyone=True)
        receiver.until(lambda: receiver.loop.stats().frames == 150)
        assert receiver.loop.stats().slowings == slowings


def test_a_drain_reads_the_slowed_too() -> None:
    with receiving() as receiver:
        receiver.loop.limit(1, everyone=True)
        fill(receiver, 150, rest=FRAME[:10])
        receiver.until(lambda: receiver.loop.stats().slowed == 1)
        slowings = receiver.loop.stats().slowings
        receiver.loop.drain()
        receiver.until(lambda: receiver.loop.stats().frames == 150)
        assert receiver.loop.stats().slowings == slowings
        receiver.loop.hang_up()
        assert receiver.loop.stats().refused == {"truncated": 1}


def test_hanging_up_on_a_slowed_connection_leaves_nothing() -> None:
    with receiving() as receiver:
        receiver.loop.limit(1, everyone=True)
        client = fill(receiver, 50)
        receiver.until(lambda: receiver.loop.stats().slowed == 1)
        receiver.loop.hang_up()
        stats = receiver.loop.stats()
        assert (stats.slowed, stats.ready, stats.connections) == (0, 0, 0)
        assert was_closed(client)
        receiver.pair(encode(b"in the same slot"))
        receiver.until(lambda: receiver.frames()[-1] == b"in the same slot")


def test_a_half_frame_is_not_closed_for_a_silence_that_is_ours() -> None:
    with receiving(stall=0.2) as receiver:
        receiver.loop.limit(1, everyone=True)
        client = fill(receiver, 100, rest=FRAME[:100])
        receiver.until(lambda: receiver.loop.stats().slowed == 1)
        assert receiver.loop.stats().partials == 1
        until = time.monotonic() + 3.5  # three sweeps, and once it falls due
        while time.monotonic() < until:
            receiver.turn(0.1)
        assert receiver.loop.stats().frames < 100
        assert receiver.loop.stats().refused == {}
        receiver.loop.limit(0, everyone=True)
        receiver.until(lambda: receiver.loop.stats().frames == 100)
        receiver.until(lambda: receiver.loop.stats().refused == {"truncated": 1})
        assert was_closed(client), "the silence that followed was his own"


def test_a_paused_loop_sleeps_though_somebody_is_slowed() -> None:
    with receiving() as receiver:
        receiver.loop.limit(64 * KIB, everyone=True)
        fill(receiver, 150)
        fill(receiver, 150)
        receiver.until(lambda: receiver.loop.stats().slowed == 2)
        receiver.loop.pause(True)
        frames = receiver.loop.stats().frames
        started = time.monotonic()
        for _ in range(3):
            assert receiver.turn(0.2).more is False
        assert time.monotonic() - started > 0.5
        assert receiver.loop.stats().frames == frames
        receiver.loop.pause(False)
        receiver.loop.limit(MIB, everyone=True)
        receiver.until(lambda: receiver.loop.stats().frames == 300)


def test_a_large_frame_of_a_limited_connection_arrives_whole() -> None:
    with receiving() as receiver:
        receiver.loop.limit(MIB, everyone=True)
        sent = bytes(range(256)) * 800
        client = receiver.pair()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB)
        client.sendall(encode(sent, b"end"))
        receiver.until(lambda: receiver.loop.stats().frames == 2)
        assert receiver.frames() == [sent, b"end"]


def test_a_surcharge_makes_the_bytes_of_one_connection_dearer() -> None:
    with receiving() as receiver:
        receiver.loop.limit(400 * KIB, everyone=True)
        receiver.loop.add(socket.socketpair()[0].detach(), "unix")  # takes the first serial
        fill(receiver, 150)
        receiver.loop.surcharge({2: 9, 77: 5})
        fill(receiver, 150)
        receiver.until(lambda: frames_of(receiver).get(3) == 150)
        assert 0 < frames_of(receiver)[2] < 75
        receiver.loop.surcharge({})
        receiver.until(lambda: frames_of(receiver)[2] == 150)


def test_a_newcomer_may_send_more_only_as_what_he_sent_is_judged() -> None:
    with receiving() as receiver:
        receiver.loop.limit(1, everyone=False)
        fill(receiver, 250)
        receiver.until(lambda: receiver.loop.stats().slowed == 1)
        first = receiver.loop.stats().frames * WEIGHT
        assert 64 * KIB <= first < 64 * KIB + 2 * 128 * KIB
        receiver.loop.judged()
        receiver.turn(0)
        receiver.turn(0)
        assert receiver.loop.stats().frames * WEIGHT == first, "what came since is not judged yet"
        receiver.loop.judged()
        receiver.until(lambda: receiver.loop.stats().frames == 250)


def newcomers(receiver: Receiver, count: int, frames: int = 15) -> None:
    """Connections that send a little and close, all of it before they are read."""
    for _ in range(count):
        fill(receiver, frames).close()


@pytest.mark.parametrize("everyone", [True, False])
def test_who_comes_anew_again_and_again_has_no_more_shares_for_it(everyone: bool) -> None:
    window = 0 if everyone else MIB
    with receiving() as receiver:
        receiver.loop.limit(64 * KIB, everyone=everyone)
        newcomers(receiver, 150)
        started = time.monotonic()
        while time.monotonic() < started + 1:
            receiver.turn(0.05)
        seconds = time.monotonic() - started
        read = receiver.loop.stats().frames * WEIGHT
        assert window < read <= window + 4 * 64 * KIB * (seconds + 0.125) + 40 * KIB
        receiver.loop.limit(0, everyone=False)
        receiver.until(lambda: receiver.loop.stats().frames == 150 * 15)


def test_one_of_whom_something_was_judged_does_not_wait_for_the_newcomers() -> None:
    with receiving() as receiver:
        receiver.loop.limit(64 * KIB, everyone=False)
        quiet = receiver.pair(encode(b"known"))
        receiver.until(lambda: receiver.frames() == [b"known"])
        receiver.loop.judged()
        receiver.loop.judged()
        newcomers(receiver, 150)
        receiver.until(lambda: receiver.loop.stats().slowed > 0)
        receiver.loop.limit(64 * KIB, everyone=True)
        for number in range(5):
            before = receiver.loop.stats().frames
            sent = b"%d" % number
            quiet.sendall(encode(sent))
            receiver.until(lambda sent=sent: sent in receiver.frames())  # type: ignore[misc]
            assert receiver.loop.stats().frames < before + 60


def test_a_slowed_connection_is_handed_over_with_what_it_holds() -> None:
    with receiving() as old, receiving() as new:
        old.loop.limit(1, everyone=True)
        fill(old, 150, rest=FRAME[:10])
        old.until(lambda: old.loop.stats().slowed == 1)
        old.loop.pause(True)
        (handed,) = old.loop.export()
        kept = handed._replace(fd=socket.fromfd(handed.fd, socket.AF_UNIX, 1).detach())
        assert new.loop.take(kept) is None
        rest = 150 - old.loop.stats().frames
        new.until(lambda: new.loop.stats().frames == rest)
        assert new.loop.stats().partials == 1


# ---- the gauge -----------------------------------------------------------------------------


def test_a_gauge_shows_what_was_published_last(tmp_path: Path) -> None:
    with Gauge(tmp_path, "s", NODE, writable=True) as writer, Gauge(tmp_path, "s", NODE) as reader:
        assert reader.read() is None
        writer.publish(10, 20, {3: 4, 5: 6})
        assert reader.read() == reader.read() == Reading(10, 20, {3: 4, 5: 6})
        writer.publish(1 << 60, 1, dict.fromkeys(range(1, 100), 7))
        assert reader.read() == Reading(1 << 60, 1, dict.fromkeys(range(1, 9), 7))
    with Gauge(tmp_path, "s", NODE) as reader:
        assert reader.read() is not None, "a worker that has died leaves it standing"


def test_a_gauge_that_is_not_there_yet_is_an_error_and_one_of_another_journal_shows_nothing(
    tmp_path: Path,
) -> None:
    with pytest.raises(OSError, match="gauge"):
        Gauge(tmp_path, "s", NODE)
    with Gauge(tmp_path, "s", NODE, writable=True) as writer:
        writer.publish(10, 20, {})
    with Gauge(tmp_path, "s", "ff" * 16) as reader:
        assert reader.read() is None


def test_a_gauge_that_is_caught_in_the_middle_of_a_writing_shows_what_it_showed(
    tmp_path: Path,
) -> None:
    with Gauge(tmp_path, "s", NODE, writable=True) as writer, Gauge(tmp_path, "s", NODE) as reader:
        writer.publish(10, 20, {})
        assert reader.read() == Reading(10, 20, {})
        writer._words[0] += 1  # as far as a writer has come that was interrupted here
        assert reader.read() == Reading(10, 20, {})
        writer.publish(30, 20, {})
        assert reader.read() == Reading(30, 20, {})


# ---- the worker's side ---------------------------------------------------------------------


def reading_of(data_dir: Path) -> Reading:
    with Gauge(data_dir, "s", NODE) as gauge:
        reading = gauge.read()
    assert reading is not None
    return reading


def test_a_pace_tells_the_speed_of_batches_that_are_worth_it(tmp_path: Path) -> None:
    own = Pace(tmp_path, "s", NODE, Clock())
    own.batch(1000, 0.01)
    own.show(5)
    assert reading_of(tmp_path) == Reading(5, pace.FIRST_GUESS, {})
    for _ in range(50):
        own.batch(MIB, 1.0)
    own.show(6)
    assert reading_of(tmp_path).speed == pytest.approx(MIB, rel=0.01)
    for _ in range(50):
        own.batch(1000, 1.0)
    own.show(7)
    assert reading_of(tmp_path).speed == pytest.approx(1000, rel=0.01), "little, and slow"
    for _ in range(5):
        own.batch(4 * MIB, 0.04)
    own.show(8)
    assert reading_of(tmp_path).speed > 10 * MIB, "and soon as fast as before"
    fast = reading_of(tmp_path).speed
    for _ in range(50):
        own.batch(0, 5.0)
    own.show(8)
    assert reading_of(tmp_path).speed == fast, "a sink that is down is not a slow one"


def run_of(serial: int, weight: int = 1000) -> Run:
    return Run(Kind.STOCK, serial, "", 1, memoryview(bytes(weight - FRAME_WEIGHT)))


def test_a_pace_tells_who_keeps_the_slow_reader_busy_and_forgets_it(tmp_path: Path) -> None:
    clock = Clock()
    own = Pace(tmp_path, "s", NODE, clock)
    own.spent(run_of(1), 0.001)
    for serial in range(2, 20):
        own.spent(run_of(serial, 1000 * serial), 0.002 * serial)
    own.show(0)
    assert reading_of(tmp_path).costs == dict.fromkeys(range(12, 20), 2000)
    for _ in range(10):
        clock.now += 1.0
        own.show(0)
    assert reading_of(tmp_path).costs == {}
    own.spent(run_of(1), 1.0)
    clock.now += 60.0
    own.spent(run_of(2), 1.0)
    own.show(0)
    assert reading_of(tmp_path).costs == {2: 1_000_000}, "though nothing was shown meanwhile"


def test_a_pace_tells_of_a_long_batch_before_its_end(tmp_path: Path) -> None:
    own = Pace(tmp_path, "s", NODE, Clock())
    own.show(7)
    own.spent(run_of(1), 0.5)
    assert reading_of(tmp_path) == Reading(7, pace.FIRST_GUESS, {1: 500_000})


def test_a_pace_without_a_place_for_its_gauge_shows_nothing_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "positions").write_text("in the way")
    clock = Clock()
    own = Pace(tmp_path, "s", NODE, clock)
    own.spent(run_of(1), 1.0)
    own.batch(MIB, 1.0)
    own.show(7)
    (tmp_path / "positions").unlink()
    own.show(8)
    clock.now += pace.TRY_EVERY
    own.show(9)
    assert reading_of(tmp_path).applied == 9, "it was tried again"
    own.close()


def test_the_decoder_tells_what_odd_frames_took_and_of_whom() -> None:
    spent: list[tuple[Run, float]] = []
    odd = make_run(Kind.STOCK, [stock_frame(odd=1 << 70)[4:]] * 2, connection=3)
    plain = make_run(Kind.STOCK, [stock_frame()[4:]], connection=4)
    payload = memoryview(odd + plain)
    block = Block(0, len(payload), 0, 3, 0, payload)
    decoded = Decoder("c", spent=lambda *each: spent.append(each)).decode(block)
    assert [(run.connection, run.frames) for run, _ in spent] == [(3, 2)]
    assert 0 < spent[0][1] < 5
    assert decoded == Decoder("c").decode(block)


# ---- the receiver's side -------------------------------------------------------------------


class Limits(Loop):
    """A loop that notes what it is told."""

    def __init__(self) -> None:
        super().__init__(lambda block, count: None)
        self.everyone: list[bool] = []
        self.rates: list[int] = []
        self.judgements = 0
        self.charged: Mapping[int, int] = {}

    def limit(self, rate: int, *, everyone: bool) -> None:
        self.everyone.append(everyone)
        self.rates.append(rate)

    def judged(self) -> None:
        self.judgements += 1

    def surcharge(self, times: Mapping[int, int]) -> None:
        self.charged = times


class Desk:
    """`Shares` with a clock, a loop and the gauges of two sinks in the test's hand."""

    def __init__(self, data_dir: Path, lag: float = 1.0) -> None:
        self.loop, self.clock = Limits(), Clock()
        self.gauges = [Gauge(data_dir, name, NODE, writable=True) for name in ("a", "b")]
        limits = LimitsConfig(lag=lag)
        self.shares = Shares(self.loop, limits, data_dir, NODE, ["a", "b"], self.clock)

    def show(self, *applied: int, costs: Mapping[int, int] | None = None) -> None:
        for gauge, offset in zip(self.gauges, applied, strict=False):
            gauge.publish(offset, 1000, costs or {})

    def look(self, end: int, durable: int | None = None, seconds: float = 1.0) -> None:
        self.clock.now += seconds
        self.shares.look(end, end if durable is None else durable)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_everyone_is_limited_while_the_slowest_sink_has_too_much_to_do(desk: Desk) -> None:
    desk.show(0, 0)
    desk.look(500)
    assert not desk.shares.strict
    desk.show(5000, 1000)
    desk.look(5000)
    assert desk.shares.strict
    assert desk.shares.lag == 4.0
    assert desk.shares.timeout() < 1
    desk.show(5000, 4500)
    desk.look(5000)
    assert not desk.shares.strict
    assert [desk.shares.was_strict() for _ in range(2)] == [True, False]
    assert desk.loop.everyone == [False, True, False]


def test_a_rate_that_is_too_much_from_so_many_is_halved_until_it_helps(desk: Desk) -> None:
    for end in (500, 5000, 6000):
        desk.show(0, 0)
        desk.look(end)
    assert desk.loop.rates == [MIB, MIB, MIB // 2]
    desk.show(2000, 2000)
    desk.look(7500)
    assert desk.loop.rates[-1] == MIB // 2, "that helps"
    for _ in range(20):
        desk.show(2100, 2100)
        desk.look(7500)
    assert desk.loop.rates[-1] == shares.LEAST_RATE
    desk.show(7500, 7500)
    for _ in range(20):
        desk.look(7500)
    assert not desk.shares.strict
    assert desk.loop.rates[-3:] == [shares.LEAST_RATE, shares.LEAST_RATE * 2, MIB]


def test_a_sink_that_is_down_costs_nobody_more_than_the_rate(desk: Desk) -> None:
    """It has no lag, and nothing is to be learned from it: who comes anew is judged at once."""
    desk.show(0, 0)
    desk.look(100)
    desk.gauges[1].publish(0, 0, {})
    for end in range(200, 5200, 100):
        desk.gauges[0].publish(end, 1000, {})
        desk.look(end)
    assert (desk.shares.strict, desk.shares.lag) == (True, 0.0)
    assert set(desk.loop.rates) == {MIB}
    assert desk.loop.judgements > 40
    desk.show(5100, 5100)
    desk.look(5100)
    assert not desk.shares.strict


def test_a_sink_that_says_nothing_while_it_has_work_counts_as_down(desk: Desk) -> None:
    desk.show(0, 0)
    desk.look(100)
    for end in range(200, 2000, 10):
        desk.gauges[0].publish(end, 1000, {})
        desk.look(end, seconds=0.1)
    assert (desk.shares.strict, desk.shares.lag) == (True, 0.0)
    assert desk.loop.rates[-1] == MIB


def test_a_sink_that_had_nothing_to_do_for_long_is_not_taken_for_one_that_is_down(
    desk: Desk,
) -> None:
    desk.show(100, 100)
    for _ in range(9):
        desk.look(100)
    desk.look(600, 100)
    desk.look(600, 600, seconds=0.1)
    assert not desk.shares.strict


def test_a_pace_says_when_the_sink_takes_nothing(tmp_path: Path) -> None:
    own = Pace(tmp_path, "s", NODE, Clock())
    own.show(7)
    own.trouble()
    assert reading_of(tmp_path) == Reading(7, 0, {})
    own.show(8)
    assert reading_of(tmp_path).speed > 0


def test_a_disk_that_is_slow_to_sync_is_no_reason_to_starve_a_sink(desk: Desk) -> None:
    desk.show(0, 0)
    desk.look(500, 0)
    for _ in range(30):
        desk.look(1500, 0, seconds=0.03)
    assert not desk.shares.strict, "1.5 s of work, and 0.9 s in which the disk gave none of it"
    desk.look(3000, 0, seconds=0.03)
    assert desk.shares.strict
    desk.show(3000, 3000)
    desk.look(3000, 3000, seconds=0.03)
    desk.look(4500, 3000, seconds=0.03)
    assert not desk.shares.strict, "it is known how long the disk takes"


def test_a_moment_in_which_nothing_came_is_not_taken_for_a_slow_disk(desk: Desk) -> None:
    desk.show(0, 0)
    desk.look(500, 0)
    desk.show(500, 500)
    desk.look(2000, 500)
    desk.look(2000, 500, seconds=0.03)
    assert desk.shares.strict


def test_it_looks_neither_too_often_nor_too_late(desk: Desk) -> None:
    desk.show(0, 0)
    desk.look(100)
    desk.look(110, seconds=0.001)
    assert desk.shares.lag == 0.1
    desk.look(2000, seconds=0.001)  # that is more than a sink does in the time
    assert desk.shares.lag == 2.0


def test_what_was_received_before_is_judged_when_all_sinks_have_it(desk: Desk) -> None:
    desk.show(0, 0)
    desk.look(100)
    assert desk.loop.judgements == 1
    desk.show(100, 50)
    desk.look(200)
    assert desk.loop.judgements == 1
    desk.show(100, 100)
    desk.look(300)
    desk.look(400)
    assert desk.loop.judgements == 2


def test_who_keeps_a_slow_reader_busy_pays_until_that_is_over(desk: Desk) -> None:
    desk.show(0, 0, costs={3: 5000, 4: 5, 5: 1 << 40})
    desk.look(0)
    assert desk.loop.charged == {3: 500, 4: 0, 5: 65_535}
    desk.show(0, 0)
    desk.look(0)
    assert desk.loop.charged == {}


def test_without_gauges_newcomers_are_not_judged_and_nobody_else_is_limited(tmp_path: Path) -> None:
    loop, clock = Limits(), Clock()
    own = Shares(loop, LimitsConfig(), tmp_path, NODE, ["a"], clock)
    own.look(1 << 40, 0)
    assert (own.strict, own.lag, loop.judgements) == (False, 0.0, 0)
    with Gauge(tmp_path, "a", NODE, writable=True) as gauge:
        gauge.publish(0, 1000, {})
        clock.now += shares.FIND_EVERY
        own.look(1 << 40, 0)
        assert own.strict
    own.close()


def test_a_gauge_that_never_comes_holds_no_newcomer_for_long(tmp_path: Path) -> None:
    loop, clock = Limits(), Clock()
    own = Shares(loop, LimitsConfig(), tmp_path, NODE, ["a"], clock)
    clock.now += shares.STANDS + 0.1
    own.look(1 << 20, 0)
    own.look(1 << 22, 0)
    assert (own.strict, loop.judgements) == (False, 2)


def test_where_no_sink_holds_the_journal_nobody_is_held_back(tmp_path: Path) -> None:
    loop = Limits()
    Shares(loop, LimitsConfig(), tmp_path, NODE, [], Clock()).look(1 << 40, 0)
    assert (loop.everyone, loop.judgements) == ([False], 1)


def test_a_lag_of_zero_switches_it_off(tmp_path: Path) -> None:
    desk = Desk(tmp_path, lag=0)
    desk.show(0, 0)
    desk.look(1 << 40)
    assert (desk.loop.everyone, desk.shares.strict) == ([], False)
