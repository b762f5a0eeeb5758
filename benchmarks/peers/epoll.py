"""An edge-triggered `select.epoll` server as in blog posts: a loop, a buffer a connection."""

from __future__ import annotations

import select
import socket
import struct
import time

from reading import FLUSH_EVERY, Lines, Unpickle, make_line, read_options

CHUNK = 64 * 1024
EDGE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET


class Server:
    """The listener, its connections by descriptor, and the partial frame of each."""

    def __init__(self, lines: Lines, unpickle: Unpickle) -> None:
        self._lines, self._unpickle = lines, unpickle
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._epoll = select.epoll()
        self._epoll.register(self._listener, EDGE)
        self._connections: dict[int, tuple[socket.socket, str, bytearray]] = {}

    def run(self) -> None:
        flush_at = 0.0
        while True:
            timeout = max(flush_at - time.monotonic(), 0) if self._lines.waiting else -1
            for fd, _ in self._epoll.poll(timeout):
                if fd == self._listener.fileno():
                    self._accept()
                else:
                    self._read(fd)
            if not self._lines.waiting or time.monotonic() >= flush_at:
                self._lines.flush()
                flush_at = time.monotonic() + FLUSH_EVERY

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            self._epoll.register(connection, EDGE)
            self._connections[connection.fileno()] = connection, address[0], bytearray()

    def _read(self, fd: int) -> None:
        """Read until EAGAIN, as edge-triggered polling requires; handle whole frames."""
        connection, host, held = self._connections[fd]
        try:
            while data := connection.recv(CHUNK):
                held += data
                self._take_frames(held, host)
        except BlockingIOError:
            return
        except ConnectionError:
            pass
        del self._connections[fd]
        connection.close()

    def _take_frames(self, held: bytearray, host: str) -> None:
        at, have = 0, len(held)
        while have - at >= 4:
            (size,) = struct.unpack_from(">L", held, at)
            if have - at - 4 < size:
                break
            payload = bytes(held[at + 4 : at + 4 + size])
            self._lines.add(make_line(self._unpickle(payload), host))
            at += 4 + size
        del held[:at]


def main() -> None:
    options = read_options()
    server = Server(Lines(options.output), options.unpickle)
    print(server.port, flush=True)
    server.run()


if __name__ == "__main__":
    main()
