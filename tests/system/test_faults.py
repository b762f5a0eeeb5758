"""Full disks, stopped sinks and killed processes: no record is lost uncounted or doubled.

Each client numbers its records. What is stored and what the ledger's `losses` count must add up to
what was sent, each number once, each client's in order.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import pytest
from conditions import wait_for
from faults import SMALL_JOURNAL, numbers, small_disk, stopped
from installed_server import Installed
from senders import Sender, stock_frame
from servers import Server, kill, processes_of

from fastlog.block import Kind, frames, runs
from fastlog.decode import Decoder
from fastlog.journal import JournalReader
from fastlog.journal.durable_offset import DurableOffset

KILLS = 10
LARGE_JOURNAL = '[journal]\nsize = "4 GiB"\nsegment = "1 GiB"\n'


def send(server: Server, client: str, count: int, size: int = 1000, start: int = 0) -> None:
    with server.connect() as connection:
        for number in range(start, start + count):
            connection.sendall(stock_frame("x" * size, client=client, number=number))


def assert_adds_up(server: Server, client: str, sent: int) -> int:
    """Check that records are stored once and in order. Return how many were lost."""
    stored = numbers(server.records()).get(client, [])
    assert stored == sorted(set(stored)), "each once, in order"
    lost = sum(row["count"] for row in server.losses())
    assert len(stored) + lost == sent
    return int(lost)


# ---- a full journal ------------------------------------------------------------------------


def test_segments_that_every_sink_has_stored_are_deleted(tmp_path: Path) -> None:
    config = '[journal]\nsize = "64 MiB"\nsegment = "256 KiB"\n'
    with Server(tmp_path, config=config) as server:
        send(server, "a", 1000)
        server.wait_stored(1000)
        journal = server.data / "journal"
        wait_for(lambda: len(list(journal.glob("*.seg"))) == 1, "one segment remains")
        assert server.status()["durable"] > 4 * (256 << 10)


def test_a_full_journal_drops_records_and_counts_them(tmp_path: Path) -> None:
    with Server(tmp_path, config=SMALL_JOURNAL) as server:
        send(server, "a", 100)
        server.wait_stored(100)
        with stopped(server.children()["worker sqlite"]):
            send(server, "a", 3000, start=100)
            wait_for(lambda: server.status()["dropped"])
            wait_for(lambda: server.status()["frames"] == 3100)
        wait_for(lambda: sum(row["count"] for row in server.losses()) + server.stored() == 3100)
        send(server, "a", 100, start=3100)
        wait_for(lambda: sum(row["count"] for row in server.losses()) + server.stored() == 3200)
        assert assert_adds_up(server, "a", 3200) > 1000
        (reason,) = {row["reason"] for row in server.losses()}
        assert reason == "journal full"
        assert {row["peer"] for row in server.losses()} == {"127.0.0.1"}
        assert all(0 < row["first"] <= row["last"] <= time.time() for row in server.losses())
        assert numbers(server.records())["a"][-100:] == list(range(3100, 3200))


def test_a_full_journal_that_pauses_loses_nothing(tmp_path: Path) -> None:
    with Server(tmp_path, config=SMALL_JOURNAL + 'when_full = "pause"\n') as server:
        send(server, "a", 100)
        server.wait_stored(100)
        sender = None
        with stopped(server.children()["worker sqlite"]):
            sender = Sender("b", server, pause=0)
            wait_for(lambda: server.status()["size"] > 900_000)
            before = wait_for(lambda: _stands_still(sender))
            assert before > 500
        wait_for(lambda: sender.sent > before + 1000)
        sender.stop()
        server.wait_stored(100 + sender.sent)
        assert numbers(server.records())["b"] == list(range(sender.sent))
        assert server.losses() == []


def test_records_held_when_a_server_stops_are_counted_by_the_next(tmp_path: Path) -> None:
    server = Installed(tmp_path, config=SMALL_JOURNAL + 'when_full = "pause"\n')
    server.set("fastlog.receiver.shutdown", DRAIN_PATIENCE=1.0)  # usually five
    with server.fixed():
        worker = server.children()["worker sqlite"]
        os.kill(worker, signal.SIGSTOP)
        sender = Sender("b", server, pause=0)
        wait_for(lambda: server.status().get("size", 0) > 900_000)
        wait_for(lambda: _stands_still(sender))
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "receiver" not in server.children())
        sender.stop()
        os.kill(worker, signal.SIGCONT)
        assert server.process.wait(60) == 0
        received = server.status()["frames"]
        server.start()
        (loss,) = wait_for(server.losses)
        assert loss["count"] > 0
        stored = numbers(server.records())["b"]
        assert stored == list(range(len(stored)))
        assert len(stored) + loss["count"] == received


def _stands_still(sender: Sender) -> int:
    """Return what it has sent, if it is blocked: it has sent nothing more for a second."""
    before = sender.sent
    time.sleep(1)  # no condition to wait for: nothing may happen
    return before if sender.sent == before else 0


def test_a_sink_that_may_not_hold_the_journal_skips_and_counts(tmp_path: Path) -> None:
    lines = tmp_path / "app.ndjson"
    with Server(tmp_path, sinks=["sqlite:", f"ndjson://{lines}"], config=SMALL_JOURNAL) as server:
        send(server, "a", 100)
        wait_for(lambda: lines.exists() and lines.read_text().count("\n") == 100)
        with stopped(server.children()["worker ndjson"]):
            for start in range(100, 3100, 100):
                send(server, "a", 100, start=start)
                server.wait_stored(start + 100)
        wait_for(server.losses)

        def written() -> list[int]:
            whole = lines.read_text().splitlines(keepends=True)  # the last line may be incomplete
            return [json.loads(w)["extra"]["number"] for w in whole if w.endswith("\n")]

        wait_for(lambda: written()[-1] == 3099)
        (loss,) = server.losses()
        assert loss["sink"] == "ndjson"
        assert written() == sorted(set(written()))
        assert len(written()) + loss["count"] == 3100
        assert numbers(server.records())["a"] == list(range(3100)), "the other sink has all"


# ---- a full disk ---------------------------------------------------------------------------


@pytest.mark.long
def test_a_full_disk_of_the_journal_is_counted_and_the_server_continues(tmp_path: Path) -> None:
    # Without rate limits, so that the records do not wait in the sockets until there is room again.
    config = (
        f'sink = ["sqlite://{tmp_path}/logs"]\n[journal]\nmemory = "1 MiB"\n[limits]\nlag = 0\n'
    )
    with small_disk(tmp_path / "data", "8m") as disk, Server(tmp_path, config=config) as server:
        server.logs = tmp_path / "logs"
        send(server, "a", 100)
        server.wait_stored(100)
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(1 << 16))
        send(server, "a", 3000, start=100)
        wait_for(lambda: "cannot write" in server.messages())
        client = server.connect(stock_frame(client="b", number=0))  # it still accepts connections
        assert server.process is not None
        assert server.process.poll() is None
        ballast.unlink()
        wait_for(lambda: "takes blocks again" in server.messages())
        client.sendall(stock_frame(client="b", number=1))
        client.close()
        wait_for(lambda: sum(row["count"] for row in server.losses()) + server.stored() == 3102)
        stored = numbers(server.records())
        assert stored["a"] == sorted(set(stored["a"]))
        assert stored["b"][-1] == 1
        assert len(stored["a"]) < 3000


def test_a_full_disk_of_the_sink_only_delays(tmp_path: Path) -> None:
    config = f'sink = ["sqlite://{tmp_path}/disk/logs"]\n'
    with small_disk(tmp_path / "disk", "3m") as disk, Server(tmp_path, config=config) as server:
        server.logs = disk / "logs"
        send(server, "a", 100)
        server.wait_stored(100)
        send(server, "a", 5000, start=100)
        wait_for(lambda: "sink sqlite" in server.messages())
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        server.wait_stored(5100)
        assert numbers(server.records())["a"] == list(range(5100))


# ---- kill -9 -------------------------------------------------------------------------------


@pytest.mark.long
def test_killed_processes_lose_nothing_that_is_in_the_journal(tmp_path: Path) -> None:
    _kill_and_compare(tmp_path, kills=KILLS, seed=None)


@pytest.mark.soak
def test_killed_processes_lose_nothing_over_a_long_time(tmp_path: Path) -> None:
    deadline = time.monotonic() + 60 * float(os.environ.get("SOAK_MINUTES", "10"))
    for turn in range(1_000_000):
        if time.monotonic() > deadline:
            break
        home = tmp_path / str(turn)
        home.mkdir()
        _kill_and_compare(home, kills=30, seed=None)


def _kill_and_compare(home: Path, kills: int, seed: int | None) -> None:
    seed = random.randrange(1 << 32) if seed is None else seed
    print(f"seed {seed}")  # printed if the test fails
    dice = random.Random(seed)
    with Server(home, config=LARGE_JOURNAL).fixed() as server:
        senders = [Sender(f"client {n}", server) for n in range(4)]
        for victim in dice.sample(["worker", "receiver", "supervisor", "all"] * kills, kills):
            _let_some_arrive(server, dice)
            _kill_one(server, victim)
        _let_some_arrive(server, dice)
        for sender in senders:
            sender.stop()
        assert server.stop() == 0
        assert processes_of(server.data) == []
        journaled = _journaled(server.data)
        if server.stored() < sum(map(len, journaled.values())):  # a worker had just been killed
            server.start()
            server.wait_stored(sum(map(len, journaled.values())))
            assert server.stop() == 0
        assert numbers(server.records()) == journaled
        for sender in senders:
            own = journaled[sender.client]
            assert own == sorted(set(own)), "each once, in order"
            assert own[-1] < sender.sent


def _let_some_arrive(server: Server, dice: random.Random) -> None:
    """Wait until 50 to 500 more records are durable."""
    frame = len(stock_frame(client="client 0", number=1000))
    # Read off the journal's page: the status is written once a second only.
    with DurableOffset(server.data / "journal") as durable:
        goal = (durable.read() or 0) + dice.randrange(50, 500) * frame
        wait_for(lambda: (durable.read() or 0) >= goal, "records are durable")


def _kill_one(server: Server, victim: str) -> None:
    children = server.children()
    if victim == "worker":
        kill(children.get("worker sqlite", -1)) if "worker sqlite" in children else None
    elif victim == "receiver":
        if "receiver" in children:
            kill(children["receiver"])
            wait_for(lambda: server.children().get("receiver", 0) not in (0, children["receiver"]))
    elif victim == "supervisor":
        kill(server.pid)
        server._wait()
        server.start()
    else:
        server.kill()
        server.start()


def _journaled(data: Path) -> dict[str, list[int]]:
    """Return the numbers in the journal by client. It has one segment, so none was released."""
    reader, decoder = JournalReader(data / "journal"), Decoder()
    found: dict[str, list[int]] = defaultdict(list)
    offset = 0
    while blocks := reader.read(offset):
        for block in blocks:
            offset = block.end
            stock = [f for r in runs(block.payload) if r.kind is Kind.STOCK for f in frames(r)]
            decoded = decoder.decode(block)
            assert len(decoded.records) == len(stock)
            for record in decoded.records:
                extra = json.loads(record.extra)
                found[extra["client"]].append(extra["number"])
    reader.close()
    return dict(found)
