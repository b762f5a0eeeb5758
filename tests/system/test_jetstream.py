"""Collectors → a JetStream cluster → a central → PostgreSQL: nothing lost, nothing twice, in order.

All of it is real: stock clients, servers, a cluster of three, a database.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from cutting_proxy import Proxy
from nats_servers import NatsCluster
from nats_stores import (
    Fleet,
    cluster,
    connect,
    node_id,
    nodes_of,
    position_of,
    shared_cluster,
    source_pid,
)
from postgres_stores import Database, database, postgres_servers
from servers import FASTLOG, kill, restarted

from fastlog.jetstream import streams

__all__ = ["cluster", "database", "postgres_servers", "shared_cluster"]

pytestmark = pytest.mark.long

_numbers = itertools.count()


@pytest.fixture
def fleet(tmp_path: Path, shared_cluster: NatsCluster, database: Database) -> Iterator[Fleet]:
    """On the shared cluster, with streams of its own."""
    number = next(_numbers)
    with Fleet(tmp_path, shared_cluster.url(f"S{number}", prefix=f"p{number}"), database) as fleet:
        yield fleet


@pytest.fixture
def own_fleet(tmp_path: Path, cluster: NatsCluster, database: Database) -> Iterator[Fleet]:
    """On a cluster that this test may kill."""
    with Fleet(tmp_path, cluster.url(), database) as fleet:
        yield fleet


def test_everything_arrives_once_and_leaves_the_stream(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = fleet.collector(), fleet.collector()
    fleet.send(300)
    fleet.send(3, clients=1, text=os.urandom(400_000).hex())  # such blocks are cut
    fleet.await_journaled()
    wait_for(lambda: all(position_of(each).get("cursor", 0) > 0 for each in (first, second)))
    assert [position_of(each)["durable"] for each in (first, second)] == [0, 0]
    central = fleet.central()
    fleet.assert_stored()
    fleet.assert_released()
    nodes = sorted(map(node_id, (first, second)))
    wait_for(lambda: sorted(nodes_of(central)) == nodes)
    # What is stored leaves the stream, but for the last message of each node.
    connection = connect(fleet.url)
    try:
        wait_for(
            lambda: streams.read_info(connection, connection.target.stream).state.messages == 2
        )
    finally:
        connection.close()
    shown = run(FASTLOG, "stats", "--data-dir", central.data, "--store", fleet.database.url())
    assert [line.split()[0] for line in shown.splitlines() if line.endswith("none")] == [
        "rejected:", "lost:", *nodes,
    ]  # fmt: skip
    monkeypatch.setenv("FASTLOG_SINK", fleet.database.url())
    config = central.home / "fastlog.toml"
    checked = run(FASTLOG, "check", "--config", config, "--data-dir", central.data)
    assert "ok      source: takes 2 nodes from nats://" in checked


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    return done.stdout + done.stderr


def test_any_process_is_killed_and_the_database_is_away(fleet: Fleet) -> None:
    """The outage is longer than the dedup window of the stream, a second."""
    collector, central = fleet.collector(), fleet.central()
    fleet.send(50)
    fleet.assert_stored()
    kill(collector.children()["worker nats"])
    fleet.send(50)
    kill(source_pid(central))
    fleet.send(50)
    with away(fleet.database):
        fleet.send(50)
        fleet.await_journaled()  # a stock client loses what a killed server has not journaled
        fleet.hang_up()
        restarted(collector, "everything")
        fleet.send(50)
        fleet.await_journaled()
        total = sum(fleet.sent.values())
        wait_for(lambda: position_of(collector).get("index") == total, "published")
    fleet.assert_stored()
    restarted(central, "everything")
    fleet.send(50)
    fleet.assert_stored()
    fleet.assert_released()


@contextlib.contextmanager
def away(database: Database) -> Iterator[None]:
    """Make a database refuse connections."""
    allow = f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS"
    database.server.execute(f"{allow} false")
    database.server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
    )
    yield
    database.server.execute(f"{allow} true")


def test_two_centrals_share_the_nodes_and_one_takes_over(fleet: Fleet) -> None:
    for _ in range(2):
        fleet.collector()
    first = fleet.central()
    fleet.send(50)
    fleet.assert_stored()
    second = fleet.central()
    wait_for(lambda: len(nodes_of(first)) == len(nodes_of(second)) == 1)
    fleet.send(50)
    fleet.assert_stored()
    first.kill()
    fleet.send(50)
    fleet.assert_stored()
    wait_for(lambda: len(nodes_of(second)) == 2)


def test_the_leader_is_killed_and_then_two_of_three(own_fleet: Fleet, cluster: NatsCluster) -> None:
    own_fleet.collector()
    own_fleet.central()
    own_fleet.send(50)
    own_fleet.assert_stored()
    leader = cluster.leader()
    leader.stop()
    own_fleet.send(50)
    own_fleet.assert_stored()
    leader.start()
    wait_for(cluster.is_ready)
    for server in cluster.servers[:2]:
        server.stop()
    own_fleet.send(50)
    own_fleet.await_journaled()
    for server in cluster.servers[:2]:
        server.start()
    own_fleet.assert_stored()
    own_fleet.assert_released()


def test_the_network_to_the_cluster_is_cut(
    fleet: Fleet, shared_cluster: NatsCluster, database: Database
) -> None:
    """Collector and central reach the cluster over connections that are reset all the time."""
    sizes = [4000 + 777 * number for number in range(12)]  # what is sent is compressed
    with Proxy(shared_cluster.servers[0].port, sizes) as proxy:
        place = f"nats://127.0.0.1:{proxy.port}/"
        url = re.sub("nats://[^/]*/", place, fleet.url)
        fleet.collector(url)
        fleet.central(url)
        for _ in range(10):
            fleet.send(50, clients=1, text=os.urandom(1000).hex())
            fleet.await_journaled()
        fleet.assert_stored()
        assert proxy.cuts_made


def test_the_stream_loses_what_it_had_acknowledged(fleet: Fleet) -> None:
    """First a message in the middle, then all of them: the journal still has what is missing."""
    collector = fleet.collector()
    connection = connect(fleet.url)
    target = connection.target
    sequences = []
    for _ in range(4):
        fleet.send(50, clients=1)
        fleet.await_journaled()
        wait_for(lambda: position_of(collector).get("index") == fleet.sent["0-0"], "published")
        last = connection.last(target.stream, target.blocks_of(node_id(collector)))
        assert last is not None
        sequences.append(last.seq)
    question = {"seq": sequences[1], "no_erase": True}
    connection.ask(f"STREAM.MSG.DELETE.{target.stream}", question)
    central = fleet.central()
    fleet.assert_stored()
    fleet.assert_released()
    assert "the central misses blocks from offset" in collector.messages()
    wait_for(lambda: nodes_of(central)[node_id(collector)]["gap"] is None)
    kill(source_pid(central))
    central.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]  # it starts no other
    fleet.send(50, clients=1)
    fleet.await_journaled()
    wait_for(lambda: position_of(collector).get("index") == fleet.sent["0-0"], "published")
    connection.ask(f"STREAM.DELETE.{target.stream}")
    connection.close()
    fleet.send(50, clients=1)
    central.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
    fleet.assert_stored()
    fleet.assert_released()


@pytest.mark.soak
def test_random_faults_for_minutes(own_fleet: Fleet, cluster: NatsCluster) -> None:
    """Any process is killed, stopped or reloaded, in any order, under load."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(2):
        own_fleet.collector()
        own_fleet.central()

    def restart_cluster_server() -> None:
        server = dice.choice(cluster.servers)
        server.stop()
        own_fleet.send(50)
        server.start()
        wait_for(cluster.is_ready)

    def flip_a_bit() -> None:
        server = dice.choice(cluster.servers)
        server.stop()
        files = [each for each in server.store.rglob("*.blk") if each.stat().st_size]
        if files:
            with dice.choice(files).open("r+b") as file:
                content = bytearray(file.read())
                content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
                file.seek(0)
                file.write(content)
        own_fleet.send(50)
        server.start()
        wait_for(cluster.is_ready)

    def restart_collector() -> None:
        own_fleet.await_journaled()
        own_fleet.hang_up()
        restarted(dice.choice(own_fleet.collectors), dice.choice(["everything", "stop"]))

    def restart_central() -> None:
        restarted(dice.choice(own_fleet.centrals), dice.choice(["everything", "stop"]))

    def lose_database() -> None:
        with away(own_fleet.database):
            own_fleet.send(100)
            own_fleet.await_journaled()

    def reload_one() -> None:
        dice.choice([*own_fleet.collectors, *own_fleet.centrals]).reload()

    faults = [
        flip_a_bit,
        restart_cluster_server, restart_collector, restart_central, lose_database, reload_one,
    ]  # fmt: skip
    deadline = time.monotonic() + 60 * float(os.environ.get("SOAK_MINUTES", "10"))
    while time.monotonic() < deadline:
        own_fleet.send(dice.randrange(1, 300))
        dice.choice(faults)()
        if dice.random() < 0.3:
            own_fleet.assert_stored(180)
    own_fleet.assert_stored(180)
    own_fleet.assert_released()
