"""Thousands of connections to a server, from one process, and what they cost that server."""

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
"""Descriptors that the tests, or the server, need beside those of the crowd."""
IP_BIND_ADDRESS_NO_PORT = 24
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close() sends RST."""


class Crowd:
    """Connections that nobody waits for: non-blocking, closed together.

    Args:
        host: Where they come from; one of its own for each crowd, since a port that was used rests.
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
        """A connection that the crowd does not keep."""
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
        """Each sends that, as far as its socket takes it; who was closed leaves. Returns how many
        bytes went out."""
        left, sent = [], 0
        for client in self.sockets:
            try:
                sent += client.send(data)
            except BlockingIOError:
                pass
            except OSError:
                client.close()
                continue
            left.append(client)
        self.sockets = left
        return sent

    def close(self, *, reset: bool = False) -> None:
        for client in self.sockets:
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
        self.sockets.clear()


@contextlib.contextmanager
def many_descriptors(count: int) -> Iterator[None]:
    """This process, and those that it starts, may open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + SPARE:
        pytest.skip(f"this machine allows {hard} open files; this needs {count + SPARE}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + SPARE), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")
"""Whether AddressSanitizer has the heap. It takes more than is asked for, and keeps what is freed:
nothing can be said of a process's size then."""


class Watch:
    """What a process has grown by, in bytes, since this was made."""

    def __init__(self, pid: int) -> None:
        self._pid, self._before, self._most = pid, memory_of(pid), 0

    def now(self) -> int:
        return memory_of(self._pid) - self._before

    def look(self) -> None:
        self._most = max(self._most, self.now())

    def is_below(self, limit: int) -> bool:
        return SANITIZED or self.now() < limit

    def was_below(self, limit: int) -> bool:
        """Whenever one has looked."""
        self.look()
        return SANITIZED or self._most < limit


def memory_of(pid: int) -> int:
    """Bytes that are this process's own, or its share of (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    raise AssertionError("the kernel does not say")


def descriptors_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 the names alone


def cpu_of(pid: int) -> float:
    """Seconds of processor time that it has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
