"""The disk of a collector is full: nothing is lost, nothing comes twice, and it says so once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from faults import fill, small_disk, stopped
from nats_servers import NatsCluster
from nats_stores import Fleet, cluster, index_of
from postgres_stores import Database, database, postgres_servers
from servers import Server

__all__ = ["cluster", "database", "postgres_servers"]

pytestmark = pytest.mark.long

PAUSE = '[limits]\nlag = 0\n[journal]\nwhen_full = "pause"\nmemory = "1 MiB"\n'
FULL = "cannot write: disk full"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The disk of the collector's data: 16 MB."""
    (tmp_path / "collector0").mkdir()
    with small_disk(tmp_path / "collector0" / "data", "16m") as disk:
        yield disk


@pytest.fixture
def fleet(tmp_path: Path, disk: Path, cluster: NatsCluster, database: Database) -> Iterator[Fleet]:
    with Fleet(tmp_path, cluster.url(), database) as fleet:
        fleet.collector(config=PAUSE)
        fleet.central()
        fleet.send(50)
        fleet.assert_stored()
        yield fleet


def lines(server: Server, text: str) -> list[str]:
    return [line for line in server.messages().splitlines() if text in line]


def test_the_journal_fills_the_disk_while_the_cluster_is_away(
    fleet: Fleet, cluster: NatsCluster
) -> None:
    [collector] = fleet.collectors
    for server in cluster.servers:
        server.stop()

    def send() -> None:
        for _ in range(20):
            fleet.send(500, text="x" * 1000)  # 27 MB together

    sender = threading.Thread(target=send)
    sender.start()
    wait_for(lambda: (collector.status().get("failure") or "") == FULL, "the disk is full", 60)
    for server in cluster.servers:
        server.start()
    sender.join(120)
    assert not sender.is_alive()
    fleet.assert_stored()
    fleet.assert_released()
    assert collector.losses() == []
    assert len(lines(collector, FULL)) == 1
    wait_for(lambda: lines(collector, "takes blocks again"))
    assert "Traceback" not in collector.messages()


def test_somebody_else_fills_the_disk_while_the_cluster_is_there(fleet: Fleet, disk: Path) -> None:
    """What is published and stored makes room for what comes, as long as the disk stays full."""
    [collector] = fleet.collectors
    with stopped(collector.children()["worker nats"]):
        fleet.send(1500, text="x" * 1000)
        wait_for(lambda: index_of(collector) == sum(fleet.sent.values()), "journaled")
        ballast = fill(disk)
    for _ in range(4):
        fleet.send(500, text="x" * 1000)
        fleet.assert_stored()
    assert ballast.exists()
    ballast.unlink()
    fleet.send(50)
    fleet.assert_stored()
    fleet.assert_released()
    assert collector.losses() == []
    assert len(lines(collector, FULL)) <= 1
    assert "Traceback" not in collector.messages()
