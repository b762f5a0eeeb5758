"""Frames of a stock SocketHandler, and a client that sends numbered ones."""

from __future__ import annotations

import logging
import socket
import threading
from logging.handlers import SocketHandler

from servers import Server

_maker = SocketHandler("localhost", 0)


def stock_frame(message: str = "hello", level: int = logging.INFO, **extra: object) -> bytes:
    """Return the frame that a stock SocketHandler sends for one record."""
    record = logging.LogRecord("app", level, "/srv/app.py", 7, message, None, None, "run")
    record.__dict__.update(extra)
    return _maker.makePickle(record)


class Sender(threading.Thread):
    """Sends records with `number` 0, 1, 2 … until `stop` is called, and reconnects after failures.

    It also ends with the server's `with` block: another server may have the port then. `sent`
    counts the sent records, not those that arrived: a stock client cannot know these.
    """

    def __init__(self, client: str, server: Server, pause: float = 0.002) -> None:
        super().__init__(daemon=True)
        self.client, self.sent = client, 0
        self.pause = pause
        """Seconds between two records; a test may change it."""
        self._server = server
        self._stopping = threading.Event()
        self.start()

    def run(self) -> None:
        connection: socket.socket | None = None
        while not self._stopping.wait(self.pause) and not self._server.has_ended:
            try:
                if connection is None:
                    connection = socket.create_connection(("127.0.0.1", self._server.port), 5)
                connection.sendall(stock_frame(client=self.client, number=self.sent))
            except OSError:
                connection = None  # that record may be lost; the number is not used again
            self.sent += 1
        if connection is not None:
            connection.close()

    def stop(self) -> None:
        self._stopping.set()
        self.join(30)
        assert not self.is_alive()
