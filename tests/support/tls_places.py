"""Servers with TLS listeners, and their certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from certificates import Certificates
from conditions import wait_for
from servers import Server

CONFIG = """
[[listen]]
url = "tls://127.0.0.1:0"
certificate = "server.pem"
[[listen]]
url = "tls://127.0.0.1:0"
certificate = "server.pem"
client_ca = "ca.pem"
auth = "required"
identity = "certificate"
[limits]
lag = 0
"""


class Place(NamedTuple):
    """A running server with certificates."""

    server: Server
    certificates: Certificates

    @property
    def port(self) -> int:
        """The port of the listener that demands no certificate."""
        return ports(self.server)[0]

    @property
    def strict_port(self) -> int:
        return ports(self.server)[1]


def ports(server: Server) -> list[int]:
    return [urlsplit(url).port or 0 for url in server.urls()]


def start(
    home: Path, config: str = CONFIG, make: Callable[..., Server] = Server
) -> Iterator[Place]:
    certificates = Certificates(home)
    certificates.issue("localhost", file="server.pem")
    with make(home, listen=(), config=config) as server:
        yield Place(server, certificates)


def refused(place: Place, reason: str, times: int = 1) -> None:
    def count() -> int:
        rows = place.server.rejected()
        return sum(row["count"] for row in rows if reason in row["reason"])

    wait_for(lambda: count() >= times, reason)
