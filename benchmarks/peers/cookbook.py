"""The listener of the Logging Cookbook: a thread for each connection, and `logging` after it.

Two things are mended, since it would lose records without: a header that arrives in two parts is
waited for, and more than five clients may connect at once.
"""

from __future__ import annotations

import logging
import socketserver
import struct
import threading
import time
from typing import Any

from reading import FLUSH_EVERY, Lines, Unpickle, make_line, read_options


class LinesHandler(logging.Handler):
    """Writes the records of all threads under the lock of `Handler`. A thread flushes."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines
        threading.Thread(target=self._flush, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        attributes = record.__dict__
        self._lines.add(make_line(attributes, attributes.pop("host")))

    def _flush(self) -> None:
        while True:
            time.sleep(FLUSH_EVERY)
            with self.lock:
                self._lines.flush()


class Connection(socketserver.BaseRequestHandler):
    """Reads records until the client has closed the connection."""

    server: Listener

    def handle(self) -> None:
        host = self.client_address[0]
        while header := self._receive(4):
            payload = self._receive(struct.unpack(">L", header)[0])
            self._log({**self.server.unpickle(payload), "host": host})

    def _receive(self, size: int) -> bytes:
        """Return `size` bytes, or none at the end."""
        data = self.request.recv(size)
        while data and len(data) < size:
            more = self.request.recv(size - len(data))
            if not more:
                return b""
            data += more
        return data

    def _log(self, attributes: dict[str, Any]) -> None:
        record = logging.makeLogRecord(attributes)
        logging.getLogger(record.name).handle(record)


class Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 4096

    def __init__(self, unpickle: Unpickle) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.unpickle = unpickle


def main() -> None:
    options = read_options()
    logging.getLogger().addHandler(LinesHandler(Lines(options.output)))
    with Listener(options.unpickle) as listener:
        print(listener.server_address[1], flush=True)
        listener.serve_forever()


if __name__ == "__main__":
    main()
