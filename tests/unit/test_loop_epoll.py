"""The loop meets the obligations of edge-triggered epoll, and what ends its wait."""

from __future__ import annotations

import signal
import socket
import struct
import threading
import time

import pytest
from loop_receiver import KIB, MIB, encode, receiving


def test_input_over_the_budget_of_a_poll_is_read_without_another_event() -> None:
    ours, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MIB)
    payload = bytes(1000)
    with receiving() as receiver:
        receiver.loop.add(ours.detach(), "unix")
        theirs.setblocking(False)
        sent = 0
        while True:  # as much as the socket takes, then no more: no further edge
            try:
                assert theirs.send(encode(payload)) == 1004
            except BlockingIOError:
                break
            sent += 1
        assert sent * 1004 > 150 * KIB, "more than the budget of a poll"
        started = time.monotonic()
        assert receiver.poll(30).more
        while receiver.loop.stats().frames < sent:
            receiver.poll(30)
        assert time.monotonic() - started < 15, "it waited while there was more to read"
        theirs.close()


def test_an_end_after_data_is_detected_with_the_data() -> None:
    with receiving() as receiver:
        for _ in range(20):
            receiver.connect(encode(b"last")).close()
        receiver.until(lambda: receiver.loop.stats().accepted == 20)
        receiver.until(lambda: receiver.loop.stats().connections == 0)
        assert receiver.frames() == [b"last"] * 20


def test_data_before_a_reset_is_kept() -> None:
    with receiving() as receiver:
        client = receiver.connect()
        receiver.until(lambda: receiver.loop.stats().connections == 1)
        client.sendall(encode(b"a", b"b"))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # RST: the loop sees ERR, HUP and IN in one event
        receiver.until(lambda: receiver.loop.stats().connections == 0)
        assert receiver.frames() == [b"a", b"b"]


def test_a_burst_of_connections_is_accepted_over_several_polls() -> None:
    with receiving() as receiver:
        for _ in range(200):
            receiver.connect(encode(b"x"))
        accepted = []
        while receiver.loop.stats().accepted < 200:
            before = receiver.loop.stats().accepted
            receiver.poll()
            accepted.append(receiver.loop.stats().accepted - before)
        assert max(accepted) <= 64
        receiver.until(lambda: receiver.loop.stats().frames == 200)


def test_the_gil_is_free_while_the_loop_waits() -> None:
    with receiving() as receiver:
        done = threading.Event()
        threading.Thread(target=lambda: (receiver.connect(encode(b"x")), done.set())).start()
        receiver.loop.poll(30)  # ends when the thread, which needs the GIL, has connected
        assert done.wait(30)


@pytest.mark.parametrize("flooded", [False, True])
def test_a_signal_ends_the_wait(flooded: bool) -> None:
    class AlarmError(Exception):
        pass

    def notify(*_: object) -> None:
        raise AlarmError

    with receiving() as receiver:
        stop = threading.Event()
        if flooded:
            client = receiver.connect()
            stream = encode(*[bytes(600)] * 100)
            flood = threading.Thread(target=_flood, args=[client, stream, stop])
            flood.start()
            receiver.until(lambda: receiver.loop.stats().frames > 1000)
        before = signal.signal(signal.SIGALRM, notify)
        started = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            with pytest.raises(AlarmError):
                while True:
                    receiver.loop.poll(30)
        finally:
            signal.signal(signal.SIGALRM, before)
            stop.set()
        assert time.monotonic() - started < 5
        receiver.loop.close()
        if flooded:
            flood.join()


def _flood(client: socket.socket, stream: bytes, stop: threading.Event) -> None:
    try:
        while not stop.is_set():
            client.sendall(stream)
    except OSError:
        pass


def test_a_watched_descriptor_ends_the_wait() -> None:
    with receiving() as receiver:
        ours, theirs = socket.socketpair()
        receiver.loop.watch(ours.fileno())
        assert receiver.poll(0).woken is False
        theirs.send(b"!")
        assert receiver.poll(30).woken is True
        ours.recv(1)
        assert receiver.poll(0).woken is False
        ours.close()
        theirs.close()
