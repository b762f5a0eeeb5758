"""Collectors → a JetStream cluster → a central → PostgreSQL: nothing lost, nothing twice, in order.

All of it is real: stock clients, servers, a cluster of three, a database.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from nats_servers import NatsCluster
from nats_stores import (
    Fleet,
    cluster,
    connect,
    node_id,
    nodes_of,
    position_of,
    shared_cluster,
)
from postgres_stores import Database, database, postgres_servers
from servers import kill, processes_of, restarted

from fastlog.jetstream import streams

__all__ = ["cluster", "database", "postgres_servers", "shared_cluster"]

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


def test_two_collectors_and_a_central(fleet: Fleet) -> None:
    fleet.collector()
    fleet.collector()
    central = fleet.central()
    fleet.send(500)
    fleet.assert_stored()
    fleet.assert_released()
    nodes = {node_id(each) for each in fleet.collectors}
    wait_for(lambda: nodes_of(central).keys() == nodes)
    assert [each["gap"] for each in nodes_of(central).values()] == [None, None]
    # What is stored leaves the stream, but for the last message of each node.
    connection = connect(fleet.url)
    try:
        wait_for(
            lambda: streams.read_info(connection, connection.target.stream).state.messages == 2
        )
    finally:
        connection.close()


def test_blocks_wait_in_stream_and_journal_while_there_is_no_central(fleet: Fleet) -> None:
    collector = fleet.collector()
    fleet.send(300)
    fleet.await_journaled()
    wait_for(lambda: position_of(collector).get("cursor", 0) > 0, "published")
    assert position_of(collector)["durable"] == 0
    fleet.central()
    fleet.assert_stored()
    fleet.assert_released()


def test_large_blocks_are_cut_into_parts(fleet: Fleet) -> None:
    fleet.collector()
    fleet.central()
    fleet.send(8, clients=1, text="y" * 700_000)
    fleet.assert_stored()


@pytest.mark.parametrize("how", ["everything", "worker", "stop"])
def test_a_collector_that_is_killed_or_stopped_continues(fleet: Fleet, how: str) -> None:
    collector = fleet.collector()
    fleet.central()
    fleet.send()
    fleet.await_journaled()  # a stock client loses what a killed server has not journaled
    fleet.hang_up()
    if how == "worker":
        kill(collector.children()["worker nats"])
    else:
        restarted(collector, how)
    fleet.send()
    fleet.assert_stored()
    fleet.assert_released()


def test_a_collector_is_reloaded_under_load(fleet: Fleet) -> None:
    collector = fleet.collector()
    central = fleet.central()
    for _ in range(3):
        fleet.send(100)
        collector.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        central.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        fleet.send(100)
        count = collector.messages().count("reload: done")
        wait_for(lambda count=count: collector.messages().count("reload: done") > count)  # type: ignore[misc]
    fleet.assert_stored()


def source_pid(server: object) -> int:
    return next(pid for pid, role in processes_of(server.data) if role == "source")  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["source", "everything"])
def test_a_central_that_is_killed_continues(fleet: Fleet, how: str) -> None:
    fleet.collector()
    central = fleet.central()
    fleet.send()
    wait_for(lambda: fleet.stored() > 0)
    if how == "source":
        kill(source_pid(central))
    else:
        restarted(central, how)
    fleet.send()
    fleet.assert_stored()
    fleet.assert_released()


def test_two_centrals_share_the_nodes_and_one_takes_over(fleet: Fleet) -> None:
    for _ in range(3):
        fleet.collector()
    first = fleet.central()
    fleet.send(100)
    fleet.assert_stored()
    second = fleet.central()
    wait_for(lambda: len(nodes_of(first)) + len(nodes_of(second)) == 3 and nodes_of(second))
    fleet.send(100)
    fleet.assert_stored()
    first.kill()
    fleet.send(100)
    fleet.assert_stored()
    wait_for(lambda: len(nodes_of(second)) == 3)


def test_the_leader_is_killed(own_fleet: Fleet, cluster: NatsCluster) -> None:
    own_fleet.collector()
    own_fleet.central()
    own_fleet.send()
    wait_for(lambda: own_fleet.stored() > 0)
    leader = cluster.leader()
    leader.stop()
    own_fleet.send()
    own_fleet.assert_stored()
    leader.start()
    wait_for(cluster.is_ready)
    own_fleet.send()
    own_fleet.assert_stored()
    own_fleet.assert_released()


def test_two_of_three_are_killed_and_come_back(own_fleet: Fleet, cluster: NatsCluster) -> None:
    own_fleet.collector()
    own_fleet.central()
    own_fleet.send()
    wait_for(lambda: own_fleet.stored() > 0)
    for server in cluster.servers[:2]:
        server.stop()
    own_fleet.send()
    own_fleet.await_journaled()
    for server in cluster.servers[:2]:
        server.start()
    own_fleet.assert_stored()
    own_fleet.assert_released()


def test_the_cluster_loses_everything_it_had_acknowledged(
    own_fleet: Fleet, cluster: NatsCluster
) -> None:
    """The stream is made anew: the journal still has what was not stored."""
    collector = own_fleet.collector()
    own_fleet.send()
    own_fleet.await_journaled()
    wait_for(lambda: position_of(collector).get("cursor", 0) > 0, "published")
    connection = connect(own_fleet.url)
    connection.ask("STREAM.DELETE.LOGS")
    connection.close()
    own_fleet.send()
    own_fleet.central()
    own_fleet.assert_stored()
    own_fleet.assert_released()


def test_a_gap_is_reported_and_filled_from_the_journal(fleet: Fleet) -> None:
    """Messages in the middle are lost, which JetStream had acknowledged."""
    collector = fleet.collector()
    subject_seqs = []
    connection = connect(fleet.url)
    target = connection.target
    for _ in range(4):
        fleet.send(50, clients=1)
        fleet.await_journaled()
        wait_for(lambda: position_of(collector).get("index") == fleet.sent["0-0"], "published")
        last = connection.last(target.stream, target.blocks_of(node_id(collector)))
        assert last is not None
        subject_seqs.append(last.seq)
    lost = subject_seqs[1]
    connection.ask(f"STREAM.MSG.DELETE.{target.stream}", {"seq": lost, "no_erase": True})
    connection.close()
    central = fleet.central()
    fleet.assert_stored()
    fleet.assert_released()
    assert "the central misses blocks from offset" in collector.messages()
    wait_for(lambda: nodes_of(central)[node_id(collector)]["gap"] is None)


def test_the_database_is_away_for_longer_than_the_dedup_window(
    fleet: Fleet, database: Database
) -> None:
    collector = fleet.collector()
    fleet.central()
    fleet.send()
    fleet.assert_stored()
    fleet.assert_released()
    rename = "ALTER DATABASE {} RENAME TO {}"
    away = f"{database.name}_away"
    _end_sessions(database)
    database.server.execute(rename.format(database.name, away))
    before = position_of(collector)["durable"]
    for _ in range(3):
        fleet.send()
        fleet.await_journaled()
        index = sum(fleet.sent.values())
        wait_for(lambda index=index: position_of(collector).get("index") == index, "published")  # type: ignore[misc]
    assert position_of(collector)["durable"] == before
    database.server.execute(rename.format(away, database.name))
    fleet.assert_stored()
    fleet.assert_released()


def _end_sessions(database: Database) -> None:
    database.server.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
    database.server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
    )
    database.server.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
