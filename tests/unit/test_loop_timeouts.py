"""The loop closes connections that stall or whose peer has vanished."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from pathlib import Path

import pytest
from loop_receiver import KIB, encode, receiving, was_closed
from networks import in_a_network_of_its_own, ip


def test_a_partial_frame_without_further_bytes_is_closed() -> None:
    with receiving(stall=0.2, min_rate=0) as receiver:
        client = receiver.connect(encode(bytes(100))[:50])
        idle = receiver.connect(encode(b"whole"))
        receiver.until(lambda: receiver.loop.stats().rejected == {"truncated": 1})
        assert was_closed(client)
        (rejection,) = receiver.loop.rejections()
        assert (rejection.length, rejection.head) == (100, encode(bytes(100))[:50])
        idle.sendall(encode(b"still open"))
        receiver.until(lambda: receiver.loop.stats().frames == 2)


@pytest.mark.parametrize("size", [20 * KIB, 900 * KIB], ids=["small frame", "large frame"])
def test_a_frame_below_the_least_rate_is_closed_and_others_do_not_wait(size: int) -> None:
    """One byte at a time: never without bytes, but below 1 KiB/s after the stall time."""
    with receiving(stall=0.3) as receiver:
        slow = receiver.connect(encode(bytes(size))[: size // 2])
        other = receiver.connect()

        def drip() -> bool:
            try:
                slow.send(b"\0")
                other.send(encode(b"tick"))
            except OSError:
                pass
            return bool(receiver.loop.stats().rejected)

        receiver.until(drip)
        assert receiver.loop.stats().rejected == {"truncated": 1}
        assert receiver.loop.stats().frames > 10
        assert was_closed(slow)


def test_the_stall_clock_applies_to_a_length_that_arrives_byte_by_byte() -> None:
    with receiving(stall=0.4) as receiver:
        quick, slow = receiver.connect(), receiver.connect(b"\0")
        for byte in encode(b"x" * 256):
            quick.send(bytes([byte]))
            receiver.poll(0)
        receiver.until(lambda: receiver.frames() == [b"x" * 256])
        rest = iter(b"\0\1\0" + bytes(256))
        due = [time.monotonic()]

        def drip() -> bool:
            if time.monotonic() >= due[0] and not receiver.loop.stats().rejected:
                due[0] = time.monotonic() + 0.2  # never without a byte for 0.4 s
                slow.send(bytes([next(rest)]))
            return bool(receiver.loop.stats().rejected)

        receiver.until(drip)
        assert receiver.loop.stats().rejected == {"truncated": 1}
        assert was_closed(slow)


def test_a_slow_frame_above_the_least_rate_is_received() -> None:
    with receiving(stall=1.0, min_rate=1000) as receiver:
        client = receiver.connect(struct.pack(">I", 30_000))
        started = time.monotonic()
        for _ in range(60):
            client.sendall(bytes(500))
            until = time.monotonic() + 0.04
            while time.monotonic() < until:
                receiver.poll(0.02)
        assert time.monotonic() - started > 2, "long enough for two checks after the stall time"
        receiver.until(lambda: receiver.loop.stats().frames == 1)


def test_accepted_sockets_have_keepalive() -> None:
    with receiving() as receiver:
        client = receiver.connect()
        receiver.until(lambda: receiver.loop.stats().connections == 1)
        assert _server_side(client).getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def _probes(connection: socket.socket) -> list[int]:
    names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    return [connection.getsockopt(socket.IPPROTO_TCP, name) for name in names]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(120.0, [120, 15, 4]), (1.0, [1, 1, 4]), (32767.0, [32767, 4096, 4])]
)
def test_a_silent_peer_is_probed_as_configured(seconds: float, expected: list[int]) -> None:
    with receiving(tcp_keepalive=seconds) as receiver:
        client = receiver.connect()
        receiver.until(lambda: receiver.loop.stats().connections == 1)
        assert _probes(_server_side(client)) == expected


def test_a_silent_peer_is_probed_by_the_settings_of_the_kernel_if_configured() -> None:
    with receiving(tcp_keepalive=0) as receiver, socket.create_server(("127.0.0.1", 0)) as plain:
        client = receiver.connect()
        receiver.until(lambda: receiver.loop.stats().connections == 1)
        assert _probes(_server_side(client)) == _probes(plain)


@pytest.mark.parametrize("option", [32768.0, 1e6])
def test_a_keepalive_that_the_kernel_does_not_accept_is_rejected(option: float) -> None:
    with pytest.raises(ValueError, match="out of range"), receiving(tcp_keepalive=option):
        pass


def test_a_connection_that_is_taken_over_gets_the_keepalive_of_its_new_loop() -> None:
    with receiving() as first, receiving(tcp_keepalive=7.0) as second:
        client = first.connect()
        first.until(lambda: first.loop.stats().connections == 1)
        (exported,) = first.loop.export()
        second.loop.take(exported._replace(fd=os.dup(exported.fd)))
        assert _probes(_server_side(client)) == [7, 1, 4]


def test_a_connection_to_an_unreachable_host_is_closed() -> None:
    """Its address is removed while the connection is open, and nothing answers any more."""

    def body() -> None:
        with receiving(tcp_keepalive=1.0) as receiver:
            client = receiver.connect()
            receiver.until(lambda: receiver.loop.stats().connections == 1)
            ip("link set lo down")
            receiver.until(lambda: receiver.loop.stats().connections == 0)
            client.close()

    in_a_network_of_its_own(body, ["10.9.0.1/32"])


def _server_side(client: socket.socket) -> socket.socket:
    for entry in Path("/proc/self/fd").iterdir():
        if not entry.is_socket():
            continue
        found = socket.socket(fileno=os.dup(int(entry.name)))
        with contextlib.suppress(OSError):  # it is not connected
            if found.getpeername() == client.getsockname():
                return found
        found.close()
    raise AssertionError("this process has no such accepted socket")
