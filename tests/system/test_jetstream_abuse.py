"""Whoever may publish to the stream hurts neither the central nor the other nodes.

A collector and a central run; an attacker publishes what neither of them would.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conditions import wait_for
from nats_attacks import HEADERS, LARGE, RawClient, damaged, message, packet
from nats_servers import NatsCluster
from nats_stores import Fleet, connect, node_id, nodes_of, shared_cluster, source_pid
from postgres_stores import Database, database, postgres_servers

from fastlog.jetstream.node_state import read_state

__all__ = ["database", "postgres_servers", "shared_cluster"]

pytestmark = pytest.mark.long

NODES = [f"{number:032x}" for number in range(20)]
"""Of no collector."""
_numbers = itertools.count()


@pytest.fixture
def attacker(shared_cluster: NatsCluster) -> Iterator[RawClient]:
    with RawClient(shared_cluster.servers[0].port) as client:
        yield client


class Attacked(Fleet):
    """A collector and a central that work before, while and after somebody else publishes."""

    prefix = ""

    def begin(self) -> None:
        self.collector()
        self.central()
        self.send(20)
        self.assert_stored()
        self._source = source_pid(self.centrals[0])

    def assert_unharmed(self) -> None:
        """Check that all is stored, by the same process, and that nothing was a surprise."""
        self.send(20)
        self.assert_stored()
        self.assert_released()
        assert source_pid(self.centrals[0]) == self._source
        for server in (*self.collectors, *self.centrals):
            assert "Traceback" not in server.messages()


@pytest.fixture
def fleet(tmp_path: Path, shared_cluster: NatsCluster, database: Database) -> Iterator[Attacked]:
    prefix = f"a{next(_numbers)}"
    url = shared_cluster.url(prefix.upper(), prefix=prefix, replicas=1)
    with Attacked(tmp_path, url, database) as fleet:
        fleet.prefix = prefix
        fleet.begin()
        yield fleet


def test_messages_that_are_no_packets(fleet: Attacked, attacker: RawClient) -> None:
    """Among those of a collector, which publishes behind them, and on subjects of their own."""
    nodes = node_id(fleet.collectors[0]), NODES[0]
    for node in nodes:
        for data in damaged(node):
            attacker.publish(f"{fleet.prefix}.{node}", data)
        for headers in HEADERS:
            attacker.publish(f"{fleet.prefix}.{node}", b"x", headers)
    attacker.flush()
    fleet.assert_unharmed()
    count = len(damaged(NODES[0])) + len(HEADERS)
    wait_for(lambda: nodes_of(fleet.centrals[0])[NODES[0]]["damaged"] == count)
    assert nodes_of(fleet.centrals[0])[nodes[0]]["damaged"] > len(HEADERS)
    assert fleet.collectors[0].messages().count("is not of this node, or damaged") == 1


def test_blocks_that_no_fastlog_has_made(fleet: Attacked, attacker: RawClient) -> None:
    """They are in the ledger, each as one rejection, and the next block of their node is stored."""
    padding = b"\x02" + bytes(15)
    runs = [
        b"x" * 100,
        b"\x03" + b"\0" * 50,
        b"\x04" + bytes(15),
        b"\x01" + bytes(11) + b"\0\0\0\x02\xff\xff",
        b"\x01\xff" + bytes(30),
    ]
    for node, content in zip(NODES, runs, strict=False):
        attacker.publish(f"{fleet.prefix}.{node}", packet(node, content))
        behind = {"offset": 1000, "end": 2000, "index": 1, "frames": 0}
        attacker.publish(f"{fleet.prefix}.{node}", packet(node, padding, 1000, **behind))
    far = 1 << 61  # a jump; and back again, which is stored already
    jumping = NODES[10]
    for follows, offset, index in ((0, 0, 0), (100, far, far), (100, 200, 0), (far + 100, far, 5)):
        place = {"offset": offset, "end": offset + 100, "index": index, "frames": 0}
        attacker.publish(f"{fleet.prefix}.{jumping}", packet(jumping, padding, follows, **place))
    attacker.flush()
    central = fleet.centrals[0]
    cursors = {**dict.fromkeys(NODES[: len(runs)], 2000), jumping: far + 100}
    wait_for(
        lambda: (
            {node: each["cursor"] for node, each in nodes_of(central).items()}.items()
            >= cursors.items()
        ),
        "all of them are passed",
    )
    fleet.assert_unharmed()
    rejected = [row["reason"] for row in central.rejected()]
    assert len(rejected) == len(runs)
    assert all(reason.startswith("a block of the stream that no fastlog") for reason in rejected)


def test_subjects_states_and_announcements(fleet: Attacked, attacker: RawClient) -> None:
    prefix, own = fleet.prefix, node_id(fleet.collectors[0])
    names = ("/etc/passwd", "%2e%2e", "x" * 300, "\x1b[31m", "ünï", NODES[0].upper(), "AB" * 16)
    for name in names:
        attacker.publish(f"{prefix}.{name}", b"x")
    for subject in (f"{prefix}.\xff", f"{prefix}-stored.\xff", f"{prefix}-stored./etc/passwd"):
        attacker.publish(subject.encode("latin-1"), b"{}")
    states = (
        b"", b"x", b"[]", b"\xff", b"[" * 100_000, b'{"x":' + b"[" * 100_000,
        b'{"stored":"x"}', b'{"stored":-5}', b'{"stored":1e400}', b'{"stored":%d}' % LARGE,
        b'{"stored":%s}' % (b"9" * 5000), b'{"version":%s}' % (b"9" * 5000), b'{"version":99}',
        b'{"gap":{"at":-1,"seq":5}}', b'{"owner":5}', b'{"owner":"%s"}' % (b"x" * 100_000),
    )  # fmt: skip
    for node, state in zip(NODES, states, strict=False):
        attacker.publish(f"{prefix}-stored.{node}", state)
        attacker.publish(f"{prefix}.{node}", b"x")
    attacker.publish(f"{prefix}-stored.{own}", b'{"stored":"x"}')
    for number in range(20_000):
        attacker.publish(f"{prefix}-central", b"%032x" % number)
    attacker.publish(f"{prefix}-central", b"x" * 500_000)
    attacker.publish(f"{prefix}-central", b"\xff" * 32)
    attacker.flush()
    central = fleet.centrals[0]
    taken = {own, *NODES[: len(states)]} - {NODES[states.index(b'{"version":99}')]}
    # It has only a share of the nodes as long as it believes the announcements.
    wait_for(lambda: nodes_of(central).keys() == taken, "all nodes are taken", 120)
    with closing(connect(fleet.url)) as connection:
        for node in taken - {own}:
            state = read_state(connection, node).state
            assert (state.stored, state.gap) == (0, None)
    fleet.assert_unharmed()
    assert "a newer version of fastlog wrote it (version 99)" in central.messages()
    report = (central.data / "source.json").read_text()
    assert f"{len(names)} subjects of the stream belong to no node, such as " in report


def test_packets_that_never_end_take_no_memory(fleet: Attacked, attacker: RawClient) -> None:
    """Parts of 900 KB each: 120 MB that a packet would have if anybody waited for its end."""
    node, central = NODES[0], fleet.centrals[0]
    subject, place = f"{fleet.prefix}.{node}", (0, 0, 1000)
    before = peak_memory(source_pid(central))
    for number in range(130):
        attacker.publish(subject, message(node, place, 32 << 20, (number, 4096), bytes(900_000)))
        attacker.flush()
    wait_for(lambda: nodes_of(central).get(node, {}).get("damaged"), "the bound was reached")
    wait_for(lambda: nodes_of(central)[node]["pending"] == 0, "all was read")
    assert peak_memory(source_pid(central)) < before + (100 << 20)
    fleet.assert_unharmed()


def peak_memory(pid: int) -> int:
    """Return the largest resident set that a process has had, in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(text.partition("VmHWM:")[2].split()[0])
