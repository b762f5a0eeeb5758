"""Fastlog clients in the loop. There is no journal: the test reports what is durable."""

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

CLIENT_ID, KEY = b"m" * 16, b"a key..."
FULL = (6, 0, 0)
"""Code, action and sequence of an ERROR: the journal is full, retry, nothing is accepted."""


class Server:
    """A loop that admits every client, and a journal in a list."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        """The runs of the blocks that the journal has stored."""
        self._block: list[Run] = []
        self.end = 0
        self.committed = 0
        self.ended: list[Ended] = []
        self.loop = Loop(self._on_block, coalesce=0, keepalive=0.1, handshake=0.5)

    def _on_block(self, block: bytes, _: int) -> None:
        self._block += runs(memoryview(block))

    def poll(self, *, stores: bool = True) -> None:
        """Poll once, after which the journal stores what was received, or rejects it."""
        self.loop.poll(0.001)
        for event in self.loop.events():
            if isinstance(event, Hello):
                client = event.payload[4:20]
                self.loop.admit(event.conn, client, KEY, 1, self.committed, b"W" * 8)
            elif isinstance(event, Ended):
                self.ended.append(event)
                if event.committed is not None:
                    self.committed = event.committed
        if stores:
            self.end += 1
            self.runs += self._block
            self.loop.journaled(self.end)
        else:
            self.loop.discarded()
        self._block = []

    def sequences(self) -> list[int]:
        """Return the sequences in the journal, in its order."""
        found: list[int] = []
        for run in self.runs:
            assert run.stamp is not None
            assert (run.stamp.client, run.stamp.key) == (CLIENT_ID, KEY)
            if run.kind is Kind.GAP:
                (body,) = frames(run)
                span = read_gap(body)
                assert span.first == run.stamp.sequence
                found += range(span.first, span.last + 1)
            else:
                for number, body in enumerate(frames(run), run.stamp.sequence):
                    assert body == b"%d" % number
                    found.append(number)
        return found


class Client:
    """The client's end of a connection. It never blocks."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.socket.setblocking(False)
        self._unsent = self._unread = b""
        self.is_admitted = self.is_closed = False
        self.rejected: tuple[int, ...] = ()
        """Code, action and sequence of the received ERROR."""
        self.acked = 0

    def send(self, data: bytes, at_most: int | None = None) -> None:
        """Send as much as the socket takes; the next call sends the rest."""
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
        self.is_closed = not data
        self._unread += data
        if not self.is_admitted and self._unread.startswith(b"W" * 8):
            self.is_admitted, self._unread = True, self._unread[8:]
        while len(self._unread) >= 8:
            _, kind, _, length = struct.unpack_from(">2sBBI", self._unread)
            if len(self._unread) < 8 + length:
                break
            payload, self._unread = self._unread[8 : 8 + length], self._unread[8 + length :]
            if kind == ACK:
                self.acked = struct.unpack_from(">Q", payload)[0]
            if kind == ERROR:
                self.rejected = struct.unpack_from(">HBQ", payload)

    def becomes_admitted(self) -> bool:
        self.read()
        return self.is_admitted


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
        st.integers(0, 3),  # polls
        st.sampled_from(["store", "store", "store", "reject"]),
        st.booleans(),  # whether the journal is durable afterwards
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_the_journal_has_each_sequence_once_and_in_order_whatever_happens(
    script: list[tuple[str, int, int, int, str, bool]],
) -> None:
    """No acknowledgement exceeds what is durable."""
    with serving() as server:
        client = _connected(server)
        sent = durable = 0
        for action, count, chunk, polls, journal, syncs in script:
            if action == "cut" or client.rejected or client.is_closed:
                client.socket.close()
                durable = _settle(server, durable)
                client = _connected(server)
                sent = server.committed
            elif action == "batch":
                client.send(some(sent + 1, count), chunk)
                sent += count
            elif action == "gap":
                client.send(gap(sent + 1, sent + count), chunk)
                sent += count
            elif sent:
                client.send(some(max(1, sent - count), min(sent, count)), chunk)
            for _ in range(polls):
                client.send(b"", chunk)
                server.poll(stores=journal == "store")
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
    client.send(frame(HELLO, struct.pack(">BBH16s", 1, 1, 1, CLIENT_ID) + bytes(65)))
    wait_for(lambda: server.poll() or client.becomes_admitted())
    return client


def _settle(server: Server, durable: int) -> int:
    """Poll until the loop reports the end of the connection. Return the last durable sequence."""
    before = len(server.ended)

    def has_ended() -> bool:
        server.poll()
        server.loop.durable(server.end)
        return len(server.ended) > before

    wait_for(has_ended)
    return max([durable, *server.sequences()])


def test_an_acknowledgement_waits_for_the_journal() -> None:
    with serving() as server:
        client = _connected(server)
        client.send(some(1, 3))
        wait_for(lambda: server.poll() or server.runs)
        server.loop.durable(server.end - 1)
        client.read()
        assert client.acked == 0
        server.loop.durable(server.end)
        client.read()
        assert client.acked == 3


def test_records_that_the_journal_rejects_are_withdrawn_and_the_client_gets_an_error() -> None:
    with serving() as server:
        client = _connected(server)
        client.send(some(1, 3))
        wait_for(lambda: server.poll(stores=False) or client.read() or client.is_closed)
        assert (client.rejected, client.acked) == (FULL, 0)
        client.socket.close()
        _settle(server, 0)
        assert (server.committed, server.sequences()) == (0, [])


def test_a_bye_closes_the_connection_once_all_is_acknowledged() -> None:
    with serving() as server:
        client = _connected(server)
        client.send(some(1, 3) + bye(3))
        wait_for(lambda: server.poll() or server.runs)
        server.poll()
        client.read()
        assert not client.is_closed
        server.loop.durable(server.end)
        wait_for(lambda: server.poll() or client.read() or client.is_closed)
        assert client.acked == 3
        client.socket.close()
        _settle(server, 0)
        assert server.ended[-1] == Ended(server.ended[-1].conn, 3, True)


def test_a_bye_without_an_acknowledgement_does_not_end_the_id() -> None:
    with serving() as server:
        client = _connected(server)
        client.send(some(1, 3) + bye(3))
        wait_for(lambda: server.poll() or server.runs)
        client.socket.close()
        _settle(server, 0)
        assert server.ended[-1] == Ended(server.ended[-1].conn, 3, False)


def test_a_paused_loop_still_sends_keepalives_and_acknowledgements() -> None:
    with serving() as server:
        client = _connected(server)
        client.send(some(1, 3))
        wait_for(lambda: server.poll() or server.runs)
        server.loop.pause(True)
        server.loop.durable(server.end)
        client.read()
        assert client.acked == 3
        acks = server.loop.stats().acks
        wait_for(lambda: server.poll() or server.loop.stats().acks > acks)


@pytest.mark.parametrize("cut", [0, 1, 8, 9, 20, 40])
def test_a_client_continues_in_the_loop_that_takes_it_over(cut: int) -> None:
    data = some(4, 5)
    with serving() as old, serving() as new:
        client = _connected(old)
        client.send(some(1, 3) + data[:cut])
        wait_for(lambda: old.poll() or (old.runs and not client.busy))
        old.poll()
        old.loop.durable(old.end)
        (exported,) = old.loop.export()
        taken = new.loop.take(exported._replace(fd=os.dup(exported.fd)))
        assert taken is not None
        assert taken[1:] == (CLIENT_ID, KEY)
        assert new.loop.committed(taken[0]) == 3
        client.send(data[cut:])
        wait_for(lambda: new.poll() or new.runs)
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
def test_an_invalid_state_is_not_taken_over(state: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with serving() as server, ours, theirs, pytest.raises(LoopError, match="take over"):
        server.loop.take(ExportedConnection(ours.fileno(), "unix", state))
