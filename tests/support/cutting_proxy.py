"""A proxy that resets connections at chosen bytes."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress


class Proxy:
    """A proxy that resets each connection after so many bytes of the client.

    Args:
        port: the server's.
        cuts: for each connection, after how many bytes; those that follow are left alone.
        drops_answers: whether a connection that will be cut gets no answer but its welcome.
    """

    def __init__(self, port: int, cuts: Iterable[int], drops_answers: bool = False) -> None:
        self.cuts_made = 0
        self._target, self._cuts, self._drops_answers = port, iter(cuts), drops_answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            cut = next(self._cuts, None)
            answers = 1 if self._drops_answers and cut is not None else None
            for work in ((self._forth, client, server, cut), (self._back, server, client, answers)):
                threading.Thread(target=work[0], args=work[1:], daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket, left: int | None) -> None:
        with suppress(OSError):
            while left != 0 and (data := client.recv(min(65536, left or 65536))):
                server.sendall(data)
                left = None if left is None else left - len(data)
        if left == 0:
            self.cuts_made += 1
            linger = struct.pack("ii", 1, 0)
            for end in (client, server):
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        _end(client, server)

    def _back(self, server: socket.socket, client: socket.socket, answers: int | None) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if answers != 0:
                    client.sendall(data)
                    answers = None if answers is None else answers - 1
        _end(client, server)


def _end(*connections: socket.socket) -> None:
    for connection in connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
