"""The fastlog client and the server, with faults of both and of the network between them.

One oracle for all: a client numbers its records from 1; what is stored and what is declared as
lost are all of them, each once, in its order. The store has no unique index that could hide a
double.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastlog_client
import pytest
from conditions import wait_for
from faults import numbers, small_disk, stopped
from handler_process import HandlerProcess
from interpreters import environment, interpreters
from places import CLIENT, SUPPORT
from protocol_client import Speaker, batch, record
from servers import Server

from fastlog.block import frames, runs
from fastlog.config import Config, ListenConfig
from fastlog.config.tree import ClientsConfig
from fastlog.drill.proxy import Proxy
from fastlog.journal import JournalReader
from fastlog.receiver.receiver import Receiver

FAST = '[clients]\nkeepalive = "1 s"\n'
"""A client closes a silent connection after three seconds."""


class Client:
    """The fastlog handler in this process, with numbered records."""

    def __init__(self, port: int, name: str = "a", host: str = "127.0.0.1", **options: Any) -> None:
        self.name, self.sent = name, 0
        self.errors: list[str] = []
        options.setdefault("close_timeout", 60.0)
        self.handler = fastlog_client.SocketHandler(
            host, port, on_error=lambda text, _: self.errors.append(text), **options
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.handler._outbox.finish()  # what the end of its process does

    def log(self, count: int = 1, size: int = 10) -> None:
        for _ in range(count):
            self.sent += 1
            made = logging.LogRecord("app", logging.INFO, "a.py", 1, "x" * size, None, None)
            made.__dict__.update(client=self.name, number=self.sent)
            self.handler.emit(made)

    def flush(self) -> None:
        assert self.handler.flush(60.0), (self.handler.stats(), self.errors)

    @property
    def stats(self) -> dict[str, Any]:
        return dict(self.handler.stats())


def declared(server: Server, behind: int = 0) -> list[range]:
    """Return the gaps in the ledger, without the first `behind`."""
    rows = server.losses()[behind:]
    matches = [re.fullmatch(r".*records (\d+) to (\d+)", row["detail"]) for row in rows]
    return [range(int(found[1]), int(found[2]) + 1) for found in matches if found]


def assert_exact(server: Server, client: str, sent: int) -> None:
    """Check that all records of a client without gaps are stored once and in order."""
    wait_for(lambda: len(numbers(server.records()).get(client, [])) >= sent, "all is stored", 60)
    assert numbers(server.records())[client] == list(range(1, sent + 1))
    assert server.losses() == []
    assert server.rejected() == []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, config=FAST) as server:
        yield server.fixed()


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


# ---- the network ---------------------------------------------------------------------------


def test_resets_within_hello_and_batch_lose_nothing(server: Server) -> None:
    """A HELLO has 89 bytes with its header, a batch of one of these records about 500."""
    _cut_everywhere(server, step=7)


@pytest.mark.soak
def test_a_reset_at_every_single_byte_loses_nothing(server: Server) -> None:
    _cut_everywhere(server, step=1)


def _cut_everywhere(server: Server, step: int) -> None:
    offsets = iter(range(1, 700, step))
    with Proxy(server.port) as proxy:
        proxy.choose_cut = lambda: next(offsets, None)
        with Client(proxy.port) as client:
            while proxy.cuts < len(range(1, 700, step)):
                client.log()
                wait_for(lambda seen=proxy.cuts: proxy.cuts > seen)  # type: ignore[misc]
            client.flush()
            assert client.stats["reconnects"] >= proxy.cuts
    assert_exact(server, "a", client.sent)


def test_a_peer_that_drops_all_data_is_detected(server: Server) -> None:
    with Proxy(server.port) as proxy, Client(proxy.port) as client:
        client.log(100)
        client.flush()
        proxy.discard()
        client.log(100)
        wait_for(lambda: proxy.discarded > 0)
        proxy.clear_faults()  # new connections pass; the old one stays dead
        client.flush()
        assert client.stats["reconnects"] >= 1
        assert_exact(server, "a", 200)


def test_dropped_acks_cause_a_reconnection_and_no_double(server: Server) -> None:
    with Proxy(server.port) as proxy, Client(proxy.port) as client:
        client.log(100)
        client.flush()
        proxy.drops_acks = True
        for _ in range(3):
            seen = proxy.connections
            client.log(100)
            wait_for(lambda seen=seen: proxy.connections > seen)  # type: ignore[misc]
        proxy.clear_faults()
        client.log(1)
        client.flush()
    assert_exact(server, "a", 401)
    assert proxy.dropped_acks > 0


def test_batches_that_are_sent_three_times_are_stored_once(server: Server) -> None:
    """By a client that has received no ack, with its batches split differently each time."""
    client, dice = os.urandom(16), random.Random(3)
    for first in range(1, 301, 30):
        for _ in range(3):
            with Speaker(server.port, client) as speaker:
                speaker.greet(first, first + 30)
                at = first
                while at < first + 30:
                    size = min(dice.randrange(1, 31), first + 30 - at)
                    made = [record(number, client="a") for number in range(at, at + size)]
                    speaker.send(batch(at, made))
                    at += size
                speaker.until(first + 29)
    assert_exact(server, "a", 300)
    wait_for(lambda: server.status()["repeated"] == 600)


def test_a_dead_peer_is_detected(tmp_path: Path) -> None:
    """Its network namespace loses its link, like a host without power."""
    with _neighbour(tmp_path) as (host, port, switch):
        listen = ["tcp://127.0.0.1:0", f"unix://{tmp_path}/s"]
        with Server(tmp_path, listen=listen, config=FAST) as server:
            with Client(port, host=host, connect_timeout=1.0) as client:
                client.log(100)
                client.flush()
                switch("down")
                client.log(100)
                wait_for(lambda: not client.stats["connected"], "the connection is given up")
                client.log(100)
                switch("up")
                client.flush()
            assert_exact(server, "a", 300)


@contextlib.contextmanager
def _neighbour(home: Path) -> Iterator[tuple[str, int, Callable[[str], None]]]:
    """Make a host that forwards a port to the Unix socket `s`, and a switch for its link.

    The server itself uses only this machine's network.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can make the network namespace that this needs")
    name, mine, its = f"fastlog-{os.getpid()}", f"flm{os.getpid()}", f"fli{os.getpid()}"
    inside = ["ip", "netns", "exec", name]
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces are not allowed here")
    forwarder = None
    try:
        for words in (
            f"ip link add {mine} type veth peer name {its} netns {name}",
            f"ip address add 10.254.77.1/30 dev {mine}",
            f"ip link set {mine} up",
            f"{' '.join(inside)} ip address add 10.254.77.2/30 dev {its}",
            f"{' '.join(inside)} ip link set {its} up",
        ):
            subprocess.run(words.split(), check=True)
        program = [*inside, sys.executable, SUPPORT / "clients" / "forward.py", home / "s"]
        forwarder = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
        assert forwarder.stdout is not None
        port = int(forwarder.stdout.readline())

        def switch(state: str) -> None:
            subprocess.run([*inside, "ip", "link", "set", its, state], check=True)

        yield "10.254.77.2", port, switch
    finally:
        if forwarder is not None:
            forwarder.kill()
            forwarder.communicate()
        subprocess.run(["ip", "netns", "delete", name], check=True)


# ---- the disk, the journal, the sink -------------------------------------------------------


def test_a_full_disk_stops_the_acks_and_loses_nothing(tmp_path: Path) -> None:
    config = f'sink = ["sqlite://{tmp_path}/logs"]\n{FAST}[journal]\nmemory = "4 MiB"\n'
    with small_disk(tmp_path / "data", "8m") as disk, Server(tmp_path, config=config) as server:
        server.logs = tmp_path / "logs"
        with Client(server.port) as client:
            client.log(100)
            client.flush()
            ballast = disk / "ballast"
            with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(1 << 16))
            client.log(8000, size=500)
            wait_for(lambda: "cannot write" in server.messages())
            stuck = client.stats["acked"]
            assert stuck < 8100
            assert not client.handler.flush(2.0)
            ballast.unlink()
            client.flush()
        assert_exact(server, "a", 8100)


def test_a_full_journal_pauses_fastlog_clients_and_loses_nothing(tmp_path: Path) -> None:
    config = FAST + '[journal]\nsize = "1 MiB"\nsegment = "256 KiB"\nmemory = "1 MiB"\n'
    with Server(tmp_path, config=config) as server, Client(server.port) as client:
        with stopped(server.children()["worker sqlite"]):
            client.log(3000, size=1000)
            wait_for(lambda: server.status().get("size", 0) > 800_000)
            assert not client.handler.flush(2.0)
        client.flush()
        assert_exact(server, "a", 3000)


def test_a_failing_sink_causes_no_retransmission(server: Server) -> None:
    _sink_is_down(server, seconds=3)


@pytest.mark.soak
def test_a_sink_that_fails_for_a_minute_causes_no_retransmission(server: Server) -> None:
    _sink_is_down(server, seconds=60)


def _sink_is_down(server: Server, seconds: float) -> None:
    with Client(server.port) as client:
        with stopped(server.children()["worker sqlite"]):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                client.log(100)
                client.flush()  # the ack depends on the journal only
                assert client.stats["pending"] == 0
        assert client.stats["resent_records"] == client.stats["reconnects"] == 0
    assert_exact(server, "a", client.sent)
    assert server.status()["repeated"] == 0


def test_dropped_records_of_a_client_are_declared_exactly(server: Server) -> None:
    for name, policy in (("new", "drop_newest"), ("old", "drop_oldest")):
        with Client(server.port, name, max_bytes=200_000, when_full=policy) as client:
            client.log(50)
            client.flush()
            before = len(server.losses())
            with stopped(server.children()["receiver"]):
                client.log(3000, size=1000)
            client.log(1)
            client.flush()
            assert client.stats["dropped"]["memory full"] > 1000

            def lost(before: int = before) -> set[int]:
                return set().union(*declared(server, before))

            def account(name: str = name, lost: Callable[[], set[int]] = lost) -> set[int]:
                return lost() | set(numbers(server.records()).get(name, []))

            wait_for(lambda sent=client.sent: len(account()) == sent)  # type: ignore[misc]
            stored = numbers(server.records())[name]
            assert account() == set(range(1, client.sent + 1))
            assert not lost() & set(stored)
            assert stored == sorted(set(stored))


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
        data_dir=tmp_path, listen=[ListenConfig(url)], clients=ClientsConfig(keepalive=1.0)
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


def test_forked_children_log_for_themselves(server: Server, tmp_path: Path) -> None:
    """Eight children, half of which end by os._exit, and a parent that continues."""
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


def test_clients_do_not_notice_a_reload(server: Server) -> None:
    _reload_repeatedly(server, 4)


@pytest.mark.soak
def test_clients_do_not_notice_twenty_reloads(server: Server) -> None:
    _reload_repeatedly(server, 20)


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
        done = server.messages().count("reload: done")
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda done=done: server.messages().count("reload: done") > done)  # type: ignore[misc]
    stats = [client.stop() for client in clients]
    found = [(s["reconnects"], s["resent_records"], s["pending"]) for s in stats]
    assert found == [(0, 0, 0)] * len(clients)
    for client in clients:
        assert_exact(server, client.name, client.sent)
