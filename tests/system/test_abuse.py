"""Thousands of hostile connections: what they cost, and how they affect other clients.

In each case a client logs numbered records before, meanwhile and after. All of them are stored,
each once and in order; the receiver's memory stays within a stated bound; what was rejected is
counted the same everywhere; and afterwards the receiver has no more open descriptors than before.
"""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conditions import wait_for
from connections import (
    MIB,
    RESET,
    Crowd,
    Watch,
    cpu_of,
    descriptors_of,
    many_descriptors,
)
from faults import numbers
from networks import in_a_network_of_its_own
from senders import Sender, stock_frame
from servers import Server

MANY = 10_000
KIB = 1 << 10
HELLO = 5.0
"""Seconds without a byte after which a connection may be closed to make room."""
ANNOUNCED = MIB.to_bytes(4, "big")

UNUSED = "never sent a byte; closed to make room"
NO_MEMORY = "no memory for partial frames"
NO_DESCRIPTOR = "no file descriptor left"


class Scene:
    """A server with one well-behaved client."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.receiver = server.children()["receiver"]
        self.good = Sender("good", server)
        self.let_good_log()
        self.memory = Watch(self.receiver)
        self.descriptors = descriptors_of(self.receiver)

    def let_good_log(self) -> None:
        goal = self.server.stored() + 100
        wait_for(lambda: self.server.stored() >= goal, "the good client's records are stored")

    def rejected(self) -> dict[str, int]:
        return dict(self.server.status()["rejected"])

    def connections(self) -> int:
        return int(self.server.status()["connections"])

    def end(self) -> None:
        """Check the server after all other clients have disconnected."""
        wait_for(lambda: self.connections() == 1, "only the good client is connected")
        wait_for(lambda: descriptors_of(self.receiver) <= self.descriptors)
        self.let_good_log()
        assert self.server.children()["receiver"] == self.receiver, "it is the same process"
        self.good.stop()
        wait_for(lambda: self.connections() == 0)
        assert self.server.stop() == 0
        assert numbers(self.server.records())["good"] == list(range(self.good.sent))
        in_ledger = sum(row["count"] for row in self.server.rejected())
        assert in_ledger == sum(self.rejected().values())
        assert "Traceback" not in self.server.messages()
        assert len(self.server.messages().splitlines()) < 200
        assert len(self.server.rejected()) < 500


@contextmanager
def scene(home: Path, crowd: int, config: str = "") -> Iterator[Scene]:
    with many_descriptors(crowd), Server(home, config=config) as server:
        yield Scene(server)


@pytest.mark.long
def test_ten_thousand_silent_connections_keep_no_client_out(tmp_path: Path) -> None:
    with scene(tmp_path, MANY) as s, Crowd(s.server.port, "127.0.0.2") as crowd:
        crowd.grow(MANY - 1)
        wait_for(lambda: s.connections() == MANY)
        full_since = time.monotonic()
        s.let_good_log()
        # The allocator of Python grows by a MiB at a time: by up to three on a loaded machine,
        # whatever the connections take.
        wait_for(lambda: s.memory.is_below(300 * MANY + 4 * MIB), "they take little memory")
        wait_for(lambda: time.monotonic() > full_since + HELLO)
        cpu = cpu_of(s.receiver)
        for number in range(200):
            s.server.connect(stock_frame(client="new", number=number)).close()
        wait_for(lambda: s.server.stored() > 200 and "new" in numbers(s.server.records()))
        # Each is of another connection, so they may arrive in another order.
        wait_for(lambda: sorted(numbers(s.server.records())["new"]) == list(range(200)))
        assert set(wait_for(s.rejected)) == {UNUSED}
        assert s.rejected()[UNUSED] <= 200
        assert cpu_of(s.receiver) - cpu < 10
        crowd.close()
        s.end()


def test_ten_thousand_partial_frames_stay_within_the_memory_limit(tmp_path: Path) -> None:
    with scene(tmp_path, MANY) as s, Crowd(s.server.port, "127.0.0.3") as crowd:
        modest = stock_frame("x" * (20 * KIB), client="modest", number=0)
        crowd.grow(MANY - 2)
        crowd.send(ANNOUNCED)
        slow = s.server.connect(modest[: len(modest) // 2])
        for _ in range(512 // 64):  # 64 MiB of memory are 6 KiB for each
            crowd.send(bytes(64 * KIB))
            s.memory.look()
        wait_for(lambda: s.rejected().get(NO_MEMORY, 0) > MANY * 0.9)
        s.let_good_log()
        assert s.memory.was_below(64 * MIB + 8 * MIB)
        slow.sendall(modest[len(modest) // 2 :])
        wait_for(lambda: "modest" in numbers(s.server.records()), "a modest frame is stored")
        slow.close()
        crowd.close()
        wait_for(lambda: s.connections() == 1)
        assert set(s.rejected()) <= {NO_MEMORY, "truncated"}
        assert sum(s.rejected().values()) == MANY - 2
        wait_for(lambda: s.memory.is_below(8 * MIB), "the memory is released")
        s.end()


def test_twenty_thousand_short_connections_use_little_time_and_no_memory(tmp_path: Path) -> None:
    storm = 20_000
    with scene(tmp_path, 100) as s:
        cpu = cpu_of(s.receiver)
        partial_frames = 0
        for n in range(storm):
            # Addresses rotate: a port that was used is in TIME-WAIT for a while.
            client = Crowd(s.server.port, f"127.0.0.{4 + n % 4}").one()
            if n % 4 == 1:
                partial_frames += client.send(b"\0\0") > 0
            if n % 3 == 0:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
        wait_for(lambda: s.server.status()["accepted"] == storm + 1)
        wait_for(lambda: s.connections() == 1)
        assert s.rejected() == {"truncated": partial_frames}
        assert s.memory.was_below(4 * MIB)
        assert cpu_of(s.receiver) - cpu < 20, "of processor time: measured are 0.3"
        s.end()


def test_without_descriptors_existing_connections_work_and_the_server_recovers(
    tmp_path: Path,
) -> None:
    with scene(tmp_path, 500) as s, Crowd(s.server.port, "127.0.0.8") as crowd:
        spoken = [s.server.connect(b"\0") for _ in range(20)]
        wait_for(lambda: s.connections() == 21)
        before = resource.prlimit(s.receiver, resource.RLIMIT_NOFILE)
        few = descriptors_of(s.receiver)
        resource.prlimit(s.receiver, resource.RLIMIT_NOFILE, (few, before[1]))
        cpu, since = cpu_of(s.receiver), time.monotonic()
        crowd.grow(30)
        s.let_good_log()
        wait_for(lambda: time.monotonic() > since + 3)
        assert cpu_of(s.receiver) - cpu < (time.monotonic() - since) / 2, "the loop is busy"
        resource.prlimit(s.receiver, resource.RLIMIT_NOFILE, before)
        late = s.server.connect(stock_frame(client="late", number=0))
        wait_for(lambda: "late" in numbers(s.server.records()), "the server recovers")
        wait_for(lambda: s.rejected().get(NO_DESCRIPTOR, 0) >= 10)
        assert set(s.rejected()) == {NO_DESCRIPTOR}
        for client in (late, *spoken):
            client.close()
        crowd.close()
        s.end()


def test_one_host_cannot_use_all_connections(tmp_path: Path) -> None:
    def body() -> None:
        listen = ["tcp://127.0.0.1:0", "tcp://10.1.0.1:0"]
        config = "[limits]\nconnections = 100\n"
        with Server(tmp_path, listen=listen, config=config) as server:
            there = ("10.1.0.1", int(server.urls()[1].rpartition(":")[2]))
            crowd = [
                socket.create_connection(there, 30, source_address=("10.1.2.3", 0))
                for _ in range(200)
            ]
            reason = "too many connections from this host"
            wait_for(lambda: server.status().get("rejected") == {reason: 150})
            others = [
                socket.create_connection(there, 30, source_address=("10.1.2.4", 0)),
                *(server.connect() for _ in range(49)),
            ]
            for client in others:
                client.sendall(stock_frame("served"))
            server.wait_stored(50)
            for client in (*crowd, *others):
                client.close()
            wait_for(lambda: server.status()["connections"] == 0)
            assert sum(row["count"] for row in server.rejected()) == 150
            assert {row["reason"] for row in server.rejected()} == {reason}

    in_a_network_of_its_own(body, ["10.1.0.0/16"])


@pytest.mark.soak
def test_ten_thousand_connections_with_a_byte_per_second_are_closed_in_time(tmp_path: Path) -> None:
    with scene(tmp_path, MANY) as s, Crowd(s.server.port, "127.0.0.9") as crowd:
        crowd.grow(MANY - 1)
        started = time.monotonic()
        for second, byte in enumerate(ANNOUNCED + bytes(60)):  # the length field byte by byte too
            crowd.send(bytes([byte]))
            wait_for(lambda second=second: time.monotonic() > started + second + 1)
            s.memory.look()
            if not crowd.sockets:
                break
        assert 30 < time.monotonic() - started < 50
        wait_for(lambda: s.rejected() == {"truncated": MANY - 1})
        assert s.memory.was_below(600 * MANY)
        s.end()
