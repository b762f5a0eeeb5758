"""Clients that do not read, or ask for too much: what they take from the web server is bounded."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from conditions import wait_for
from web_sites import Site, make_store, numbered

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")

from fastlog.cli.options import load_config
from fastlog.search.day_store import DayStore
from fastlog.web import connection, searches, unsent
from fastlog.web.service import Service

COUNT = 12_000
LONG = "x" * 6000
"""The message of each record, so that a page or an export is larger than the kernel's buffers."""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = numbered(COUNT, per_block=500, message=LONG)
    return make_store(tmp_path_factory.mktemp("store"), records, per_block=500)


@contextmanager
def serving(data_dir: Path) -> Iterator[Service]:
    """Run a web server in a thread, so that a test can shorten its deadlines."""
    config = load_config(None, data_dir=str(data_dir), **{"web.url": "http://127.0.0.1:0"})
    service = Service(config, DayStore(data_dir / "logs"))
    stop: list[Any] = []
    began = threading.Event()

    def prepare(service: Service) -> None:
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(service.stop))
        began.set()

    thread = threading.Thread(target=service.run, args=(prepare,))
    thread.start()
    try:
        assert began.wait(60)
        yield service
    finally:
        stop[0]()
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def service(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(connection, "STALL_SECONDS", 1.0)
    with serving(data_dir) as running:
        yield running


def connect(service: Service, path: str, **parameters: object) -> socket.socket:
    """Send a request from a socket with a small buffer, and leave the answer unread."""
    host, port = urlsplit(service.url).netloc.split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    client.connect((host, int(port)))
    query = urlencode(parameters)
    client.sendall(f"GET /api/v1{path}?{query} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return client


def is_closed(client: socket.socket) -> bool:
    """Return whether the server has reset the connection, without reading from it."""
    error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        return True
    try:
        client.send(b"")
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_client_that_does_not_read_its_answer_is_closed(service: Service):
    with connect(service, "/records", limit=1000) as client:
        wait_for(lambda: is_closed(client), "the connection is closed")
    assert Site(service.url).get("/counts")["total"] == COUNT


def test_an_export_that_is_not_read_gives_its_place_to_others(service: Service):
    with ExitStack() as clients:
        unread = [clients.enter_context(connect(service, "/export")) for _ in range(2)]
        for client in unread:
            assert client.recv(100, socket.MSG_PEEK)
        assert Site(service.url).ask("/export", q="none").status in (200, 503)
        wait_for(lambda: all(map(is_closed, unread)), "both are closed")
        wait_for(lambda: Site(service.url).ask("/export", q="none").status == 200, "a place")


def test_a_tail_that_is_not_read_ends(service: Service):
    site = Site(service.url)
    oldest = site.get("/records", order="oldest", limit=1)["records"][0]["id"]
    with connect(service, "/tail", after=oldest) as client:
        wait_for(lambda: len(service._site.broadcast._tails) == 1, "it follows")
        wait_for(lambda: is_closed(client), "the connection is closed")
        wait_for(lambda: not service._site.broadcast._tails, "the tail has ended")


def test_a_client_that_reads_slowly_gets_its_whole_answer(service: Service):
    """It reads for longer than it may stop reading."""
    host, port = urlsplit(service.url).netloc.split(":")
    slow = HTTPConnection(host, int(port), timeout=60)
    slow.request("GET", "/api/v1/records?limit=1000")
    answer = slow.getresponse()
    length, got = int(answer.headers["content-length"]), 0
    while piece := answer.read(200_000):
        got += len(piece)
        threading.Event().wait(0.05)
    slow.close()
    assert got == length > 6_000_000


def test_answers_that_wait_for_slow_clients_are_bounded(
    service: Service, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unsent, "MAX_UNSENT", 15_000_000)  # two of 6 MB
    site = Site(service.url)
    with ExitStack() as clients:
        for count in (1, 2):
            clients.enter_context(connect(service, "/records", limit=1000))
            wait_for(lambda: service._site.unsent._bytes > count * 6_000_000, "it waits")  # noqa: B023
        answer = site.ask("/records", limit=1000)
        assert answer.status == 503
        assert "slowly" in answer.json["error"]["message"]
        assert len(site.get("/records", limit=5)["records"]) == 5
        wait_for(lambda: site.ask("/records", limit=1000).status == 200, "both are closed")
    wait_for(lambda: service._site.unsent._bytes == 0, "nothing waits")


def test_one_client_cannot_take_all_places(data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(searches, "OF_ONE", 1)
    with serving(data_dir) as service, connect(service, "/export") as unread:
        assert unread.recv(100, socket.MSG_PEEK)
        answer = Site(service.url).ask("/export", q="none")
        assert answer.status == 503
        assert "of this client" in answer.json["error"]["message"]
        assert Site(service.url).get("/counts")["total"] == COUNT
        host, port = urlsplit(service.url).netloc.split(":")
        other = HTTPConnection(host, int(port), timeout=60, source_address=("127.0.0.2", 0))
        other.request("GET", "/api/v1/export?q=none")
        assert other.getresponse().status == 200
        other.close()
