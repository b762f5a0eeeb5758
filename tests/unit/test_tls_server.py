"""The event loop of the TLS process, in a thread: its bounds, and that it always ends."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from certificates import Certificates
from conditions import wait_for

from fastlog.config import ListenConfig
from fastlog.tls import channel, listeners, server
from fastlog.tls.channel import Accepted, Rejected
from fastlog.tls.listeners import network_of, peer_name
from fastlog.tls.server import Server


class Running:
    """A TLS server in a thread, with the receiver's end of its channel."""

    def __init__(self, home: Path, connections: int = 100, client_ca: bool = False) -> None:
        self.certificates = Certificates(home)
        certificate = self.certificates.issue("localhost", file="server.pem")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        to, from_ = channel.make()
        self._channel = channel.Receiver(from_)
        config = ListenConfig(
            "tls://127.0.0.1:0",
            certificate=str(certificate),
            client_ca=str(self.certificates.ca) if client_ca else "",
        )
        made = listeners.make([(self._listener.detach(), config)])
        self.server = Server(made, channel.Sender(to), connections, 0.0)
        self._stopping = False
        self._thread = threading.Thread(target=self.server.run, args=(lambda: self._stopping,))
        self.messages: list[Accepted | Rejected] = []
        self.ends: list[socket.socket] = []

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join(30)
        assert not self._thread.is_alive()

    def take(self) -> list[Accepted | Rejected]:
        """Take what the channel has, as a receiver does; return all messages so far."""
        for message, fd in self._channel.receive(1000):
            self.messages.append(message)
            if fd >= 0:
                end = socket.socket(fileno=fd)
                end.settimeout(30)
                self.ends.append(end)
        return self.messages

    def rejected(self) -> list[str]:
        return [each.reason for each in self.take() if isinstance(each, Rejected)]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path) as running:
        yield running


def received(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (chunk := end.recv(1 << 20)):
        data += chunk
    return data


def test_bytes_pass_both_ways_and_the_end_comes_behind_them(running: Running) -> None:
    sent, answer = bytes(range(256)) * 8000, b"answer" * 30_000
    with running.certificates.connect(running.port) as client:
        wait_for(lambda: len(running.take()) == 1)
        [end] = running.ends
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        assert received(end, len(sent)) == sent
        writer.join()
        writer = threading.Thread(target=end.sendall, args=(answer,))
        writer.start()
        assert received(client, len(answer)) == answer
        writer.join()
        end.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        client.sendall(b"the last word")
        client.unwrap()
    assert received(end, 100) == b"the last word"
    assert end.recv(1) == b""


def test_the_end_waits_for_a_receiver_that_is_slow(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the peer is read together with bytes for which the pair has no room."""

    def small_pair() -> tuple[socket.socket, socket.socket]:
        ours, theirs = make_pair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return ours, theirs

    make_pair = socket.socketpair
    monkeypatch.setattr(server.socket, "socketpair", small_pair)
    sent = bytes(range(256)) * 1200
    with running.certificates.connect(running.port) as client:
        wait_for(lambda: len(running.take()) == 1)
        has_sent = threading.Event()

        def send() -> None:
            client.sendall(sent)
            has_sent.set()
            with contextlib.suppress(OSError):
                client.unwrap()

        sender = threading.Thread(target=send)
        sender.start()
        assert has_sent.wait(30)
        [end] = running.ends
        assert received(end, len(sent) + 1) == sent
        end.close()
        sender.join(30)


def test_a_connection_waits_for_the_next_receiver(running: Running) -> None:
    clients = [running.certificates.connect(running.port) for _ in range(5)]
    for client in clients:
        client.sendall(b"early")
        client.close()
    wait_for(lambda: len(running.take()) == 5)
    assert [received(end, 5) for end in running.ends] == [b"early"] * 5


def test_a_receiver_that_ends_ends_its_connections(running: Running) -> None:
    with running.certificates.connect(running.port) as client:
        wait_for(lambda: len(running.take()) == 1)
        running.ends[0].close()
        client.settimeout(30)
        with contextlib.suppress(OSError):
            while client.recv(1) != b"":
                pass


def test_the_host_with_most_handshakes_gives_one_for_a_new_one(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HANDSHAKES", 3)
    silent = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(5)]
    wait_for(lambda: len(running.rejected()) == 2)
    assert set(running.rejected()) == {"too many TLS handshakes at a time"}
    with running.certificates.connect(running.port):
        wait_for(lambda: any(isinstance(each, Accepted) for each in running.take()))
    for client in silent:
        client.close()


def test_connections_beyond_the_limit_are_closed(tmp_path: Path) -> None:
    with Running(tmp_path, connections=2) as running:
        kept = [running.certificates.connect(running.port) for _ in range(2)]
        with closing(socket.create_connection(("127.0.0.1", running.port), 30)) as third:
            assert third.recv(1) == b""
        wait_for(lambda: running.rejected() == ["too many connections"])
        for client in kept:
            client.close()


def test_a_probe_that_sends_nothing_and_closes_is_no_rejection(running: Running) -> None:
    socket.create_connection(("127.0.0.1", running.port)).close()
    with running.certificates.connect(running.port):
        wait_for(lambda: running.take())
    assert running.rejected() == []


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (("10.0.0.7", 5), "10.0.0.7:5"),
        (("::1", 5, 0, 0), "[::1]:5"),
        (("::ffff:10.0.0.7", 5, 0, 0), "10.0.0.7:5"),
        (("fe80::1%eth0", 5, 0, 2), "[fe80::1]:5"),
    ],
)
def test_the_name_of_a_peer(address: tuple[object, ...], name: str) -> None:
    assert peer_name(address) == name


# ---- handshakes that fail ----------------------------------------------------------------------

NO_HANDSHAKE = b"\x16\x03\x01\x00\x04\x02\x00\x00\x00"
"""A record of TLS with a message that no client begins with."""


def failed_client(running: Running) -> socket.socket:
    """Connect, let the handshake fail, and read why; the connection stays open."""
    client = socket.create_connection(("127.0.0.1", running.port), 30)
    client.sendall(NO_HANDSHAKE)
    assert client.recv(1) == b"\x15", "an alert"
    return client


def test_what_comes_after_a_failed_handshake_is_not_kept(running: Running) -> None:
    with failed_client(running) as client:
        [connection] = wait_for(lambda: list(running.server._failed))
        client.settimeout(30)
        for _ in range(64):
            client.sendall(bytes(1 << 16))
        assert connection._incoming.pending < 1 << 16
    wait_for(lambda: not running.server._failed)


def test_failed_handshakes_are_bounded_and_take_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ALERTS", 3)
    with Running(tmp_path, connections=2) as running:
        failed = [failed_client(running) for _ in range(6)]
        wait_for(lambda: len(running.server._failed) == 3)
        with running.certificates.connect(running.port):
            wait_for(lambda: any(isinstance(each, Accepted) for each in running.take()))
        for client in failed:
            client.close()


def test_a_certificate_that_cannot_be_read_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its authority has signed an alternative name that is no UTF-8: Python cannot read that."""
    with Running(tmp_path, client_ca=True) as running:
        value = b"\x30\x06\x82\x04a\xff\xfeb"
        odd = running.certificates.issue_with("odd", "2.5.29.17", value)
        with (
            contextlib.suppress(OSError),
            running.certificates.connect(running.port, odd) as client,
        ):
            client.recv(1)
        wait_for(running.rejected)
        assert running.rejected() == ["the client's certificate cannot be read"]
        good = running.certificates.issue("good")
        with running.certificates.connect(running.port, good):
            wait_for(lambda: any(isinstance(each, Accepted) for each in running.take()))


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_the_network_of_a_host(host: str, network: str) -> None:
    assert network_of(host) == network
