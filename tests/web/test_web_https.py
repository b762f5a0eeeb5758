"""HTTPS: what handshakes take from the web server is bounded, and its certificate is a metric."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from certificates import Certificates
from conditions import wait_for
from web_sites import make_store, numbered

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")

from fastlog.cli.options import load_config
from fastlog.search.day_store import DayStore
from fastlog.web import https_listener
from fastlog.web.https_listener import HttpsListener
from fastlog.web.service import Service

HELLO = b"\x16\x03\x01\x02\x00\x01"
"""The begin of a handshake."""


class Page:
    """A web server in a thread, so that a test can change its bounds."""

    def __init__(self, home: Path) -> None:
        self.certificates = Certificates(home)
        self.certificates.issue("localhost", file="server.pem", days=30)
        data_dir = make_store(home, numbered(5))
        config = load_config(
            None,
            data_dir=str(data_dir),
            **{"web.url": "https://127.0.0.1:0", "web.certificate": str(home / "server.pem")},
        )
        self.service = Service(config, DayStore(data_dir / "logs"))
        self.port = urlsplit(self.service.url).port or 0

    @property
    def listener(self) -> HttpsListener:
        assert isinstance(self.service._socket, HttpsListener)
        return self.service._socket

    @contextmanager
    def serving(self) -> Iterator[Page]:
        stop: list[Any] = []
        began = threading.Event()

        def prepare(service: Service) -> None:
            loop = asyncio.get_running_loop()
            stop.append(lambda: loop.call_soon_threadsafe(service.stop))
            began.set()

        thread = threading.Thread(target=self.service.run, args=(prepare,))
        thread.start()
        try:
            assert began.wait(60)
            yield self
        finally:
            stop[0]()
            thread.join(60)
            assert not thread.is_alive()

    def connect(self, data: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        client.sendall(data)
        return client

    def get(self, path: str) -> bytes:
        connection = HTTPSConnection(
            "localhost", self.port, context=self.certificates.context(), timeout=60
        )
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read()
        finally:
            connection.close()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with Page(tmp_path).serving() as page:
        yield page


def is_ended(client: socket.socket) -> bool:
    client.settimeout(60)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_handshakes_are_bounded_and_keep_nobody_out(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https_listener, "HANDSHAKES", 5)
    monkeypatch.setattr(https_listener, "HANDSHAKE_SECONDS", 3600.0)
    with ExitStack() as clients:
        half = [clients.enter_context(page.connect(HELLO)) for _ in range(50)]
        assert json.loads(page.get("/api/v1/counts"))["total"] == 5
        assert all(is_ended(client) for client in half[:44]), "the oldest ones are ended"
        assert len(page.listener._handshakes) <= 5
    wait_for(lambda: not page.listener._accepted, "all are closed")


def test_a_slow_handshake_is_ended(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https_listener, "HANDSHAKE_SECONDS", 0.1)
    with page.connect() as silent, page.connect(HELLO) as slow:
        assert is_ended(silent)
        assert is_ended(slow)


def test_connections_are_bounded(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page.listener, "_most", 2)
    context = page.certificates.context()
    with ExitStack() as clients:
        for _ in range(2):
            plain = clients.enter_context(page.connect())
            clients.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
        wait_for(lambda: not page.listener._handshakes, "both are made")
        with page.connect(HELLO) as third:
            assert is_ended(third)
    wait_for(lambda: not page.listener._accepted, "all are closed")
    assert page.get("/metrics")


def test_the_memory_of_failed_handshakes_is_freed(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected = threading.Event()
    monkeypatch.setattr(https_listener, "FAILURES", 3)
    monkeypatch.setattr(https_listener.gc, "collect", collected.set)
    for _ in range(2):
        page.get("/metrics")
    for number in range(3):
        assert not collected.is_set(), number
        with page.connect(b"GET / HTTP/1.1\r\n\r\n") as client:
            assert is_ended(client)
    assert collected.wait(60)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_are_refused(page: Page, version: ssl.TLSVersion) -> None:
    context = page.certificates.context()
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with page.connect() as plain, pytest.raises(ssl.SSLError, match=r"EOF|VERSION"):
        context.wrap_socket(plain, server_hostname="localhost")


def test_the_certificate_of_the_page_is_a_metric(page: Page) -> None:
    text = page.get("/metrics").decode()
    pattern = r'^fastlog_certificate_expiry_timestamp_seconds{url="https://127.0.0.1:0"} (\S+)$'
    (found,) = re.findall(pattern, text, re.MULTILINE)
    context = page.certificates.context()
    with context.wrap_socket(page.connect(), server_hostname="localhost") as client:
        end = ssl.cert_time_to_seconds(str(client.getpeercert()["notAfter"]))
    assert float(found) == end
