"""Fastlog clients in the loop, without a journal: the test says what is journaled and durable."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conditions import wait_for
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_client import ACK, ERROR, HELLO, batch, bye, frame, gap

from fastlog.block import Kind, Run, frames, runs
from fastlog.core import Ended, ExportedConnection, Hello, Loop
from fastlog.errors import LoopError
from fastlog.protocol.frames import read_gap

ME, KEY = b"m" * 16, b"a key..."
FULL = (6, 0, 0)
"""The journal takes nothing; come again; nothing is accepted."""


class Server:
    """A loop that admits everybody, and a journal that the test plays."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        """Of the blocks that the journal has taken."""
        self._block: list[Run] = []
        self.end = 0
        self.committed = 0
        self.ended: list[Ended] = []
        self.loop = Loop(self._take, coalesce=0, keepalive=0.1, handshake=0.5)

    def _take(self, block: bytes, _: int) -> None:
        self._block += runs(memoryview(block))

    def turn(self, *, takes: bool = True) -> None:
        """One turn, after which the journal takes what has come, or rejects it."""
        self.loop.poll(0.001)
        for event in self.loop.events():
            if isinstance(event, Hello):
                client = event.payload[4:20]
                self.loop.admit(event.conn, client, KEY, 1, self.committed, b"W" * 8)
            elif isinstance(event, Ended):
                self.ended.append(event)
                if event.committed is not None:
                    self.committed = event.committed
        if takes:
            self.end += 1
            self.runs += self._block
            self.loop.journaled(self.end)
        else:
            self.loop.discarded()
        self._block = []

    def sequences(self) -> list[int]:
        """What the journal has, in its order."""
        found: list[int] = []
        for run in self.runs:
            assert run.stamp is not None
            assert (run.stamp.client, run.stamp.key) == (ME, KEY)
            if run.kind is Kind.GAP:
                (body,) = frames(run)
                told = read_gap(body)
                assert told.first == run.stamp.sequence
                found += range(told.first, told.last + 1)
            else:
                for number, body in enumerate(frames(run), run.stamp.sequence):
                    assert body == b"%d" % number
                    found.append(number)
        return found


class Client:
    """The other end, which never blocks."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.socket.setblocking(False)
        self._unsent = self._unread = b""
        self.welcomed = self.over = False
        self.rejected: tuple[int, ...] = ()
        """Code, action and sequence of the ERROR that came."""
        self.acked = 0

    def send(self, data: bytes, at_most: int | None = None) -> None:
        """Sends some of it; the rest with the next call."""
        self._unsent += data
        try:
            self._unsent = self._unsent[self.socket.send(self._unsent[:at_most]) :]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent = b""

    @property
    def busy(self) -> bool:
        return bool(self._unsent)

    def read(self) -> None:
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.over = not data
        self._unread += data
        if not self.welcomed and self._unread.startswith(b"W" * 8):
            self.welcomed, self._unread = True, self._unread[8:]
        while len(self._unread) >= 8:
            _, kind, _, length = struct.unpack_from(">2sBBI", self._unread)
            if len(self._unread) < 8 + length:
                break
            payload, self._unread = self._unread[8 : 8 + length], self._unread[8 + length :]
            if kind == ACK:
                self.acked = struct.unpack_from(">Q", payload)[0]
            if kind == ERROR:
                self.rejected = struct.unpack_from(">HBQ", payload)

    @property
    def is_welcome(self) -> bool:
        self.read()
        return self.welcomed


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.loop.close()


def some(first: int, count: int) -> bytes:
    return batch(first, [b"%d" % number for number in range(first, first + count)])


steps = st.lists(
    st.tuples(
        st.sampled_from(["batch", "gap", "again", "cut"]),
        st.integers(1, 40),  # records
        st.sampled_from([1, 7, 30, 1000, 1 << 20]),  # bytes that are sent at a time
        st.integers(0, 3),  # turns
        st.sampled_from(["take", "take", "take", "reject"]),
        st.booleans(),  # whether what the journal has is durable then
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_whatever_happens_the_journal_has_each_sequence_once_and_in_order(
    script: list[tuple[str, int, int, int, str, bool]],
) -> None:
    """And no acknowledgement is ahead of what is durable."""
    with serving() as server:
        client = _connected(server)
        sent = durable = 0
        for what, count, chunk, turns, journal, syncs in script:
            if what == "cut" or client.rejected or client.over:
                client.socket.close()
                durable = _settle(server, durable)
                client = _connected(server)
                sent = server.committed
            elif what == "batch":
                client.send(some(sent + 1, count), chunk)
                sent += count
            elif what == "gap":
                client.send(gap(sent + 1, sent + count), chunk)
                sent += count
            elif sent:
                client.send(some(max(1, sent - count), min(sent, count)), chunk)
            for _ in range(turns):
                client.send(b"", chunk)
                server.turn(takes=journal == "take")
            if syncs:
                server.loop.durable(server.end)
                durable = max([durable, *server.sequences()])
            client.read()
            assert client.acked <= durable
        client.socket.close()
        _settle(server, durable)
        found = server.sequences()
        assert found == list(range(1, len(found) + 1))
        assert server.committed == len(found)
        assert len(found) >= durable


def _connected(server: Server) -> Client:
    ours, theirs = socket.socketpair()
    server.loop.add(ours.detach(), "unix")
    client = Client(theirs)
    client.send(frame(HELLO, struct.pack(">BBH16s", 1, 1, 1, ME) + bytes(65)))
    wait_for(lambda: server.turn() or client.is_welcome)
    return client


def _settle(server: Server, durable: int) -> int:
    """Until the loop has said what became of the connection."""
    before = len(server.ended)

    def over() -> bool:
        server.turn()
        server.loop.durable(server.end)
        return len(server.ended) > before

    wait_for(over)
    return max([durable, *server.sequences()])


def test_an_acknowledgement_waits_for_the_journal() -> None:
    with serving() as server:
        client = _connected(server)
        client.send(some(1, 3))
        wait_for(lambda: server.turn() or server.runs)
        server.loop.durable(server.end - 1)
        client.read()
        assert client.acked == 0
        server.loop.durable(server.end)
        client.read()
        assert client.acked == 3


def test_what_the_journal_refuses_is_taken_back_and_the_client_told() -> None:
    with serving() as server:
        client = _connected(server)
        client.send(some(1, 3))
        wait_for(lambda: server.turn(takes=False) or client.read() or client.over)
        assert (client.rejected, client.acked) == (FULL, 0)
        client.socket.close()
        _settle(server, 0)
        assert (server.committed, server.sequences()) == (0, [])


def test_a_bye_ends_the_connection_once_all_is_acknowledged() -> None:
    with serving() as server:
        client = _connected(server)
        client.send(some(1, 3) + bye(3))
        wait_for(lambda: server.turn() or server.runs)
        server.turn()
        client.read()
        assert not client.over
        server.loop.durable(server.end)
        wait_for(lambda: server.turn() or client.read() or client.over)
        assert client.acked == 3
        client.socket.close()
        _settle(server, 0)
        assert server.ended[-1] == Ended(server.ended[-1].conn, 3, True)


def test_a_bye_that_was_not_answered_does_not_make_a_client_forgotten() -> None:
    with serving() as server:
        client = _connected(server)
        client.send(some(1, 3) + bye(3))
        wait_for(lambda: server.turn() or server.runs)
        client.socket.close()
        _settle(server, 0)
        assert server.ended[-1] == Ended(server.ended[-1].conn, 3, False)


def test_a_paused_loop_still_sends_keepalives_and_acknowledgements() -> None:
    with serving() as server:
        client = _connected(server)
        client.send(some(1, 3))
        wait_for(lambda: server.turn() or server.runs)
        server.loop.pause(True)
        server.loop.durable(server.end)
        client.read()
        assert client.acked == 3
        acks = server.loop.stats().acks
        wait_for(lambda: server.turn() or server.loop.stats().acks > acks)


@pytest.mark.parametrize("cut", [0, 1, 8, 9, 20, 40])
def test_a_client_goes_on_in_another_loop_where_it_was(cut: int) -> None:
    data = some(4, 5)
    with serving() as old, serving() as new:
        client = _connected(old)
        client.send(some(1, 3) + data[:cut])
        wait_for(lambda: old.turn() or (old.runs and not client.busy))
        old.turn()
        old.loop.durable(old.end)
        (handed,) = old.loop.export()
        taken = new.loop.take(handed._replace(fd=os.dup(handed.fd)))
        assert taken is not None
        assert taken[1:] == (ME, KEY)
        assert new.loop.committed(taken[0]) == 3
        client.send(data[cut:])
        wait_for(lambda: new.turn() or new.runs)
        new.loop.durable(new.end)
        client.read()
        assert client.acked == 8
        assert old.sequences() + new.sequences() == list(range(1, 9))


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"\x02\x01\x00",
        b"\x01\x01\x00\x00",
        b"\x03\x01\x00\x00",
        b"\x02\x09\x00\x00",
        b"\x02\x01\x05\x00",
        b"\x02\x00\x00\x00" + bytes(2),
        b"\x02\x02\x00\x00" + bytes(41),
        b"\x02\x02\x00\x00" + bytes(40) + b"\xff\xff" + bytes(9),
    ],
)
def test_a_state_that_this_version_does_not_know_is_not_taken(state: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with serving() as server, ours, theirs, pytest.raises(LoopError, match="take over"):
        server.loop.take(ExportedConnection(ours.fileno(), "unix", state))
