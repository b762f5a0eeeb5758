"""The fastlog client and the server, with processes that die or are replaced, and clocks that jump.

One oracle for all: a client numbers its records from 1; what is stored and what is declared as
lost are all of them, each once, in its order. The store has no unique index that could hide a
double.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conditions import wait_for
from faults import numbers, stopped
from handler_process import HandlerProcess
from interpreters import environment, interpreters
from lossless_clients import Client, assert_exact, patient_server, server
from places import CLIENT
from servers import Server

from fastlog.block import frames, runs
from fastlog.config import Config, ListenConfig
from fastlog.config.tree import ClientsConfig
from fastlog.drill.proxy import Proxy
from fastlog.journal import JournalReader
from fastlog.receiver.receiver import Receiver

__all__ = ["patient_server", "server"]


# ---- the server dies -----------------------------------------------------------------------


def test_killing_the_server_within_batches_loses_nothing(server: Server) -> None:
    _kill_repeatedly(server, 5)


@pytest.mark.soak
def test_killing_the_server_twenty_times_loses_nothing(server: Server) -> None:
    _kill_repeatedly(server, 20)


def _kill_repeatedly(server: Server, kills: int) -> None:
    dice = random.Random(7)
    with Client(server.port) as client:
        writer = _Writer(client)
        for kill in range(kills):
            worker = server.children()["worker sqlite"]
            with stopped(worker) if kill % 2 else contextlib.nullcontext():  # a slow sink
                before = client.stats["acked"]
                goal = before + dice.randrange(100, 2000)
                wait_for(lambda goal=goal: client.stats["acked"] > goal)  # type: ignore[misc]
                server.kill()
            server.start()
        writer.stop()
        client.flush()
        assert client.stats["reconnects"] >= kills
    assert_exact(server, "a", client.sent)


class _Writer(threading.Thread):
    """Logs continuously, while fewer than `most` records wait."""

    def __init__(self, client: Client, most: int = 5000) -> None:
        super().__init__(daemon=True)
        self._client, self._most = client, most
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._ended.wait(0.001):
            if self._client.stats["pending"] < self._most:
                self._client.log(10)

    def stop(self) -> None:
        self._ended.set()
        self.join(30)
        assert not self.is_alive()


# ---- clocks --------------------------------------------------------------------------------


class _Clock:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def test_clocks_that_jump_by_an_hour_do_not_stop_records(tmp_path: Path) -> None:
    theirs, ours = _Clock(), _Clock()
    listener = socket.create_server(("127.0.0.1", 0))
    url = "tcp://127.0.0.1:0"
    config = Config(
        data_dir=tmp_path, listen=[ListenConfig(url)], clients=ClientsConfig(keepalive=10.0)
    )
    receiver = Receiver(config, [(listener.fileno(), ListenConfig(url))], clock=theirs)
    thread = threading.Thread(target=receiver.run, args=(lambda: None,))
    thread.start()
    try:
        with Client(listener.getsockname()[1], wall_clock=ours) as client:
            for clock, ahead in itertools.product((theirs, ours), (3600, -3600, 0)):
                clock.ahead = ahead
                client.log(100)
                assert client.handler.flush(10.0), f"it stalls {ahead} s ahead"
            assert client.stats["reconnects"] == 0
    finally:
        receiver.stop()
        thread.join(60)
        listener.close()
    reader = JournalReader(tmp_path / "journal")
    blocks = []
    while found := reader.read(blocks[-1].end if blocks else 0):
        blocks += found
    reader.close()
    stamps = [block.received_us for block in blocks]
    assert 6600e6 < max(stamps) - min(stamps) <= 7200e6, "a stamp is what the clock says"
    kept = [f for b in blocks for r in runs(b.payload) if r.stamp for f in frames(r)]
    assert len(kept) == 600


# ---- processes that end --------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.11", "3.13"])
def test_the_spool_of_a_killed_client_is_sent_by_the_next(
    server: Server, tmp_path: Path, version: str
) -> None:
    python = interpreters().get(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    spool = tmp_path / "spool"
    first = HandlerProcess(server.port, "first", python, pause=0.2, spool=spool)
    wait_for(lambda: first.sent > 200)
    with stopped(server.children()["receiver"]):
        seen = first.sent
        wait_for(lambda: first.sent > seen + 200)
        first.kill()
        sent = first.sent
    segment = max(spool.glob("*/*.seg"), key=lambda path: path.name)
    with segment.open("ab") as file:
        file.write(os.urandom(7))  # a torn record
    second = HandlerProcess(server.port, "second", python, pause=1, spool=spool)
    wait_for(lambda: len(numbers(server.records()).get("first", [])) >= sent, "it was adopted", 60)
    wait_for(lambda: second.sent > 10)
    second.stop()
    assert_exact(server, "second", second.sent)
    stored = numbers(server.records())["first"]
    assert stored == list(range(1, len(stored) + 1))
    wait_for(lambda: not list(spool.glob("*/*.seg")), "the spool is empty")


def test_a_spool_without_its_last_records_is_not_sent_twice(server: Server, tmp_path: Path) -> None:
    """The server has acknowledged more than the files hold, and no client received that ack."""
    spool = tmp_path / "spool"
    with Proxy(server.port) as proxy:
        proxy.drops_acks = True
        first = HandlerProcess(proxy.port, "first", sys.executable, spool=spool)
        wait_for(lambda: len(numbers(server.records()).get("first", [])) > 200)
        first.kill()
    segment = max(spool.glob("*/*.seg"), key=lambda path: path.name)
    os.truncate(segment, segment.stat().st_size - 3)
    second = HandlerProcess(server.port, "second", sys.executable, spool=spool)
    wait_for(lambda: len(list(spool.iterdir())) == 1, "the first one's is gone")
    second.stop()
    stored = numbers(server.records())["first"]
    assert stored == list(range(1, len(stored) + 1))
    assert server.losses() == []


@pytest.mark.long
def test_forked_children_log_for_themselves(patient_server: Server, tmp_path: Path) -> None:
    """Eight children, half of which end by os._exit, and a parent that continues."""
    server = patient_server
    program = tmp_path / "fork.py"
    program.write_text(_FORKING)
    for version in ("2.7", "3.6", "3.11", "3.13"):
        if python := interpreters().get(version):
            spool = tmp_path / f"spool {version}"
            arguments = [str(CLIENT), str(server.port), version, str(spool)]
            out = subprocess.run(
                [python, program, *arguments],
                env=environment(),
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert out.returncode == 0, out.stderr
            assert json.loads(out.stdout) == {"reconnects": 0, "left": 0}
            for name in ["parent", *(f"child {n}" for n in range(8))]:
                sent = 200 if name == "parent" else 100
                assert_exact(server, f"{version} {name}", sent)


_FORKING = """
from __future__ import print_function
import json, logging, os, sys, time
sys.path.insert(0, sys.argv[1])
import fastlog_client
import fastlog_client.orphans
fastlog_client.orphans._SEARCH_SECONDS = 0.2  # for the spools of ended children; usually five
port, version, spool = int(sys.argv[2]), sys.argv[3], sys.argv[4]
handler = fastlog_client.SocketHandler("127.0.0.1", port, spool=spool, close_timeout=60.0)
logger = logging.getLogger("app")
logger.setLevel(logging.INFO)
logger.addHandler(handler)

def log(name, first, last):
    for number in range(first, last + 1):
        logger.info("x", extra={"client": version + " " + name, "number": number})

log("parent", 1, 100)
pids = []
for n in range(8):
    pid = os.fork()
    if not pid:
        log("child %d" % n, 1, 100)
        if n % 2:
            os._exit(0)
        logging.shutdown()
        os._exit(0)
    pids.append(pid)
    log("parent", 101 + n, 101 + n)
for pid in pids:
    os.waitpid(pid, 0)
log("parent", 109, 200)
deadline = time.time() + 60  # the parent sends what its children have not sent
while len(os.listdir(spool)) > 1 and time.time() < deadline:
    time.sleep(0.05)
handler.flush()
handler.close()
stats = handler.stats()
print(json.dumps({"reconnects": stats["reconnects"], "left": stats["pending"]}))
"""


@pytest.mark.long
def test_clients_of_several_interpreters_survive_kills_and_cuts(server: Server) -> None:
    dice = random.Random(11)
    with Proxy(server.port) as proxy:
        clients = [
            HandlerProcess(port, version, python)
            for (version, python), port in zip(
                interpreters().items(), itertools.cycle([server.port, proxy.port]), strict=False
            )
        ]
        for _ in range(4):
            goal = [client.sent + dice.randrange(100, 300) for client in clients]
            wait_for(
                lambda goal=goal: all(c.sent > g for c, g in zip(clients, goal, strict=True)),  # type: ignore[misc]
                "all go on logging",
            )
            dice.choice([proxy.cut, lambda: (server.kill(), server.start())])()
        stats = [client.stop() for client in clients]
    assert [(s["pending"], s["gaps"]) for s in stats] == [(0, 0)] * len(clients)
    for client in clients:
        assert_exact(server, client.name, client.sent)


# ---- the server is replaced ----------------------------------------------------------------


def test_clients_do_not_notice_a_reload(patient_server: Server) -> None:
    _reload_repeatedly(patient_server, 2)


@pytest.mark.soak
def test_clients_do_not_notice_twenty_reloads(patient_server: Server) -> None:
    _reload_repeatedly(patient_server, 20)


def _reload_repeatedly(server: Server, times: int) -> None:
    """test_reload.py tests the same for stock clients, and failures of a reload."""
    pythons = {v: path for v, path in interpreters().items() if v in ("2.7", "3.6", "3.13")}
    clients = [HandlerProcess(server.port, version, path) for version, path in pythons.items()]
    for _ in range(times):
        goal = [client.sent + 100 for client in clients]
        wait_for(
            lambda goal=goal: all(c.sent > g for c, g in zip(clients, goal, strict=True)),  # type: ignore[misc]
            "all go on logging",
        )
        server.reload()
    stats = [client.stop() for client in clients]
    found = [(s["reconnects"], s["resent_records"], s["pending"]) for s in stats]
    assert found == [(0, 0, 0)] * len(clients)
    for client in clients:
        assert_exact(server, client.name, client.sent)
