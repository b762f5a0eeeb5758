"""The loop pauses, drains what was sent, and takes connections over."""

from __future__ import annotations

import socket
import time

import pytest
from connections import no_descriptors_left
from loop_receiver import encode, receiving

from fastlog.errors import LoopError


def test_a_paused_loop_reads_nothing_closes_nothing_and_resumes() -> None:
    with receiving(stall=1.0) as receiver:
        partial = receiver.connect(encode(b"in two halves")[:7])
        receiver.until(lambda: receiver.loop.stats().partials == 1)
        receiver.loop.pause(True)
        receiver.connect(encode(b"later"))
        until, polls = time.monotonic() + 1.5, 0
        while time.monotonic() < until:
            assert receiver.poll(0.5).more is False
            polls += 1
        assert polls < 20, "a busy loop"
        assert (receiver.loop.stats().frames, receiver.loop.stats().connections) == (0, 2)
        receiver.loop.pause(False)
        receiver.until(lambda: receiver.frames() == [b"later"])
        partial.sendall(encode(b"in two halves")[7:])
        receiver.until(lambda: receiver.frames() == [b"later", b"in two halves"])


def test_a_drained_loop_has_read_everything_that_was_sent_even_in_the_backlog() -> None:
    with receiving() as receiver:
        for _ in range(3):
            receiver.connect(encode(b"early"))
        receiver.until(lambda: receiver.loop.stats().frames == 3)
        for _ in range(3):
            receiver.connect(encode(b"in the backlog"))
        receiver.clients[0].sendall(encode(b"and more") + b"\0\0\0\x05ab")
        receiver.loop.drain()
        receiver.until(lambda: receiver.loop.stats().frames == 7)
        assert sorted(receiver.frames()) == sorted(
            [b"early"] * 3 + [b"in the backlog"] * 3 + [b"and more"]
        )
        receiver.loop.close_connections()
        assert receiver.loop.stats().connections == 0
        assert receiver.loop.stats().rejected == {"truncated": 1}
        receiver.connect(encode(b"too late"))
        receiver.poll()
        assert receiver.loop.stats().accepted == 6


def test_a_drain_without_descriptors_is_no_error() -> None:
    with receiving() as receiver:
        second = socket.create_server(("127.0.0.1", 0))
        receiver.loop.listen(second.fileno())
        waiting = [socket.socket() for _ in range(2)]
        with no_descriptors_left():
            waiting[0].connect(receiver.listener.getsockname())
            waiting[1].connect(second.getsockname())
            receiver.loop.drain()
        for one in (second, *waiting):
            one.close()


def test_a_drained_loop_receives_what_the_senders_kernels_delayed() -> None:
    """Nagle's algorithm: a small write waits in the sender while the one before is not acked."""
    with receiving() as receiver:
        clients = [receiver.connect(encode(b"first")) for _ in range(50)]
        receiver.until(lambda: receiver.loop.stats().frames == 50)
        for client in clients:
            for _ in range(3):
                client.sendall(encode(b"small"))
        receiver.loop.drain()
        started = time.monotonic()
        receiver.until(lambda: receiver.loop.stats().frames == 200)
        assert time.monotonic() - started < 5


def test_a_connected_socket_is_added_with_its_partial_frame() -> None:
    with receiving() as receiver:
        receiver.pair(data=b"lo" + encode(b"next"), partial=b"\0\0\0\5hel")
        receiver.until(lambda: receiver.frames() == [b"hello", b"next"])
        ours, theirs = socket.socketpair()
        for bad in (encode(b"complete"), b"\xff\xff\xff\xff"):
            with pytest.raises(LoopError, match="add"):
                receiver.loop.add(ours.fileno(), "unix", bad)
        ours.close()
        theirs.close()
