"""The loop's delays: after a poll that received little, it reads again only later.

A delay is measured by its least length, which no busy machine shortens. Where a test is about what
does not wait for the end of a delay, it tries until that happened in time: a loop that always waits
never passes.
"""

from __future__ import annotations

import itertools
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from conditions import wait_for
from loop_receiver import KIB, Receiver, encode, receiving
from protocol_client import HELLO, frame

from fastlog.core import Hello, Loop

LONG = 0.9
SHORT, LONGEST = 0.02, 0.32
QUIET = b"quiet"


class Alarm(Exception):  # noqa: N818 - not an error
    pass


@contextmanager
def one_long_delay() -> Iterator[tuple[Receiver, socket.socket, float]]:
    """Yield a loop that has just begun a delay of `LONG`, a client of it, and the time."""
    with receiving(coalesce=LONG) as receiver:
        client = receiver.pair(encode(b"first"))
        began = time.monotonic()
        receiver.until(lambda: receiver.loop.stats().frames == 1)
        yield receiver, client, began


def succeeds_in_time(attempt: Callable[[], bool]) -> None:
    """Call `attempt` until it returns that something happened before the end of a delay."""
    wait_for(attempt, "it happens before the end of a delay")


def time_of_frames(receiver: Receiver, count: int) -> float:
    """Poll until this number of frames has been received; return the time then."""
    wait_for(lambda: receiver.loop.poll(30) and receiver.loop.stats().frames >= count)
    return time.monotonic()


def test_after_little_input_the_next_is_read_only_after_the_delay() -> None:
    with one_long_delay() as (receiver, client, began):
        client.sendall(encode(b"second"))
        assert time_of_frames(receiver, 2) - began >= LONG


def test_what_arrives_in_a_delay_is_one_block() -> None:
    def attempt() -> bool:
        with one_long_delay() as (receiver, client, began):
            for number in range(5):
                client.sendall(encode(b"%d" % number))
            sent_in_time = time.monotonic() < began + LONG
            time_of_frames(receiver, 6)
            return sent_in_time and [count for _, count in receiver.blocks] == [1, 5]

    succeeds_in_time(attempt)


def test_a_timeout_ends_a_poll_but_not_the_delay() -> None:
    def attempt() -> bool:
        with one_long_delay() as (receiver, client, began):
            client.sendall(encode(b"second"))
            receiver.loop.poll(0)
            receiver.loop.poll(0.01)
            in_time = time.monotonic() < began + LONG
            assert receiver.loop.stats().frames == 1 or not in_time
            assert time_of_frames(receiver, 2) - began >= LONG
            return in_time

    succeeds_in_time(attempt)


def test_a_watched_descriptor_ends_a_poll_but_not_the_delay() -> None:
    def attempt() -> bool:
        ours, theirs = socket.socketpair()
        with ours, theirs, one_long_delay() as (receiver, client, began):
            receiver.loop.watch(ours.fileno())
            client.sendall(encode(b"second"))
            theirs.send(b"!")
            assert receiver.loop.poll(30).woken
            in_time = receiver.loop.stats().frames == 1
            ours.recv(1)
            assert time_of_frames(receiver, 2) - began >= LONG
            return in_time

    succeeds_in_time(attempt)


def test_a_signal_ends_a_poll_but_not_the_delay() -> None:
    def alarm(*_: object) -> None:
        raise Alarm

    def attempt() -> bool:
        with one_long_delay() as (receiver, client, began):
            client.sendall(encode(b"second"))
            before = signal.signal(signal.SIGALRM, alarm)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            try:
                with pytest.raises(Alarm):
                    while True:
                        receiver.loop.poll(30)
            finally:
                signal.signal(signal.SIGALRM, before)
            in_time = receiver.loop.stats().frames == 1
            assert time_of_frames(receiver, 2) - began >= LONG
            return in_time

    succeeds_in_time(attempt)


def longest_interval(receiver: Receiver, clients: list[socket.socket], polls: int) -> float:
    """Return the longest time between two polls, each of which finds a frame of each client."""
    times = [time.monotonic()]
    for _ in range(polls):
        expected = receiver.frames().count(QUIET) + len(clients)
        for client in clients:
            client.sendall(encode(QUIET))
        while receiver.frames().count(QUIET) < expected:
            receiver.loop.poll(30)
        times.append(time.monotonic())
    return max(after - before for before, after in itertools.pairwise(times))


def test_the_delay_grows_while_several_frames_arrive_in_one() -> None:
    with receiving(coalesce=SHORT, coalesce_max=LONGEST) as receiver:
        clients = [receiver.pair(), receiver.pair()]
        assert longest_interval(receiver, clients, 7) >= LONGEST


def test_the_delay_shrinks_while_one_frame_arrives_in_each() -> None:
    def attempt() -> bool:
        with receiving(coalesce=SHORT, coalesce_max=LONGEST) as receiver:
            clients = [receiver.pair(), receiver.pair()]
            longest_interval(receiver, clients, 7)
            longest_interval(receiver, clients[:1], 7)
            return longest_interval(receiver, clients[:1], 2) < LONGEST / 2

    succeeds_in_time(attempt)


def reads_at_once(receiver: Receiver, client: socket.socket) -> bool:
    """Return whether the next frame of a client is read before a delay can have ended."""
    began, frames = time.monotonic(), receiver.loop.stats().frames
    client.sendall(encode(b"next"))
    return time_of_frames(receiver, frames + 1) - began < LONG / 2


@pytest.mark.parametrize("frames", [[bytes(60 * KIB)], [b""] * 80], ids=["bytes", "frames"])
def test_there_is_no_delay_after_much_input_of_one_connection(frames: list[bytes]) -> None:
    def attempt() -> bool:
        with one_long_delay() as (receiver, client, _):
            client.sendall(encode(*frames))
            time_of_frames(receiver, 1 + len(frames))
            return reads_at_once(receiver, client)

    succeeds_in_time(attempt)


def test_there_is_no_delay_after_much_input_of_many_connections() -> None:
    def attempt() -> bool:
        with receiving(coalesce=LONG) as receiver:
            clients = [receiver.pair(encode(bytes(30 * KIB))) for _ in range(20)]
            time_of_frames(receiver, len(clients))
            return reads_at_once(receiver, clients[0])

    succeeds_in_time(attempt)


def test_more_connections_than_events_of_a_poll_are_read_without_a_delay() -> None:
    def attempt() -> bool:
        with one_long_delay() as (receiver, _, _):
            clients = [receiver.pair(encode(b"frame")) for _ in range(300)]
            began = time_of_frames(receiver, 2)
            assert receiver.loop.stats().frames < 1 + len(clients)
            return time_of_frames(receiver, 1 + len(clients)) - began < LONG / 2

    succeeds_in_time(attempt)


def test_a_new_connection_is_read_without_a_delay_after_the_poll_that_accepted_it() -> None:
    def attempt() -> bool:
        with one_long_delay() as (receiver, client, _):
            receiver.connect(encode(b"new"))
            client.sendall(encode(b"second"))
            wait_for(lambda: receiver.loop.poll(30) and receiver.loop.stats().accepted)
            began = time.monotonic()
            return time_of_frames(receiver, 3) - began < LONG / 2

    succeeds_in_time(attempt)


def test_after_a_frame_of_a_handshake_delays_are_short() -> None:
    """A client in its handshake does not wait for the delays that other clients cause."""

    def attempt() -> bool:
        with receiving(coalesce=SHORT, coalesce_max=LONG) as receiver:
            stock = [receiver.pair(), receiver.pair()]
            longest_interval(receiver, stock, 9)
            client = receiver.pair(frame(HELLO, b"payload"))
            hellos: list[Hello] = []

            def poll() -> bool:
                receiver.loop.poll(30)
                hellos.extend(e for e in receiver.loop.events() if isinstance(e, Hello))
                return bool(hellos)

            wait_for(poll)
            assert client is not None
            return longest_interval(receiver, stock, 2) < LONG / 4

    succeeds_in_time(attempt)


def test_while_a_connection_is_throttled_delays_are_short() -> None:
    def attempt() -> bool:
        with receiving(coalesce=SHORT, coalesce_max=LONG) as receiver:
            quiet = [receiver.pair(), receiver.pair()]
            longest_interval(receiver, quiet, 9)
            receiver.loop.limit_rate(256 * KIB, 4 * KIB)
            receiver.pair(encode(*[bytes(1000)] * 100))
            receiver.until(lambda: receiver.loop.stats().throttled)
            interval = longest_interval(receiver, quiet, 2)
            return bool(receiver.loop.stats().throttled) and interval < LONG / 4

    succeeds_in_time(attempt)


def test_while_a_loop_is_drained_delays_are_short() -> None:
    def attempt() -> bool:
        with receiving(coalesce=SHORT, coalesce_max=LONG) as receiver:
            clients = [receiver.pair(), receiver.pair()]
            longest_interval(receiver, clients, 9)
            receiver.loop.drain()
            return longest_interval(receiver, clients, 3) < LONG / 4

    succeeds_in_time(attempt)


def test_a_paused_loop_waits_for_its_timeout_only() -> None:
    def attempt() -> bool:
        with one_long_delay() as (receiver, client, began):
            receiver.loop.pause(True)
            client.sendall(encode(b"second"))
            receiver.loop.poll(0)
            receiver.loop.pause(False)
            time_of_frames(receiver, 2)
            return time.monotonic() < began + LONG

    succeeds_in_time(attempt)


def test_without_coalescing_there_are_no_delays() -> None:
    def attempt() -> bool:
        with receiving(coalesce=0.0, coalesce_max=LONG) as receiver:
            client = receiver.pair()
            return all(reads_at_once(receiver, client) for _ in range(5))

    succeeds_in_time(attempt)


@pytest.mark.parametrize("options", [{"coalesce": 1.0}, {"coalesce_max": 1.0}])
def test_a_delay_of_a_second_is_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Loop(lambda block, count: None, **options)  # type: ignore[arg-type]
