"""Which nodes a central takes, and what it believes of what others publish."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from fastlog.errors import SinkError
from fastlog.jetstream.connection import Connection
from fastlog.jetstream.node_state import KnownState, NodeState
from fastlog.source import leases
from fastlog.source.leases import CENTRALS, LEASE, PRESENCE, READS, UNTAKEN, Leases

OWN, OTHER = "aa" * 16, "bb" * 16


class Cluster:
    """Leases whose states are in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor) -> None:
        self.now = 100.0
        self.states: dict[str, NodeState] = {}
        self.reads = 0
        monkeypatch.setattr(leases, "read_state", self._read)
        self.leases = Leases(cast(Connection, None), OWN, pool, lambda: self.now)

    def _read(self, _: Connection, node: str) -> KnownState:
        self.reads += 1
        if node == "newer":
            raise SinkError("a newer version of fastlog wrote it")
        return KnownState(self.states.get(node, NodeState()), 1)

    def announce(self, data: bytes) -> None:
        asyncio.run(self.leases._on_central(SimpleNamespace(data=data)))

    def publish(self, node: str, data: bytes) -> None:
        message = SimpleNamespace(subject=f"fastlog-stored.{node}", data=data)
        asyncio.run(self.leases._on_state(message))

    def claimable(self, *nodes: str) -> dict[str, bool]:
        return dict(self.leases.claimable(nodes))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with ThreadPoolExecutor(4) as pool:
        yield Cluster(monkeypatch, pool)


def test_centrals_share_by_number(cluster: Cluster) -> None:
    nodes = [str(number) for number in range(7)]
    assert cluster.leases.share(nodes) == 7
    cluster.announce(OTHER.encode())
    cluster.announce(OWN.encode())
    assert cluster.leases.share(nodes) == 4
    cluster.now += PRESENCE
    assert cluster.leases.share(nodes) == 7


def test_announcements_that_name_no_central_or_too_many_are_left_out(cluster: Cluster) -> None:
    for data in (b"", b"\xff" * 32, b"x" * 100_000, OTHER.upper().encode()):
        cluster.announce(data)
    assert cluster.leases.share(["a", "b"]) == 2
    for number in range(3 * CENTRALS):
        cluster.announce(b"%032x" % number)
    assert len(cluster.leases._centrals) == CENTRALS
    cluster.now += PRESENCE
    cluster.announce(OTHER.encode())
    assert cluster.leases.share(["a", "b"]) == 1


def test_a_node_whose_owner_is_silent_can_be_claimed(cluster: Cluster) -> None:
    cluster.states["a"] = NodeState(owner=OTHER)
    assert cluster.claimable("a", "b") == {"b": False}
    cluster.now += LEASE - 1
    cluster.publish("a", msgspec.json.encode(NodeState(owner=OTHER)))
    cluster.now += 1
    assert cluster.claimable("a") == {}
    cluster.now += LEASE
    assert cluster.claimable("a") == {"a": False}


def test_what_nobody_takes_for_long_is_known(cluster: Cluster) -> None:
    """Then it is claimed beyond the share: those that announced themselves do not take it."""
    assert cluster.claimable("a") == {"a": False}
    cluster.now += UNTAKEN
    assert cluster.claimable("a") == {"a": True}


def test_states_that_cannot_be_read_stop_nothing(cluster: Cluster) -> None:
    cluster.states["a"] = NodeState(owner=OTHER)
    assert cluster.claimable("newer", "a", "b") == {"newer": False, "b": False}
    for data in (b"", b"[" * 100_000, b'{"x":' + b"[" * 100_000, b'{"owner":5}'):
        cluster.publish("a", data)
    assert cluster.claimable("a") == {}


def test_what_is_kept_of_nodes_is_bounded(cluster: Cluster) -> None:
    """By the nodes of the stream; and one look reads the states of some only."""
    nodes = [str(number) for number in range(3 * READS)]
    assert len(cluster.claimable(*nodes)) == cluster.reads == READS
    assert len(cluster.claimable(*nodes)) == cluster.reads == 2 * READS
    for number in range(1000):
        cluster.publish(f"unknown{number}", msgspec.json.encode(NodeState()))
    assert len(cluster.leases._owners) == 2 * READS
    cluster.leases.know(["0", "1"])
    assert len(cluster.leases._owners) <= 2


def test_other_centrals_are_those_that_have_renewed_the_state_of_a_node(cluster: Cluster) -> None:
    cluster.states = {"1": NodeState(owner=OTHER), "2": NodeState(owner=OWN), "3": NodeState()}
    cluster.claimable("1", "2", "3")
    assert cluster.leases.others(["1", "2", "3", "never heard of"]) == {OTHER}
    assert cluster.leases.others(["2", "3"]) == set()
    cluster.now += LEASE
    assert cluster.leases.others(["1"]) == set()
    cluster.publish("1", msgspec.json.encode(NodeState(owner=OTHER)))
    assert cluster.leases.others(["1"]) == {OTHER}
