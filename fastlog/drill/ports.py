"""Ports for servers that must be told their port before they start."""

from __future__ import annotations

import socket


class ReservedPort:
    """A free port of 127.0.0.1, which no other program gets until `close`.

    A socket that never listens is bound to it. The kernel does not choose a port that is bound, and
    lets a server listen on this one if it sets SO_REUSEADDR; again after each restart, too.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def __enter__(self) -> ReservedPort:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()
