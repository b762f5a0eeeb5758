"""The proxy of the drill injects exactly the faults that it is told."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from conditions import wait_for

from fastlog.drill.proxy import Proxy

ACK, WELCOME = 0x20, 0x04


class Echo(threading.Thread):
    """A server that keeps what each connection sent, and how it ended; `answer` is its reply."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__(daemon=True)
        self.received: list[bytearray] = []
        self.ends: list[str] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.received.append(bytearray())
            threading.Thread(
                target=self._serve, args=(connection, self.received[-1]), daemon=True
            ).start()

    def _serve(self, connection: socket.socket, received: bytearray) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    received += data
                    connection.sendall(self._answer)
                self.ends.append("end")
            except ConnectionError:
                self.ends.append("reset")

    def __enter__(self) -> Echo:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def make_answer(kind: int, payload: bytes) -> bytes:
    return struct.pack(">2sBBI", b"\xfaW", kind, 0, len(payload)) + payload


def is_reset(connection: socket.socket) -> bool:
    with pytest.raises(ConnectionError):
        while True:
            connection.sendall(b"x")
            assert connection.recv(1), "the connection ended without a reset"
    return True


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo(make_answer(WELCOME, b"hello")) as echo:
        yield echo


def test_without_faults_the_proxy_forwards_all_bytes_and_the_end_both_ways(echo: Echo) -> None:
    with Proxy(echo.port) as proxy, connect(proxy) as client:
        sent = os.urandom(3_000_000)
        sender = threading.Thread(target=client.sendall, args=(sent,))
        sender.start()
        assert client.recv(13, socket.MSG_WAITALL) == make_answer(WELCOME, b"hello")
        sender.join()
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
        assert bytes(echo.received[0]) == sent
        assert (echo.ends, proxy.cuts) == (["end"], 0)


@pytest.mark.parametrize("after", [1, 2, 7, 99, 100])
def test_a_connection_is_reset_after_the_chosen_number_of_bytes(echo: Echo, after: int) -> None:
    with Proxy(echo.port) as proxy:
        proxy.choose_cut = lambda: after
        with connect(proxy) as client:
            client.sendall(bytes(100))
            assert is_reset(client)
        wait_for(lambda: echo.ends == ["reset"])
        assert len(echo.received[0]) == after
        assert proxy.cuts == 1


def test_cut_resets_all_connections_and_new_ones_are_forwarded(echo: Echo) -> None:
    with Proxy(echo.port) as proxy, connect(proxy) as one, connect(proxy) as other:
        wait_for(lambda: proxy.forwarding == 2)
        proxy.cut()
        assert is_reset(one)
        assert is_reset(other)
        with connect(proxy) as third:
            third.sendall(b"x")
            assert third.recv(1)


def test_a_discarded_connection_stays_dead_and_new_ones_wait(echo: Echo) -> None:
    with Proxy(echo.port) as proxy, connect(proxy) as old:
        old.sendall(b"a")
        assert old.recv(13, socket.MSG_WAITALL)
        proxy.discard()
        wait_for(lambda: not proxy.forwarding)
        with connect(proxy) as new:
            for each in (old, new):
                each.sendall(b"b")
            wait_for(lambda: proxy.discarded == 1)
            proxy.clear_faults()
            assert new.recv(13, socket.MSG_WAITALL) == make_answer(WELCOME, b"hello")
            old.sendall(b"c")
            wait_for(lambda: proxy.discarded == 2)
        assert [bytes(received) for received in echo.received] == [b"a", b"b"]
        old.settimeout(0.05)
        with pytest.raises(TimeoutError):  # neither an end nor a reset
            old.recv(1)


@pytest.mark.parametrize("linger", [b"", struct.pack("ii", 1, 0)], ids=["end", "reset"])
def test_the_end_of_one_side_of_a_dead_connection_is_not_forwarded(
    echo: Echo, linger: bytes
) -> None:
    with Proxy(echo.port) as proxy:
        with connect(proxy) as client:
            client.sendall(b"a")
            assert client.recv(13, socket.MSG_WAITALL)
            proxy.discard()
            wait_for(lambda: not proxy.forwarding)
            proxy.clear_faults()
            if linger:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        with connect(proxy) as client:
            client.sendall(b"a")
            assert client.recv(13, socket.MSG_WAITALL)
        wait_for(lambda: echo.ends)
        assert (echo.ends, proxy.cuts) == (["end"], 0)
    wait_for(lambda: echo.ends == ["end", "end"])


def test_acks_are_dropped_and_other_frames_forwarded() -> None:
    answer = make_answer(WELCOME, b"1") + make_answer(ACK, b"22") + make_answer(0x40, b"333")
    with Echo(answer) as echo, Proxy(echo.port) as proxy, connect(proxy) as client:
        proxy.drops_acks = True
        client.sendall(b"x")
        rest = make_answer(WELCOME, b"1") + make_answer(0x40, b"333")
        assert client.recv(len(rest), socket.MSG_WAITALL) == rest
        assert proxy.dropped_acks == 1
        proxy.clear_faults()
        client.sendall(b"x")
        assert client.recv(len(answer), socket.MSG_WAITALL) == answer


def test_without_a_filter_for_acks_any_bytes_are_forwarded_at_once() -> None:
    answer = b"INFO {}\r\n"  # shorter than the header of a frame
    with (
        Echo(answer) as echo,
        Proxy(echo.port, filters_acks=False) as proxy,
        connect(proxy) as client,
    ):
        client.sendall(b"PING\r\n")
        assert client.recv(len(answer), socket.MSG_WAITALL) == answer
        proxy.cut()
        assert is_reset(client)


def test_a_connection_ends_if_nothing_listens_on_the_target() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Proxy(port) as proxy, connect(proxy) as client:
        assert client.recv(1) == b""


def test_pending_bytes_for_a_side_that_does_not_read_are_limited() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Proxy(silent.getsockname()[1]) as proxy,
        connect(proxy) as client,
    ):
        client.settimeout(1.0)
        with pytest.raises(TimeoutError):
            for _ in range(1000):
                client.sendall(bytes(1_000_000))
        wait_for(lambda: proxy.forwarding)
        proxy.cut()  # and it can still be cut
        wait_for(lambda: not proxy.forwarding)
