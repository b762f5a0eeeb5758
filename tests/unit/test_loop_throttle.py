"""The loop reads connections at a limited rate, and shares the rate of a host among them."""

from __future__ import annotations

import socket
import time

import pytest
from loop_receiver import KIB, MIB, Receiver, encode, receiving, was_closed

from fastlog.core import FRAME_WEIGHT

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
        receiver.loop.limit_rate(64 * MIB, 1)  # 20 records in a millisecond are little
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
        # Hosts are hashed: one pair in thousands shares a bucket.
        receiver.until(lambda: receiver.loop.stats().frames >= frames + 3 * 2)


@pytest.mark.parametrize("work", [0.0, 0.01])
def test_connections_of_a_host_use_its_rate_in_rotation(work: float) -> None:
    """Also if its caller works so long between polls that the rate is there again."""
    with receiving() as receiver:
        for _ in range(4):
            fill(receiver, 1500)
        receiver.loop.limit_rate(1, 2 * MIB)
        while receiver.loop.stats().frames < 400:  # what had accumulated may go to one of them
            receiver.poll(1)
        before = frames_of(receiver)
        while receiver.loop.stats().frames < 1500:
            until = time.monotonic() + work
            receiver.poll(1)
            while time.monotonic() < until:
                pass
        read = [frames - before.get(conn, 0) for conn, frames in frames_of(receiver).items()]
        assert len(read) == 4
        assert max(read) <= 1.5 * min(read)


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
