"""A loop with a listener, for tests: it keeps the blocks that it receives."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from conditions import wait_for

from fastlog.block import Run, frames, runs
from fastlog.core import Loop, PollResult

KIB, MIB = 1 << 10, 1 << 20


def encode(*payloads: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(payload)) + payload for payload in payloads)


class Receiver:
    """A loop with a listener that keeps the blocks it receives."""

    def __init__(self, **options: Any) -> None:
        self.blocks: list[tuple[bytes, int]] = []
        options = {"coalesce": 0.0, **options}
        self.loop = Loop(lambda block, count: self.blocks.append((block, count)), **options)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.loop.listen(self.listener.fileno())
        self.clients: list[socket.socket] = []

    def connect(self, data: bytes = b"") -> socket.socket:
        client = socket.create_connection(self.listener.getsockname(), timeout=30)
        self.clients.append(client)
        if data:
            client.sendall(data)
        return client

    def pair(self, data: bytes = b"", partial: bytes = b"") -> socket.socket:
        """Add a connection to the loop, without its listener."""
        ours, theirs = socket.socketpair()
        self.clients.append(theirs)
        self.loop.add(ours.detach(), "unix", partial)
        if data:
            theirs.sendall(data)
        return theirs

    def poll(self, timeout: float = 0.02) -> PollResult:
        before = len(self.blocks)
        result = self.loop.poll(timeout)
        assert len(self.blocks) - before <= 1, "a poll calls the callback at most once"
        return result

    def until(self, condition: Callable[[], object]) -> None:
        wait_for(lambda: self.poll() and condition())

    def runs(self) -> list[Run]:
        return [run for block, _ in self.blocks for run in runs(memoryview(block))]

    def frames(self) -> list[bytes]:
        found = [bytes(frame) for run in self.runs() for frame in frames(run)]
        assert len(found) == sum(count for _, count in self.blocks) == self.loop.stats().frames
        return found

    def close(self) -> None:
        self.loop.close()
        for one in (self.listener, *self.clients):
            one.close()


@contextmanager
def receiving(**options: Any) -> Iterator[Receiver]:
    receiver = Receiver(**options)
    try:
        yield receiver
    finally:
        receiver.close()


def was_closed(client: socket.socket) -> bool:
    """Return whether the loop has closed the connection without sending a byte."""
    client.settimeout(30)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
