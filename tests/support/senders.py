"""Frames as a stock SocketHandler makes them, and a client that sends numbered ones."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from logging.handlers import SocketHandler

_maker = SocketHandler("localhost", 0)


def stock_frame(message: str = "hello", level: int = logging.INFO, **extra: object) -> bytes:
    """What an unchanged SocketHandler puts on the wire for one record."""
    record = logging.LogRecord("app", level, "/srv/app.py", 7, message, None, None, "run")
    record.__dict__.update(extra)
    return _maker.makePickle(record)


class Sender(threading.Thread):
    """Sends records `number` 0, 1, 2 … of `client` until told to stop, through every outage.

    It notes the number that is next when a connection is made, not what arrived: a stock client
    cannot know that.
    """

    def __init__(self, client: str, port: Callable[[], int], pause: float = 0.001) -> None:
        super().__init__(daemon=True)
        self.client, self.sent = client, 0
        self._port, self._pause = port, pause
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        connection: socket.socket | None = None
        while not self._ended.wait(self._pause):
            try:
                if connection is None:
                    connection = socket.create_connection(("127.0.0.1", self._port()), 5)
                connection.sendall(stock_frame(client=self.client, number=self.sent))
            except OSError:
                connection = None  # that record may be lost; the number is not used again
            self.sent += 1
        if connection is not None:
            connection.close()

    def stop(self) -> None:
        self._ended.set()
        self.join(30)
        assert not self.is_alive()
