"""TLS at a real server: which clients it admits, and that nothing is lost on the way."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastlog_client
import pytest
from certificates import Certificates
from conditions import wait_for
from faults import numbers, stopped
from installed_server import Installed
from interpreters import interpreters
from protocol_client import ServerRejectedError, Speaker, batch, record
from senders import stock_frame
from servers import REJECTED, Server, kill
from tls_places import Place, refused, start


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    yield from start(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    yield from start(tmp_path)


def of_client(server: Server, client: str) -> list[int]:
    return numbers(server.records()).get(client, [])


# ---- admitted ----------------------------------------------------------------------------------


VERSIONS = [each for each in ("2.7", "3.6", "3.13") if each in interpreters()]


@pytest.mark.parametrize("kind", ["stock", "fastlog"])
def test_records_of_old_and_new_interpreters_arrive(shared: Place, kind: str) -> None:
    """The standard handler closes as soon as it has sent: nothing it had sent may be lost."""
    count = 1500
    clients = {f"{kind} {version}": version for version in VERSIONS}
    running = [
        shared.certificates.log(version, kind, shared.port, client, count)
        for client, version in clients.items()
    ]
    for program in running:
        _, errors = program.communicate(timeout=60)
        assert (program.returncode, errors) == (0, "")
    for client in clients:
        wait_for(lambda client=client: len(of_client(shared.server, client)) >= count, client)
        assert of_client(shared.server, client) == list(range(count))


def test_a_client_certificate_lets_in_and_is_recorded(shared: Place) -> None:
    shared.certificates.issue("payments")
    for kind in ("stock", "fastlog"):
        client = f"certified {kind}"
        program = shared.certificates.log(
            "3.13", kind, shared.strict_port, client, 20, "payments.pem"
        )
        _, errors = program.communicate(timeout=60)
        assert (program.returncode, errors) == (0, "")
        wait_for(lambda client=client: len(of_client(shared.server, client)) == 20, client)
        rows = [row for row in shared.server.records() if client in row["extra"]]
        assert {(row["host"], row["certificate"]) for row in rows} == {("127.0.0.1", "payments")}


def test_a_large_frame_arrives_whole_in_any_pieces(shared: Place) -> None:
    frame = stock_frame("x" * 900_000, client="large", number=0)
    with shared.certificates.connect(shared.port) as client:
        client.sendall(frame[:3])
        for at in range(3, len(frame), 70_001):
            client.sendall(frame[at : at + 70_001])
    wait_for(lambda: of_client(shared.server, "large") == [0])


# ---- refused -----------------------------------------------------------------------------------


def attempt(place: Place, certificate: Path | None) -> None:
    """Connect to the listener that demands a certificate, and wait for the server's answer."""
    with place.certificates.connect(place.strict_port, certificate) as client:
        client.sendall(stock_frame(client="refused", number=0))
        client.recv(1)


def test_a_client_without_a_certificate_is_refused(shared: Place) -> None:
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        attempt(shared, None)
    refused(shared, "no client certificate")


def test_an_expired_certificate_is_refused(shared: Place) -> None:
    with pytest.raises(ssl.SSLError, match="EXPIRED"):
        attempt(shared, shared.certificates.issue("expired", expired=True))
    refused(shared, "the client's certificate: certificate has expired")


def test_a_certificate_of_another_authority_is_refused(shared: Place, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLError, match="ALERT"):
        attempt(shared, Certificates(tmp_path).issue("unknown"))
    refused(shared, "the client's certificate: unable to get local issuer certificate")


def test_a_client_that_does_not_trust_the_server_keeps_its_records(
    shared: Place, tmp_path: Path
) -> None:
    reports: list[str] = []
    handler = fastlog_client.SocketHandler(
        "localhost",
        shared.port,
        ssl={"cafile": str(Certificates(tmp_path).ca)},
        close_timeout=0.1,
        on_error=lambda text, _: reports.append(text),
    )
    try:
        handler.emit(logging.makeLogRecord({"msg": "kept", "client": "doubtful"}))
        wait_for(lambda: reports, "a report")
        assert "certificate verify failed" in reports[0]
        assert handler.stats()["pending"] == 1
    finally:
        handler.close()
    refused(shared, "unknown ca")


def test_a_plain_client_on_the_tls_port_is_refused(shared: Place) -> None:
    with socket.create_connection(("127.0.0.1", shared.port), timeout=30) as client:
        client.sendall(stock_frame(client="plain", number=0))
        with pytest.raises((ConnectionResetError, AssertionError)):
            assert client.recv(1), "it is closed"
            raise ConnectionResetError
    refused(shared, "not TLS")
    wait_for(lambda: shared.server.status()["rejected"].get("tls"), "the receiver counts it")
    assert of_client(shared.server, "plain") == []


def test_a_slow_handshake_is_ended_and_delays_nobody(shared: Place) -> None:
    slow = [socket.create_connection(("127.0.0.1", shared.port), timeout=30) for _ in range(20)]
    for client in slow:
        client.sendall(b"\x16\x03\x01")
    with shared.certificates.connect(shared.port) as client:
        client.sendall(stock_frame(client="beside slow ones", number=0))
    wait_for(lambda: of_client(shared.server, "beside slow ones") == [0])
    for client in slow:
        assert client.recv(1) == b""
        client.close()
    refused(shared, "no TLS handshake within 5 s", 10)


def test_hundreds_of_handshakes_do_not_disturb_the_records_of_others(shared: Place) -> None:
    handshakes(shared, 300, "crowd")


@pytest.mark.soak
def test_thousands_of_handshakes(place: Place) -> None:
    handshakes(place, 5000, "crowd")


def handshakes(place: Place, count: int, client: str) -> None:
    """Connect so often, each with a record, while another connection sends all the time."""
    context = place.certificates.context()
    steady, ended = f"{client}, steady", threading.Event()
    sent = 0
    with place.certificates.connect(place.port) as connection:

        def send() -> None:
            nonlocal sent
            while not ended.wait(0.001):
                connection.sendall(stock_frame(client=steady, number=sent))
                sent += 1

        sender = threading.Thread(target=send)
        sender.start()
        for number in range(count):
            plain = socket.create_connection(("127.0.0.1", place.port), timeout=30)
            with context.wrap_socket(plain, server_hostname="localhost") as one:
                one.sendall(stock_frame(client=client, number=number))
        ended.set()
        sender.join()
    wait_for(lambda: len(of_client(place.server, client)) == count)
    assert sorted(of_client(place.server, client)) == list(range(count))
    wait_for(lambda: len(of_client(place.server, steady)) == sent)
    assert of_client(place.server, steady) == list(range(sent))


# ---- whose client id ---------------------------------------------------------------------------


def test_a_certificate_binds_the_client_id(shared: Place) -> None:
    owner, other = (shared.certificates.issue(name) for name in ("owner", "other"))

    def speak(certificate: Path, client: bytes | None = None) -> Speaker:
        connection = shared.certificates.connect(shared.strict_port, certificate)
        return Speaker(connection, client)

    with speak(owner) as first:
        first.greet()
        first.send(batch(1, [record(n, client="owner") for n in range(1, 4)]))
        first.until(3)
    with speak(other, first.client) as thief, pytest.raises(ServerRejectedError) as error:
        thief.greet(1, 9)
    assert (error.value.code, error.value.action) == (3, 2)
    with speak(shared.certificates.issue("owner", file="renewed.pem"), first.client) as again:
        assert again.greet(3, 6).committed == 3


# ---- restarts ----------------------------------------------------------------------------------


def log_steadily(place: Place, stop: threading.Event, counts: dict[str, int]) -> None:
    """Log through both handlers until `stop`; `counts` has what was logged."""
    ours = fastlog_client.SocketHandler(
        "localhost", place.port, ssl={"cafile": str(place.certificates.ca)}, close_timeout=30
    )
    stock = place.certificates.connect(place.port)
    counts |= {"ours": 0, "stock": 0}
    while not stop.wait(0.001):
        for _ in range(5):
            fields = {"msg": "", "client": "ours", "number": counts["ours"]}
            ours.handle(logging.makeLogRecord(fields))
            counts["ours"] += 1
        stock.sendall(stock_frame(client="stock", number=counts["stock"]))
        counts["stock"] += 1
    ours.close()
    stock.close()
    counts["reconnects"] = ours.stats()["reconnects"]


def test_a_reload_with_a_new_certificate_closes_no_connection(place: Place) -> None:
    server, stop, counts = place.server, threading.Event(), {}
    steady = threading.Thread(target=log_steadily, args=(place, stop, counts))
    steady.start()
    wait_for(lambda: server.stored() > 100)
    with place.certificates.connect(place.port) as client:
        before = client.getpeercert(binary_form=True)
    old = server.children()["tls"]
    place.certificates.issue("localhost", file="server.pem")
    server.reload()
    stored = server.stored()
    with place.certificates.connect(place.port) as client:
        assert client.getpeercert(binary_form=True) != before
    wait_for(lambda: server.stored() > stored + 100)
    assert Path(f"/proc/{old}").exists(), "it serves its connections"
    server.reload()
    stop.set()
    steady.join(60)
    server.wait_stored(counts["ours"] + counts["stock"])
    rows = server.records()
    stored = numbers(rows)
    assert {row["certificate"] for row in rows} == {None}
    assert stored == {name: list(range(counts[name])) for name in ("ours", "stock")}
    assert counts["reconnects"] == 0
    wait_for(lambda: not Path(f"/proc/{old}").exists(), "the old TLS process ends")
    assert server.losses() == server.rejected() == []
    assert "Traceback" not in server.messages()
    assert server.stop() == 0


def test_a_reload_with_a_broken_certificate_changes_nothing(place: Place) -> None:
    (place.server.home / "server.pem").write_text("broken")
    place.server.reload(REJECTED)
    assert "it has no PEM block '-----BEGIN CERTIFICATE-----'" in place.server.messages()
    with place.certificates.connect(place.port) as client:
        client.sendall(stock_frame(client="still", number=0))
    place.server.wait_stored(1)


@pytest.mark.parametrize("role", ["tls", "receiver"])
def test_a_killed_process_breaks_connections_and_loses_nothing_of_our_client(
    place: Place, role: str
) -> None:
    server, count = place.server, 500
    running = {
        version: place.certificates.log(version, "fastlog", place.port, version, count, pause=0.002)
        for version in VERSIONS
    }
    with place.certificates.connect(place.port) as idle:
        wait_for(lambda: len(numbers(server.records())) == len(VERSIONS))
        kill(server.children()[role])
        idle.settimeout(30)
        with contextlib.suppress(OSError):  # it is reset
            assert idle.recv(1) == b"", "or the connection is closed"
    for program in running.values():
        program.communicate(timeout=60)
        assert program.returncode == 0
    server.wait_stored(count * len(VERSIONS))
    assert numbers(server.records()) == {version: list(range(count)) for version in VERSIONS}
    wait_for(lambda: "starting it again" in server.messages())


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Place]:
    """A place whose server, when it stops, waits for two seconds without a byte, not for 0.1 s.

    On a loaded machine the TLS process may not run for 0.1 s.
    """

    def make(home: Path, **options: Any) -> Server:
        server = Installed(home, **options)
        server.set("fastlog.receiver.shutdown", QUIET=2.0)
        return server

    yield from start(tmp_path, make=make)


def test_a_stop_stores_what_was_sent(patient: Place) -> None:
    clients = [patient.certificates.connect(patient.port) for _ in range(5)]
    for number, client in enumerate(clients):
        frames = [stock_frame("x" * 200, client=f"{number}", number=n) for n in range(2000)]
        client.sendall(b"".join(frames))
    assert patient.server.stop() == 0
    stored = numbers(patient.server.records())
    assert stored == {f"{number}": list(range(2000)) for number in range(5)}
    for client in clients:
        client.close()


def test_a_receiver_that_does_not_read_makes_the_client_wait(place: Place) -> None:
    frame = stock_frame("x" * 100_000, client="much", number=0)
    rss = memory(place.server.children()["tls"])
    sent = 0
    with place.certificates.connect(place.port) as client:
        client.sendall(frame)
        place.server.wait_stored(1)
        with stopped(place.server.children()["receiver"]):
            client.settimeout(1.0)
            with pytest.raises(TimeoutError):
                for _ in range(1000):
                    client.sendall(frame)
                    sent += len(frame)
            assert memory(place.server.children()["tls"]) < rss + (4 << 20)
    wait_for(lambda: place.server.stored() >= sent // len(frame))


def memory(pid: int) -> int:
    """Return the resident set of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
