"""An exchange ends within its time, whatever the peer does, and soon when the server stops."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import parse_headers
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from builders import numbered
from otlp_receivers import Receiver, Reply
from otlp_sinks import failure_of, open_sink, uids_of

from fastlog.errors import ConfigError, SinkUnavailableError
from fastlog.sinks.otlp import exchange
from fastlog.sinks.otlp.exchange import MAX_ANSWER, Exchanges
from fastlog.sinks.otlp.settings import parse_url

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def peer(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a peer that serves one connection after the other; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield f"otlp+http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def exchanges(url: str, stopping: Callable[[], bool] = lambda: False) -> Exchanges:
    return Exchanges(parse_url(urlsplit(url)), time.monotonic, stopping)


def failure(url: str, body: bytes = b"x", stopping: Callable[[], bool] = lambda: False) -> str:
    """Return why there was no answer, without the URL."""
    with pytest.raises(SinkUnavailableError) as caught:
        exchanges(url, stopping).post(body, {})
    return str(caught.value).partition(urlsplit(url).netloc)[2].removeprefix(": ")


def receive(connection: socket.socket) -> None:
    """Receive a request. A connection that is closed with unread bytes is reset."""
    with connection.makefile("rb") as file:
        file.readline()
        file.read(int(parse_headers(file).get("Content-Length", 0)))


def drip(connection: socket.socket) -> None:
    receive(connection)
    for n in range(10_000):
        connection.sendall(b"HTTP/1.1 200 OK\r\n" if not n else b"X-%d: y\r\n" % n)
        threading.Event().wait(0.05)


def silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@pytest.mark.parametrize(
    ("serve", "expected"),
    [
        (silent, "no answer within 0.3 s"),
        (drip, "no answer within 0.3 s"),
        (lambda c: None, "it closed the connection before its answer was complete"),
        (lambda c: c.sendall(b"SSH-2.0-OpenSSH\r\n"), "it does not speak HTTP: BadStatusLine"),
        (
            lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n"),
            "it does not speak HTTP: HTTPException got more than 100 headers",
        ),
        (
            lambda c: c.sendall(OK.replace(b"Length: 0", b"Length: 9")),
            "it closed the connection before its answer was complete",
        ),
    ],
)
def test_a_peer_that_gives_no_answer(serve: Callable[[socket.socket], None], expected: str) -> None:
    def read_and_serve(connection: socket.socket) -> None:
        if not is_late:
            receive(connection)
        serve(connection)

    is_late = serve in (silent, drip)
    with peer(read_and_serve) as url:
        began = time.monotonic()
        timeout = "300ms" if is_late else "20s"
        assert failure(f"{url}?timeout={timeout}").startswith(expected)
        assert time.monotonic() - began < 10


def test_a_peer_that_does_not_read_a_large_request() -> None:
    with peer(lambda connection: threading.Event().wait(2)) as url:
        assert failure(f"{url}?timeout=300ms", b"x" * (32 << 20)) == "no answer within 0.3 s"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert failure(f"otlp+http://127.0.0.1:{port}") == "Connection refused"


def test_a_host_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert failure("otlp+http://collector:4318") == "collector: Name or service not known"


def test_a_host_that_cannot_be_one() -> None:
    assert failure(f"otlp+http://{'a' * 70}.b:4318").startswith(f"{'a' * 70}.b: ")


def test_a_resolver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [threading.Event().wait(1)][:0])
    assert failure("otlp+http://collector:4318?timeout=100ms") == "no answer within 0.1 s"


def test_the_next_address_of_a_host_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Receiver() as receiver, socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()
        listener.close()
        kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
        addresses = [(*kind, free), (*kind, ("127.0.0.1", receiver.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        assert exchanges("otlp+http://collector:4318").post(b"", {}).status == 200


def test_a_stop_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "STOP_SECONDS", 0.2)
    stopping = threading.Event()
    with peer(silent) as url:
        threading.Timer(0.2, stopping.set).start()
        began = time.monotonic()
        assert (
            failure(f"{url}?timeout=20s", stopping=stopping.is_set)
            == "no answer before the server stops"
        )
        assert time.monotonic() - began < 10


def test_an_answer_before_the_request_is_read_is_an_answer() -> None:
    def serve(connection: socket.socket) -> None:
        receive(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        silent(connection)

    def serve_and_stall(connection: socket.socket) -> None:
        receive(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        threading.Event().wait(1)

    for each in (serve, serve_and_stall):
        with peer(each) as url:
            answer = exchanges(f"{url}?timeout=10s").post(b"x" * (32 << 20), {})
            assert (answer.status, answer.body) == (413, b"no")


def test_a_long_answer_is_read_in_part() -> None:
    def serve(connection: socket.socket) -> None:
        receive(connection)
        connection.sendall(b"HTTP/1.1 500 No\r\n\r\n" + b"x" * (1 << 20))

    with peer(serve) as url:
        answer = exchanges(url).post(b"", {})
        assert (answer.status, len(answer.body)) == (500, MAX_ANSWER)


def test_a_connection_is_kept_and_made_again_when_the_peer_has_closed_it() -> None:
    connections: list[int] = []

    def serve(connection: socket.socket) -> None:
        connections.append(0)
        while connections[-1] < 2:
            receive(connection)
            connections[-1] += 1
            connection.sendall(OK)

    with peer(serve) as url:
        kept = exchanges(url)
        for _ in range(4):
            assert kept.post(b"", {}).status == 200
            # The peer may close after its answer: wait until that has arrived.
            if connections[-1] == 2:
                assert kept._connection is not None
                while not kept._connection.is_closed_by_peer():
                    threading.Event().wait(0.001)
        assert connections == [2, 2]
        kept.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a certificate of its own for `localhost`."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    directory = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        " -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
    )
    subprocess.run(command.split(), cwd=directory, check=True, capture_output=True)
    file = directory / "both.pem"
    file.write_bytes((directory / "key.pem").read_bytes() + (directory / "cert.pem").read_bytes())
    return file


@contextmanager
def tls_receiver(certificate: Path, client_ca: Path | None = None) -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    with Receiver(tls=context) as receiver:
        yield receiver


def test_tls(tmp_path: Path, certificate: Path) -> None:
    blocks = numbered(3)
    with tls_receiver(certificate) as receiver:
        sink = open_sink(tmp_path, receiver.url(f"ca_file={certificate}"))
        sink.apply(blocks[:1])
        sink.apply(blocks[1:])
        assert receiver.uids() == uids_of(blocks)
        sink.close()

        untrusted = open_sink(tmp_path / "other", receiver.url())
        assert "its certificate is not trusted: self-signed" in failure_of(untrusted, blocks)
        url = receiver.url(f"ca_file={certificate}").replace("localhost", "127.0.0.1")
        other_name = open_sink(tmp_path / "third", url)
        assert "its certificate is not trusted: IP address mismatch" in failure_of(
            other_name, blocks
        )
        plain = open_sink(tmp_path / "fourth", f"otlp+http://localhost:{receiver.port}")
        assert failure_of(plain, blocks)
    with Receiver() as receiver:
        url = f"otlp+https://127.0.0.1:{receiver.port}?ca_file={certificate}"
        assert "TLS: " in failure_of(open_sink(tmp_path / "fifth", url), blocks)


def test_tls_with_a_certificate_of_the_client(tmp_path: Path, certificate: Path) -> None:
    blocks = numbered(1)
    with tls_receiver(certificate, client_ca=certificate) as receiver:
        options = f"ca_file={certificate}"
        assert failure_of(open_sink(tmp_path / "without", receiver.url(options)), blocks)
        sink = open_sink(tmp_path, receiver.url(f"{options}&cert_file={certificate}"))
        sink.apply(blocks)
        assert receiver.uids() == uids_of(blocks)
        sink.close()


@pytest.mark.parametrize("option", ["ca_file=/no/such", "cert_file=/no/such"])
def test_files_of_tls_that_cannot_be_used(tmp_path: Path, option: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot use /no/such: No such file"):
        open_sink(tmp_path, f"otlp+https://localhost?{option}")


def test_check_tries_the_receiver_and_stores_nothing(tmp_path: Path) -> None:
    with Receiver() as receiver:
        sink = open_sink(tmp_path, receiver.url())
        sink.check()
        assert (receiver.requests, sink.cursor()) == ([[]], 0)
        receiver.replies = [Reply(404)]
        with pytest.raises(SinkUnavailableError, match="HTTP 404; check the path of the URL"):
            sink.check()
