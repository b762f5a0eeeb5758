"""The loop passes whole frames to its callback, in the order of each connection."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_receiver import KIB, encode, receiving

from fastlog import FRAME_LIMIT
from fastlog.block import frames


@settings(max_examples=60, deadline=None)
@given(
    payloads=st.lists(st.binary(max_size=400) | st.just(bytes(70 * KIB)), max_size=20),
    cuts=st.lists(st.integers(0, 100 * KIB), max_size=12),
)
def test_the_callback_gets_whole_frames_for_any_chunks(
    payloads: list[bytes], cuts: list[int]
) -> None:
    stream = encode(*payloads)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    with receiving(max_frame=70 * KIB) as receiver:
        client = receiver.pair()
        client.setblocking(False)
        for a, b in itertools.pairwise(places):
            rest = memoryview(stream)[a:b]
            while rest:
                try:
                    rest = rest[client.send(rest) :]
                except BlockingIOError:
                    receiver.poll(0)
            receiver.poll(0)
        client.close()
        receiver.until(lambda: receiver.loop.stats().connections == 0)
        assert receiver.frames() == payloads
        assert receiver.loop.rejections() == []


@pytest.mark.parametrize("size", [0, 1, 654, 32 * KIB - 4, 32 * KIB, 300 * KIB, FRAME_LIMIT])
def test_frames_of_any_size_arrive_whole_between_small_ones(size: int) -> None:
    sent = [b"before", os.urandom(size), b"after", os.urandom(size), b"end"]
    with receiving(max_frame=FRAME_LIMIT) as receiver:
        client = receiver.connect()
        thread = threading.Thread(target=client.sendall, args=[encode(*sent)])
        thread.start()
        receiver.until(lambda: receiver.loop.stats().frames == 5)
        thread.join()
        assert receiver.frames() == sent
        assert receiver.loop.stats().partial_bytes == 0


def test_a_length_split_over_two_reads_is_joined() -> None:
    with receiving() as receiver:
        client = receiver.connect(encode(b"first") + b"\0\0")
        receiver.until(lambda: receiver.loop.stats().partials == 1)
        client.sendall(b"\0\3abc")
        receiver.until(lambda: len(receiver.frames()) == 2)
        assert receiver.frames() == [b"first", b"abc"]


def test_each_run_names_its_peer_and_keeps_the_order_of_its_connection() -> None:
    with receiving() as receiver:
        clients = [receiver.connect() for _ in range(5)]
        for i in range(50):
            for n, client in enumerate(clients):
                client.sendall(encode(b"%d:%d" % (n, i)))
        receiver.until(lambda: receiver.loop.stats().frames == 250)
        for n, client in enumerate(clients):
            host, port = client.getsockname()
            own = [run for run in receiver.runs() if run.peer == f"{host}:{port}"]
            assert len({run.connection for run in own}) == 1
            sent = [bytes(frame) for run in own for frame in frames(run)]
            assert sent == [b"%d:%d" % (n, i) for i in range(50)]


def test_an_error_in_the_callback_is_raised_after_the_poll() -> None:
    def fail(block: bytes, count: int) -> None:
        raise KeyError("from the callback")

    with receiving() as receiver:
        receiver.loop._on_block = fail  # type: ignore[method-assign]
        receiver.connect(encode(b"x"))
        with pytest.raises(KeyError, match="from the callback"):
            receiver.until(lambda: False)
        assert receiver.poll(0).more is False  # the loop still works


def test_peers_are_named_by_address_family(tmp_path: Path) -> None:
    with receiving() as receiver:
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        v6 = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        for listener in (unix, v6):
            receiver.loop.listen(listener.fileno())
        by_unix = socket.socket(socket.AF_UNIX)
        by_unix.connect(str(tmp_path / "s"))
        by_v6 = socket.create_connection(("::1", v6.getsockname()[1]))
        mapped = socket.create_connection(("127.0.0.1", v6.getsockname()[1]))
        for client in (by_unix, by_v6, mapped):
            client.sendall(encode(b"x"))
        receiver.until(lambda: receiver.loop.stats().frames == 3)
        assert {run.peer for run in receiver.runs()} == {
            "unix",
            f"[::1]:{by_v6.getsockname()[1]}",
            f"127.0.0.1:{mapped.getsockname()[1]}",
        }
        for one in (unix, v6, by_unix, by_v6, mapped):
            one.close()
