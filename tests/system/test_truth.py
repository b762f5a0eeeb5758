"""What a running server says of itself: signs of life, lags and recent losses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conditions import wait_for
from faults import SMALL_JOURNAL, stopped
from installed_server import Installed
from plugins import install
from senders import stock_frame
from servers import Server

from fastlog.journal import read_positions
from fastlog.worker.life import read_lives

BLOCKING = """
import os
from fastlog.sinks import Sink

class Sink(Sink):
    at = 0

    def open(self, node):
        return self.at

    def apply(self, blocks):
        with open(self.context.url.path):  # a FIFO: this waits until something writes to it
            pass
        self.at = blocks[-1].block.end

    def cursor(self):
        return self.at

    def sync(self):
        return self.at

    def close(self):
        pass
"""
"""A sink whose `apply` waits until the test opens a FIFO."""


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_each_worker_shows_signs_of_life_also_after_a_reload(tmp_path: Path) -> None:
    with Installed(tmp_path, sinks=["sqlite:", f"ndjson://{tmp_path}/app.ndjson"]) as server:

        def assert_all_live() -> None:
            before = wait_for(lambda: len(lives := read_lives(server.data)) == 2 and lives)
            for name in ("sqlite", "ndjson"):
                assert before[name].pid == server.children()[f"worker {name}"]
                wait_for(lambda name=name: read_lives(server.data)[name].at > before[name].at)

        assert_all_live()
        server.reload()
        assert_all_live()
        pid = server.children()["worker sqlite"]
        with stopped(pid):
            last = read_lives(server.data)
            wait_for(lambda: read_lives(server.data)["ndjson"].at > last["ndjson"].at + 0.5)
            assert read_lives(server.data)["sqlite"] == last["sqlite"]


def test_a_worker_that_waits_inside_a_call_of_its_sink_shows_that(
    tmp_path: Path, fifo: Path
) -> None:
    install(tmp_path / "plugins", {"blocking": BLOCKING})
    env = {"PYTHONPATH": str(tmp_path / "plugins")}
    with Server(tmp_path, sinks=[f"blocking://{fifo}"], env=env) as server:
        wait_for(lambda: "blocking" in read_lives(server.data))
        server.connect(stock_frame("hello")).close()
        life = wait_for(lambda: (now := read_lives(server.data)["blocking"]).call and now)
        assert life.call == "apply"
        assert life.in_call_since is not None
        assert life.in_call_since == life.at
        with fifo.open("w"):
            wait_for(lambda: read_lives(server.data)["blocking"].in_call_since is None)


def test_the_lag_of_a_sink_is_known_in_seconds(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.connect(stock_frame("first")).close()
        server.wait_stored(1)
        received = server.records()[0]["received"]

        def stored() -> float | None:
            position = read_positions(server.data).get("sqlite")
            return position and position.stored_received

        wait_for(lambda: stored() == received)
        wait_for(lambda: server.status()["durable_received"] == received)
        with stopped(server.children()["worker sqlite"]):
            wait_for(lambda: server.connect(stock_frame("later")).close() is None)
            wait_for(lambda: server.status()["durable_received"] > received)
            assert stored() == received
        wait_for(lambda: stored() == server.status()["durable_received"])


def test_records_dropped_lately_are_counted_and_survive_a_reload(tmp_path: Path) -> None:
    with Installed(tmp_path, config=SMALL_JOURNAL) as server:
        assert server.status()["recent_dropped"] == 0
        assert server.status()["recent_seconds"] == 300
        with stopped(server.children()["worker sqlite"]):
            client = server.connect()
            frames = stock_frame("x" * 10_000) * 10
            wait_for(lambda: client.sendall(frames) or server.status()["recent_dropped"] > 0)
            client.close()
        server.connect(b"GET / HTTP/1.1\r\n\r\n").close()
        wait_for(lambda: server.status()["recent_rejected"] == 1)
        before = server.status()
        assert before["recent_dropped"] == before["dropped"]
        server.reload()
        wait_for(lambda: server.status()["at"] > before["at"] + 1)
        after = server.status()
        assert (after["recent_dropped"], after["dropped"]) == (before["dropped"],) * 2
        assert after["recent_rejected"] == 1
