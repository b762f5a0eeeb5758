"""The loop: the obligations of edge-triggered epoll, limits, timeouts, and invalid input."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import resource
import signal
import socket
import struct
import subprocess
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from connections import SANITIZED, Watch, many_descriptors
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_receiver import KIB, MIB, Receiver, encode, receiving, was_closed
from networks import in_a_network_of_its_own, ip
from places import ROOT

from fastlog import FRAME_LIMIT
from fastlog.block import frames
from fastlog.core import Loop
from fastlog.errors import LoopError


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Leave this process without file descriptors inside the `with` block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                opened.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        for fd in opened:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- frames --------------------------------------------------------------------------------


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


# ---- edge-triggered epoll ------------------------------------------------------------------


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


def test_without_descriptors_new_connections_are_closed_until_there_are_some() -> None:
    with receiving() as receiver:
        old = receiver.connect(encode(b"old"))
        receiver.until(lambda: receiver.loop.stats().frames == 1)
        waiting = [socket.socket() for _ in range(3)]
        with no_descriptors_left():
            for client in waiting:
                client.connect(receiver.listener.getsockname())
            started = time.monotonic()
            polls = 0
            while receiver.loop.stats().rejected.get("no file descriptor left", 0) < 3:
                receiver.poll(5)
                polls += 1
            # One connection is closed, then the listener is disarmed for 100 ms (of a clock that
            # counts whole ms): no busy loop.
            assert 0.198 <= time.monotonic() - started < 5
            assert polls < 20
            old.sendall(encode(b"unharmed"))
            receiver.until(lambda: receiver.loop.stats().frames == 2)
        assert all(was_closed(client) for client in waiting)
        receiver.connect(encode(b"new"))
        receiver.until(lambda: receiver.loop.stats().frames == 3)
        for client in waiting:
            client.close()


def test_connections_beyond_the_limit_are_closed_and_others_are_unaffected() -> None:
    with receiving(max_connections=3) as receiver:
        first = [receiver.connect() for _ in range(3)]
        receiver.until(lambda: receiver.loop.stats().connections == 3)
        late = [receiver.connect() for _ in range(4)]
        receiver.until(lambda: receiver.loop.stats().rejected == {"too many connections": 4})
        assert all(was_closed(client) for client in late)
        for client in first:
            client.sendall(encode(b"here"))
        receiver.until(lambda: receiver.loop.stats().frames == 3)
        first[0].close()
        receiver.until(lambda: receiver.loop.stats().connections == 2)
        receiver.connect(encode(b"there is room again"))
        receiver.until(lambda: receiver.loop.stats().frames == 4)


def test_connections_that_never_sent_a_byte_make_room_the_oldest_first() -> None:
    with receiving(max_connections=4, handshake=0.3) as receiver:
        complete, begun = receiver.connect(encode(b"here")), receiver.connect(b"\0")
        receiver.until(lambda: receiver.loop.stats().partials == 1)
        older = receiver.connect()
        receiver.until(lambda: receiver.loop.stats().connections == 3)
        younger = receiver.connect()
        receiver.until(lambda: receiver.loop.stats().connections == 4)
        early = receiver.connect(encode(b"too early"))
        receiver.until(lambda: receiver.loop.stats().rejected == {"too many connections": 1})
        assert was_closed(early)
        _wait(receiver, 0.3)
        receiver.connect(encode(b"a new one"))
        receiver.until(lambda: receiver.loop.stats().frames == 2)
        assert receiver.loop.stats().rejected == {
            "too many connections": 1,
            "never sent a byte; closed to make room": 1,
        }
        host, port = older.getsockname()
        assert receiver.loop.rejections()[-1].peer == f"{host}:{port}"
        assert was_closed(older)
        receiver.connect(encode(b"another"))
        receiver.until(lambda: receiver.loop.stats().frames == 3)
        assert was_closed(younger)
        rejected = receiver.connect(encode(b"all have sent now"))
        receiver.until(lambda: receiver.loop.stats().rejected["too many connections"] == 2)
        assert was_closed(rejected)
        complete.sendall(encode(b"still here"))
        begun.sendall(encode(b"and it")[1:])
        receiver.until(lambda: receiver.loop.stats().frames == 5)


def test_a_connection_with_unread_bytes_is_not_closed_to_make_room() -> None:
    with receiving(max_connections=2, handshake=0.1) as receiver:
        sends, ends = receiver.connect(), receiver.connect()
        receiver.until(lambda: receiver.loop.stats().connections == 2)
        _wait(receiver, 0.1)
        receiver.loop.pause(True)  # so that the loop accepts the new one before it reads
        sends.sendall(encode(b"unread"))
        ends.close()
        receiver.connect(encode(b"a new one"))
        receiver.until(lambda: receiver.loop.stats().rejected == {"too many connections": 1})
        receiver.loop.pause(False)
        receiver.until(lambda: receiver.frames() == [b"unread"])
        receiver.until(lambda: receiver.loop.stats().connections == 1)


def test_without_descriptors_a_connection_that_never_sent_a_byte_makes_room() -> None:
    with receiving(handshake=0.1) as receiver:
        silent = receiver.connect()
        receiver.until(lambda: receiver.loop.stats().connections == 1)
        _wait(receiver, 0.1)
        waiting = [socket.socket() for _ in range(2)]
        with no_descriptors_left():
            for client in waiting:
                client.connect(receiver.listener.getsockname())
                client.sendall(encode(b"a new one"))
            receiver.until(lambda: receiver.loop.stats().frames == 1)
            receiver.until(lambda: len(receiver.loop.stats().rejected) == 2)
        assert was_closed(silent)
        assert receiver.loop.stats().rejected == {
            "never sent a byte; closed to make room": 1,
            "no file descriptor left": 1,
        }
        for client in waiting:
            client.close()


def _wait(receiver: Receiver, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        receiver.poll()


OTHERS = ["10.1.0.0/16", "fd00:0:0:1::1/128", "fd00:0:0:1::2/128", "fd00:0:0:2::1/128"]


def test_connections_of_one_host_are_limited_and_other_hosts_are_unaffected() -> None:
    def body() -> None:
        with receiving(max_connections=20, connections_per_host=2) as receiver:
            every = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
            receiver.loop.listen(every.fileno())
            port = every.getsockname()[1]

            def connect(to: str, host: str) -> socket.socket:
                client = socket.create_connection((to, port), 30, source_address=(host, 0))
                receiver.clients.append(client)
                client.sendall(encode(host.encode()))
                return client

            def rejected() -> int:
                return receiver.loop.stats().rejected.get("too many connections from this host", 0)

            many = [connect("10.1.0.1", "10.1.2.3") for _ in range(5)]
            receiver.until(lambda: rejected() == 3)
            assert {r.peer.partition(":")[0] for r in receiver.loop.rejections()} == {"10.1.2.3"}
            assert all(was_closed(client) for client in many[2:])
            for _ in range(2):
                connect("10.1.0.1", "10.1.2.4")
                connect("fd00:0:0:2::1", "fd00:0:0:2::1")
            for _ in range(5):
                connect("127.0.0.1", "127.0.0.1")
                connect("::1", "::1")
            connect("fd00:0:0:1::1", "fd00:0:0:1::1")
            receiver.until(lambda: receiver.loop.stats().frames == 17)
            connect("fd00:0:0:1::1", "fd00:0:0:1::2")
            receiver.until(lambda: receiver.loop.stats().frames == 18)
            assert rejected() == 3
            connect("fd00:0:0:1::1", "fd00:0:0:1::2")  # a third from that network
            receiver.until(lambda: rejected() == 4)
            for client in many:
                client.close()
            receiver.until(lambda: receiver.loop.stats().connections == 16)
            connect("10.1.0.1", "10.1.2.3")
            receiver.until(lambda: receiver.loop.stats().frames == 19)
            every.close()

    in_a_network_of_its_own(body, OTHERS)


def test_a_host_over_its_limit_makes_no_room() -> None:
    def body() -> None:
        with receiving(max_connections=2, connections_per_host=1, handshake=0.0) as receiver:
            every = socket.create_server(("", 0))
            receiver.loop.listen(every.fileno())
            to, own = ("10.1.0.1", every.getsockname()[1]), ("10.1.2.3", 0)
            receiver.connect()
            first = socket.create_connection(to, 30, source_address=own)
            receiver.until(lambda: receiver.loop.stats().connections == 2)
            second = socket.create_connection(to, 30, source_address=own)
            receiver.until(lambda: receiver.loop.stats().rejected)
            assert receiver.loop.stats().rejected == {"too many connections from this host": 1}
            for one in (first, second, every):
                one.close()

    in_a_network_of_its_own(body, OTHERS)


def test_connections_that_are_taken_over_are_counted_and_never_rejected() -> None:
    def body() -> None:
        with receiving(connections_per_host=1) as receiver, receiving() as before:
            for peer in ("10.1.2.3:1", "10.1.2.3:2"):
                ours, theirs = socket.socketpair()
                before.clients.append(theirs)
                before.loop.add(ours.detach(), peer)
            for exported in before.loop.export():
                receiver.loop.take(exported._replace(fd=os.dup(exported.fd)))
            assert receiver.loop.stats().connections == 2
            every = socket.create_server(("", 0))
            receiver.loop.listen(every.fileno())
            for host in ("10.1.2.3", "10.1.2.4"):
                one = socket.create_connection(every.getsockname(), source_address=(host, 0))
                receiver.clients.append(one)
                one.sendall(encode(host.encode()))
            receiver.until(lambda: receiver.frames() == [b"10.1.2.4"])
            receiver.until(lambda: receiver.loop.stats().rejected)
            assert receiver.loop.stats().rejected == {"too many connections from this host": 1}
            every.close()

    in_a_network_of_its_own(body, OTHERS)


def test_the_table_of_hosts_counts_like_an_array(tmp_path: Path) -> None:
    program = tmp_path / "try_hosts"
    compiler = sysconfig.get_config_var("CC").split()[0]
    subprocess.run(
        [compiler, "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1", "-g",
         f"-I{ROOT / 'csrc'}",
         str(ROOT / "csrc/loop/hosts.c"), str(ROOT / "tests/support/try_hosts.c"),
         "-o", str(program)],
        check=True,
    )  # fmt: skip
    out = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (out.returncode, out.stdout) == (0, "ok\n"), out.stderr


def test_nothing_is_allocated_for_an_announced_length() -> None:
    with receiving(max_frame=FRAME_LIMIT) as receiver:
        for _ in range(100):
            receiver.connect(FRAME_LIMIT.to_bytes(4, "big") + bytes(500))
        receiver.until(lambda: receiver.loop.stats().partials == 100)
        assert receiver.loop.stats().partial_bytes <= 100 * KIB


def test_over_the_memory_budget_the_largest_partial_frames_are_closed() -> None:
    with receiving(max_frame=FRAME_LIMIT, partial_memory=MIB) as receiver:
        small = [receiver.connect(encode(bytes(2000))[:1500]) for _ in range(50)]
        receiver.until(lambda: receiver.loop.stats().partials == 50)
        large = [receiver.connect() for _ in range(4)]
        partial = FRAME_LIMIT.to_bytes(4, "big") + bytes(700 * KIB)
        threads = [threading.Thread(target=_send_until_closed, args=[c, partial]) for c in large]
        for thread in threads:
            thread.start()
        reason = "no memory for partial frames"
        receiver.until(lambda: receiver.loop.stats().rejected.get(reason, 0) >= 3)
        assert receiver.loop.stats().partial_bytes <= MIB
        for client in small:
            client.sendall(bytes(504))
        receiver.until(lambda: receiver.loop.stats().frames == 50)
        receiver.loop.close()
        for thread in threads:
            thread.join()


def _send_until_closed(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sendall(data)


def test_a_small_partial_frame_evicts_the_largest() -> None:
    with receiving(max_frame=FRAME_LIMIT, partial_memory=MIB + 8 * KIB) as receiver:
        bystander = receiver.connect(encode(b"unharmed")[:5])
        receiver.until(lambda: receiver.loop.stats().partials == 1)
        large = receiver.connect()
        most = MIB.to_bytes(4, "big") + bytes(MIB - 1)
        thread = threading.Thread(target=_send_until_closed, args=[large, most])
        thread.start()
        receiver.until(lambda: receiver.loop.stats().partial_bytes > MIB)
        small = receiver.connect(encode(bytes(100 * KIB))[: 90 * KIB])
        receiver.until(lambda: receiver.loop.stats().rejected)
        small.sendall(encode(bytes(100 * KIB))[90 * KIB :])
        bystander.sendall(encode(b"unharmed")[5:])
        receiver.until(lambda: receiver.loop.stats().frames == 2)
        assert was_closed(large)
        thread.join()


@contextmanager
def thousands_of_partial_frames() -> Iterator[tuple[Receiver, list[socket.socket], Watch]]:
    """Yield 5,000 connections with partial frames of 6 KiB: 30 MiB of a budget of 32."""
    count = 5000
    with many_descriptors(2 * count), receiving(partial_memory=32 * MIB) as receiver:
        clients = [receiver.pair() for _ in range(count)]
        receiver.until(lambda: not receiver.loop.stats().ready)
        ctypes.CDLL(None).malloc_trim(0)  # free memory of earlier tests would hide the growth
        memory = Watch(os.getpid())
        for client in clients:
            client.sendall(struct.pack(">I", MIB) + bytes(6 * KIB - 4))
        receiver.until(lambda: receiver.loop.stats().partials == count)
        assert receiver.loop.stats().partial_bytes == count * 6 * KIB
        yield receiver, clients, memory


@pytest.mark.skipif(SANITIZED, reason="AddressSanitizer keeps the memory that is freed")
def test_the_memory_of_closed_partial_frames_is_given_back() -> None:
    with thousands_of_partial_frames() as (receiver, clients, memory):
        assert memory.now() > 20 * MIB
        for client in clients[:-10]:  # the memory of the last ten lies above
            client.close()
        receiver.until(lambda: receiver.loop.stats().partials == 10)
        receiver.until(lambda: memory.is_below(4 * MIB))


@pytest.mark.skipif(SANITIZED, reason="AddressSanitizer keeps the memory that is freed")
def test_holes_between_partial_frames_do_not_exceed_the_memory_budget() -> None:
    with thousands_of_partial_frames() as (receiver, clients, memory):
        for first, size in enumerate((24 * KIB, 6 * KIB)):
            for client in clients[first::2]:  # closed ones leave holes that fit no other frame
                with contextlib.suppress(OSError):
                    client.sendall(bytes(size))
            received = -1
            while receiver.loop.stats().bytes > received or receiver.loop.stats().ready:
                received = receiver.loop.stats().bytes
                receiver.poll()
        assert receiver.loop.stats().rejected["no memory for partial frames"] > 3000
        assert receiver.loop.stats().partial_bytes > 28 * MIB
        assert memory.is_below(36 * MIB)


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
    with receiving(stall=0.3, min_rate=1000) as receiver:
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
        try:
            found = socket.socket(fileno=os.dup(int(entry.name)))
            if found.getpeername() == client.getsockname():
                return found
            found.close()
        except OSError:
            continue
    raise AssertionError("this process has no such accepted socket")


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


# ---- invalid input -------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [100, 40 * KIB, FRAME_LIMIT])
def test_the_frame_limit_is_exact_and_closes_only_that_connection(limit: int) -> None:
    with receiving(max_frame=limit) as receiver:
        fine = receiver.connect()
        too_long = receiver.connect(struct.pack(">I", limit + 1) + b"head")
        threads = [
            threading.Thread(target=fine.sendall, args=[encode(bytes(limit - 1), bytes(limit))])
        ]
        threads[0].start()
        receiver.until(lambda: receiver.loop.stats().frames == 2 and receiver.loop.stats().rejected)
        threads[0].join()
        assert [len(frame) for frame in receiver.frames()] == [limit - 1, limit]
        (rejection,) = receiver.loop.rejections()
        label = "frame over the limit" if limit < FRAME_LIMIT else "unknown protocol"
        host, port = too_long.getsockname()
        assert rejection.reason == label
        assert (rejection.peer, rejection.length) == (f"{host}:{port}", limit + 1)
        assert rejection.head == struct.pack(">I", limit + 1) + b"head"
        assert was_closed(too_long)


OTHER_PROTOCOLS = {
    "http": [
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /x HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    "tls": [b"\x16\x03\x01\x02\x00\x01\x00"],
    "syslog": [b"<34>1 2026-11-23T00:00:00Z host app - - - hello\n"],
    "fluentd": [b"\x93\xa3tag\x00\x81\xa1k\xa1v", b"\x94\xa3tag"],
    "lumberjack": [b"2W\x00\x00\x00\x01", b"1W\x00\x00\x00\x01"],
    "unknown protocol": [b"\xff\xfe\xfd\xfc", b"SSH-2.0-OpenSSH", b"G"],
}


@pytest.mark.parametrize(
    ("label", "first"),
    [(label, first) for label, firsts in OTHER_PROTOCOLS.items() for first in firsts],
)
def test_another_protocol_is_recognised_and_closed_without_a_reply(
    label: str, first: bytes
) -> None:
    with receiving() as receiver:
        client = receiver.connect(first)
        client.shutdown(socket.SHUT_WR)
        receiver.until(lambda: receiver.loop.stats().rejected)
        assert receiver.loop.stats().rejected == {label: 1}
        assert was_closed(client)
        assert receiver.blocks == []


def test_a_client_that_sent_a_frame_is_never_counted_as_another_protocol() -> None:
    with receiving() as receiver:
        receiver.connect(encode(b"valid") + b"GET / HTTP/1.1")
        receiver.until(lambda: receiver.loop.stats().rejected)
        assert receiver.loop.stats().rejected == {"frame over the limit": 1}
        assert receiver.frames() == [b"valid"]


def test_rejections_beyond_the_queue_are_counted() -> None:
    with receiving() as receiver:
        for _ in range(300):
            receiver.connect(b"\0\0\0\1").close()
        receiver.until(lambda: receiver.loop.stats().rejected.get("truncated") == 300)
        assert receiver.loop.stats().unreported == 44
        assert len(receiver.loop.rejections()) == 256
        assert receiver.loop.rejections() == []


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


@pytest.mark.parametrize(
    "options",
    [
        {"max_frame": 0},
        {"max_frame": FRAME_LIMIT + 1},
        {"max_connections": 0},
        {"connections_per_host": 0},
        {"arena": 100},
    ],
)
def test_options_out_of_range_are_rejected(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Loop(lambda block, count: None, **options)  # type: ignore[arg-type]
