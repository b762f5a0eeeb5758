"""Bounds of the web server: searches at a time, and searches for clients that have gone."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conditions import wait_for
from web_sites import Site, connect, make_store, numbered, serving

pytest.importorskip("uvicorn", reason="the web server needs the extra 'web'")

COUNT = 60_000
SLOW = {"q": "-user<7", "deadline": "10"}
"""A search that reads every record, and finds none: no text shows where it is true."""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = numbered(COUNT, per_block=500)
    return make_store(tmp_path_factory.mktemp("store"), records, per_block=500)


@pytest.fixture
def site(data_dir: Path) -> Iterator[Site]:
    with serving(data_dir, config="[web]\nsearches = 1\n") as site:
        yield site


def test_an_export_ends_when_its_client_has_gone(site: Site):
    """The threads for exports are free again."""
    for _ in range(5):
        with connect(site, "/export", {}) as client:
            assert client.recv(1000)
    assert site.ask("/export", q="none").status == 200


def test_exports_that_are_not_read_wait_and_hinder_no_search(site: Site):
    with connect(site, "/export", {}) as first, connect(site, "/export", {}) as second:
        assert first.recv(1000)
        assert second.recv(1000)
        answer = site.ask("/export")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert site.get("/counts", q="level:error")["total"] == COUNT // 4


def test_more_searches_than_run_at_a_time_wait_for_their_turn(site: Site):
    with ThreadPoolExecutor(8) as clients:
        totals = clients.map(lambda _: site.get("/counts", q="level:error")["total"], range(8))
    assert set(totals) == {COUNT // 4}


def test_other_answers_do_not_wait_for_a_slow_search(site: Site):
    with connect(site, "/counts", SLOW):
        wait_for(lambda: site.ask("/session").status == 200, "it answers")


def test_a_deadline_ends_a_count_with_what_it_has(site: Site):
    answer = site.get("/counts", q="-user<=3", deadline="0.1")
    assert answer["complete"] is False
    assert answer["total"] < COUNT // 5


def test_a_long_query_is_read(site: Site):
    long = " OR ".join(["é" * 100] * 500)
    assert site.get("/counts", q=long[:60_000])["total"] == 0
    answer = site.ask("/counts", q="x" * 70_000)
    assert answer.status == 400


@pytest.mark.long
def test_a_connection_that_sends_no_whole_request_is_closed(site: Site):
    host, port = urlsplit(site.url).netloc.split(":")
    with ExitStack() as clients:
        waiting = []
        for start in (b"", b"GET /api/v1/session HT"):
            client = socket.create_connection((host, int(port)), timeout=60)
            waiting.append(clients.enter_context(client))
            client.sendall(start)
        for client in waiting:
            assert client.recv(1000) == b""


@pytest.mark.parametrize("path", ["/tail", "/export", "/records"])
def test_head_is_not_allowed(site: Site, path: str):
    host, port = urlsplit(site.url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(f"HEAD /api/v1{path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 405 ")


def test_the_server_ends_though_tails_and_exports_are_open(data_dir: Path):
    with ExitStack() as clients:
        with serving(data_dir) as site:
            for path in ("/tail", "/export", "/export", "/counts"):
                clients.enter_context(connect(site, path, SLOW if path == "/counts" else {}))
            assert site.get("/session")["logged_in"] is True
            began = time.monotonic()
        assert time.monotonic() - began < 20


def test_a_store_without_a_directory_of_day_files_is_empty(tmp_path: Path):
    (tmp_path / "lock").touch()
    with serving(tmp_path) as site:
        assert site.get("/records")["records"] == []
        assert site.get("/counts")["total"] == 0
