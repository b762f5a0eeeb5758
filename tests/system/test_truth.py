"""What a running server says of itself: signs of life, lags and recent losses."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from conditions import wait_for
from faults import SMALL_JOURNAL, numbers, stopped
from installed_server import Installed
from plugins import BLOCKING, install
from senders import Sender, stock_frame
from servers import Server

from fastlog.journal import read_positions
from fastlog.worker.life import read_lives

SILENCE = 4.0
"""Seconds without a sign of life: more than a call of a sink takes on a busy disk."""


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


@pytest.mark.long
def test_a_worker_without_a_sign_of_life_is_reported_and_replaced_exactly(tmp_path: Path) -> None:
    server = Installed(tmp_path, sinks=["sqlite:", f"ndjson://{tmp_path}/app.ndjson"])
    server.set("fastlog.server.life_watch", SILENCE=SILENCE, INTERVAL=0.1)
    with server:
        sender = Sender("a", server)
        wait_for(lambda: server.stored() > 100)
        before = server.children()
        os.kill(before["worker sqlite"], signal.SIGSTOP)
        wait_for(lambda: server.children().get("worker sqlite") not in (None, *before.values()))
        stored = server.stored()
        wait_for(lambda: server.stored() > stored + 100)
        sender.stop()
        server.reload()
        assert server.stop() == 0
        assert numbers(server.records())["a"] == list(range(sender.sent)), "each once, in order"

        (line,) = [line for line in server.messages().splitlines() if "sign of life" in line]
        assert "ERROR supervisor: sink sqlite: its worker (pid " in line
        assert f"{before['worker sqlite']}, stopped by a signal) has given no sign of life" in line
        assert "ndjson: its worker" not in server.messages()


def test_a_worker_that_hangs_outside_its_sink_is_replaced_too(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    server = Installed(tmp_path)
    server.edit(
        "worker/worker.py",
        "            return self._decoder.decode(block)\n",
        f"            while __import__('os').path.exists({str(gate)!r}):\n                pass\n"
        "            return self._decoder.decode(block)\n",
    )
    server.set("fastlog.server.life_watch", SILENCE=SILENCE, INTERVAL=0.1)
    with server:
        before = server.children()["worker sqlite"]
        server.connect(stock_frame("hello")).close()
        wait_for(lambda: server.children().get("worker sqlite", before) != before)
        gate.unlink()
        server.wait_stored(1)
        assert "sink sqlite: its worker" in server.messages()


@pytest.mark.long
def test_a_worker_that_waits_inside_a_call_of_its_sink_is_reported_and_not_replaced(
    tmp_path: Path, fifo: Path
) -> None:
    install(tmp_path / "plugins", {"blocking": BLOCKING})
    server = Installed(tmp_path, sinks=[f"blocking://{fifo}"])
    server.set("fastlog.server.life_watch", SILENCE=SILENCE, INTERVAL=0.1)
    server.add_path(tmp_path / "plugins")
    with server:
        before = server.children()["worker blocking"]
        server.connect(stock_frame("hello")).close()
        wait_for(lambda: "waiting inside its sink's own call of apply()" in server.messages())
        since = read_lives(server.data)["blocking"].in_call_since
        assert since is not None
        wait_for(lambda: server.status()["at"] > since + 2 * SILENCE, "twice the time has passed")
        assert server.children()["worker blocking"] == before
        with fifo.open("w"):
            wait_for(lambda: "sink blocking: its worker continues; it was" in server.messages())
        assert server.children()["worker blocking"] == before
        lines = [line for line in server.messages().splitlines() if "its worker" in line]
        assert len(lines) == 2
        assert "WARNING supervisor: sink blocking: its worker (pid " in lines[0]
