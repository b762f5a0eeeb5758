"""A receiver of the standard handler's protocol, as many programs have it."""

from __future__ import annotations

import pickle
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from conditions import wait_for

from fastlog.drill.ports import ReservedPort


class Listener:
    """A receiver as in the logging cookbook: a thread for each connection, and `pickle.loads`."""

    def __init__(self, path: str | None = None) -> None:
        self.records: list[dict[str, Any]] = []
        self._path = path
        self._reserved = None if path else ReservedPort()
        self._port = self._reserved.number if self._reserved else 0
        self._connections: set[socket.socket] = set()
        self.start()

    @property
    def address(self) -> tuple[str, ...]:
        return (self._path,) if self._path else ("127.0.0.1", str(self._port))

    def start(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX if self._path else socket.AF_INET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(self._path or ("127.0.0.1", self._port))
        self._socket.listen()
        threading.Thread(target=self._accept, args=[self._socket], daemon=True).start()

    def stop(self, resets: bool = False) -> None:
        """Stop as a killed process does; or with resets, as one that had not read everything."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in list(self._connections):
            if resets:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD if resets else socket.SHUT_RDWR)
        wait_for(lambda: not self._connections, "all connections are closed")
        if self._path:
            Path(self._path).unlink()

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        if self._reserved:
            self._reserved.close()

    def messages(self) -> list[str]:
        return [record["msg"] for record in self.records]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rb") as stream:
            while len(head := stream.read(4)) == 4:
                (length,) = struct.unpack(">L", head)
                data = stream.read(length)
                if len(data) == length:
                    self.records.append(pickle.loads(data))
        connection.close()
        self._connections.discard(connection)
