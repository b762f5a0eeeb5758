"""Thousands of connections from one process to a server, and what they cost that server."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest

MIB = 1 << 20
SPARE = 500
"""Descriptors that the tests, or the server, need in addition to those of the crowd."""
IP_BIND_ADDRESS_NO_PORT = 24
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close() sends RST."""


class Crowd:
    """Non-blocking connections that are closed together.

    Args:
        host: Their source address. Each crowd needs its own, since a used port stays reserved.
    """

    def __init__(self, port: int, host: str) -> None:
        self._to, self._host = ("127.0.0.1", port), host
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def one(self) -> socket.socket:
        """Return a connection that is not part of the crowd."""
        client = socket.socket()
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.bind((self._host, 0))
        client.settimeout(30)
        client.connect(self._to)
        return client

    def grow(self, count: int) -> None:
        for _ in range(count):
            client = self.one()
            client.setblocking(False)
            self.sockets.append(client)

    def send(self, data: bytes) -> int:
        """Send data over each connection, as much as its socket takes, and remove closed ones.

        Returns:
            The number of bytes that were sent.
        """
        remaining, sent = [], 0
        for client in self.sockets:
            try:
                sent += client.send(data)
            except BlockingIOError:
                pass
            except OSError:
                client.close()
                continue
            remaining.append(client)
        self.sockets = remaining
        return sent

    def close(self, *, reset: bool = False) -> None:
        for client in self.sockets:
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
        self.sockets.clear()


@contextlib.contextmanager
def many_descriptors(count: int) -> Iterator[None]:
    """Let this process and its children open `count` files inside the `with` block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + SPARE:
        pytest.skip(f"this machine allows {hard} open files; this needs {count + SPARE}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + SPARE), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Leave this process without file descriptors inside the `with` block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                opened.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        for fd in opened:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")
"""Whether AddressSanitizer manages the heap. It allocates more than requested and keeps freed
memory, so the size of a process proves nothing."""


class Watch:
    """The growth of a process in bytes, since this object was created."""

    def __init__(self, pid: int) -> None:
        self._pid, self._before, self._most = pid, memory_of(pid), 0

    def now(self) -> int:
        return memory_of(self._pid) - self._before

    def look(self) -> None:
        self._most = max(self._most, self.now())

    def is_below(self, limit: int) -> bool:
        return SANITIZED or self.now() < limit

    def was_below(self, limit: int) -> bool:
        """Return whether every look so far was below the limit."""
        self.look()
        return SANITIZED or self._most < limit


def memory_of(pid: int) -> int:
    """Return the anonymous memory of a process in bytes.

    Its share of the pages of programs and libraries is left out: it grows when other processes end.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) << 10
    raise AssertionError("smaps_rollup has no Anonymous")


def descriptors_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 only the names


def cpu_of(pid: int) -> float:
    """Return the processor time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
