"""Collectors → a JetStream cluster → a central that stores in its own day files.

The central also receives records itself: another process of it writes these to the same files.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from faults import small_disk
from nats_servers import NatsCluster
from nats_stores import CONFIG, Fleet, node_id, nodes_of, position_of, shared_cluster
from servers import FASTLOG, Server, kill, processes_of, restarted
from web_sites import site_of

__all__ = ["shared_cluster"]

pytestmark = pytest.mark.long

_numbers = itertools.count()


@pytest.fixture
def fleet(tmp_path: Path, shared_cluster: NatsCluster) -> Iterator[Fleet]:
    """On the shared cluster, with streams of its own."""
    number = next(_numbers)
    url = shared_cluster.url(f"L{number}", prefix=f"l{number}")
    with Fleet(tmp_path, url, None) as fleet:
        yield fleet


def run(*command: object, code: int = 0) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == code, done
    return done.stdout


def source_pid(server: Server) -> int:
    return next(pid for pid, role in processes_of(server.data) if role == "source")


def test_all_nodes_are_stored_once_and_can_be_searched(fleet: Fleet) -> None:
    collectors = [fleet.collector() for _ in range(2)]
    central = fleet.central(web="http://127.0.0.1:0")
    for _ in range(3):
        fleet.send(100)
        fleet.send(2, clients=1, text="y" * 300_000)
    fleet.assert_stored()
    fleet.assert_released()
    nodes = sorted(map(node_id, collectors))
    data = ("--data-dir", central.data)
    shown = run(FASTLOG, "stats", *data)
    assert [line.split()[0] for line in shown.splitlines() if line.endswith("none")] == [
        "rejected:", "lost:", *nodes,
    ]  # fmt: skip
    assert "pages, chunks and counts are sound" in run(
        FASTLOG, "check", "--deep", *data, "--config", config_of(central)
    )
    total = sum(fleet.sent.values())
    found = run(FASTLOG, "query", *data, "--limit", "0", "--json", "name=app").splitlines()
    records = [json.loads(line) for line in found]
    assert len({(each["node"], each["offset"], each["idx"]) for each in records}) == total
    assert {each["node"] for each in records} == {*nodes, node_id(central)}
    assert [each["created"] for each in records] == sorted(each["created"] for each in records)
    with subprocess.Popen(
        [str(FASTLOG), "tail", "-f", "-n", "5", "--json", *map(str, data)],
        stdout=subprocess.PIPE, text=True,
    ) as tail:  # fmt: skip
        assert tail.stdout is not None
        assert len([tail.stdout.readline() for _ in range(5)]) == 5
        fleet.send(10, clients=1)
        late = [json.loads(tail.stdout.readline()) for _ in range(30)]
        tail.terminate()
    assert {each["node"] for each in late} == {*nodes, node_id(central)}
    assert pages_of(central) == total + 30


def config_of(server: Server) -> Path:
    return server.home / "fastlog.toml"


def pages_of(server: Server) -> int:
    """Return how many different records the pages of the API have."""
    site, found, more = site_of(server), list[tuple[str, int, int]](), dict[str, str]()
    while True:
        answer = site.get("/records", limit=100, **more)
        found += [(each["node"], each["offset"], each["idx"]) for each in answer["records"]]
        if answer["cursor"] is None:
            assert len(found) == len(set(found))
            return len(found)
        more = {"cursor": answer["cursor"]}


def test_any_process_is_killed_or_reloaded(fleet: Fleet) -> None:
    for _ in range(2):
        fleet.collector()
    central = fleet.central()
    fleet.send(50)
    kill(source_pid(central))
    fleet.send(50)
    kill(central.children()["worker sqlite"])
    fleet.send(50)
    seen = len(central.messages())
    os.kill(central.pid, signal.SIGHUP)
    fleet.send(50)
    central.finish_reload(seen)
    fleet.send(50)
    for how in ("everything", "stop"):
        fleet.await_journaled()  # a stock client loses what a killed server has not journaled
        fleet.hang_up()
        restarted(central, how)
        fleet.send(50)
    fleet.assert_stored()
    fleet.assert_released()


def test_the_disk_of_the_central_is_full_for_a_while(fleet: Fleet) -> None:
    collector = fleet.collector()
    (fleet.home / "central0").mkdir()
    with small_disk(fleet.home / "central0" / "data", "24m") as disk:
        central = fleet.central(config=f"{CONFIG}[journal]\nsize = '2MiB'\nsegment = '1MiB'\n")
        fleet.send(50)
        fleet.assert_stored()
        filler = disk / "filler"
        fill(filler)
        sent = fleet.sent["0-0"]
        fleet.send_to(collector, 2000, text="z" * 2000)
        wait_for(lambda: "disk full" in (nodes_of(central)[node_id(collector)]["error"] or ""))
        assert central.stored() < sum(fleet.sent.values())
        wait_for(lambda: position_of(collector).get("cursor", 0) > sent)
        filler.unlink()
        fleet.assert_stored()
        fleet.assert_released()
        central.stop()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return


def test_a_second_central_does_not_divide_the_records_of_a_node(fleet: Fleet) -> None:
    collector = fleet.collector()
    first = fleet.central()
    fleet.send(50)
    fleet.assert_stored()
    fleet.assert_released()
    first.kill()
    second = fleet.central()
    wait_for(lambda: "another central has stored it" in second.messages())
    assert not nodes_of(second)
    said = run(FASTLOG, "stats", "--data-dir", second.data)
    assert "another central has stored them in files of its own: 1;" in said
    fleet.hang_up()
    fleet.send_to(collector, 20)
    first.start()
    fleet.assert_stored()
    assert second.stored() == 0
    first.kill()
    third = fleet.central(f"{fleet.url}&take_over=yes")
    fleet.send_to(collector, 30)
    # The collector's journal still has all of it.
    wait_for(lambda: third.stored() == fleet.sent["0-0"] + fleet.sent["0-1"], "taken over")
    assert not third.losses()


def test_a_restored_central_continues_where_the_backup_ends(fleet: Fleet) -> None:
    collector = fleet.collector()
    first = fleet.central()
    fleet.send_to(collector, 50)
    fleet.assert_stored()
    backup = fleet.home / "backup"
    run(FASTLOG, "backup", "--data-dir", first.data, backup)
    fleet.send_to(collector, 50)
    fleet.assert_stored()
    fleet.assert_released()
    first.kill()
    (fleet.home / "central1").mkdir()
    run(FASTLOG, "restore", backup, fleet.home / "central1" / "data")
    second = fleet.central()
    assert second.stored() == 50
    fleet.centrals.reverse()
    fleet.assert_stored()
    assert not second.losses()
