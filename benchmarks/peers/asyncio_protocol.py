"""An `asyncio.Protocol`, the usual fast server in Python."""

from __future__ import annotations

import asyncio
import struct

from reading import FLUSH_EVERY, Lines, Unpickle, make_line, read_options


class Flusher:
    """Adds lines to the file, and flushes it a moment after the first of them."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._planned = False

    def add(self, line: bytes) -> None:
        self._lines.add(line)
        if not self._planned:
            self._planned = True
            asyncio.get_running_loop().call_later(FLUSH_EVERY, self._flush)

    def _flush(self) -> None:
        self._planned = False
        self._lines.flush()


class Connection(asyncio.Protocol):
    def __init__(self, flusher: Flusher, unpickle: Unpickle) -> None:
        self._flusher, self._unpickle = flusher, unpickle
        self._held = bytearray()
        self._host = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._host = transport.get_extra_info("peername")[0]

    def data_received(self, data: bytes) -> None:
        held = self._held
        held += data
        at, have = 0, len(held)
        while have - at >= 4:
            (size,) = struct.unpack_from(">L", held, at)
            if have - at - 4 < size:
                break
            payload = bytes(held[at + 4 : at + 4 + size])
            self._flusher.add(make_line(self._unpickle(payload), self._host))
            at += 4 + size
        del held[:at]


async def serve() -> None:
    options = read_options()
    flusher = Flusher(Lines(options.output))
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(flusher, options.unpickle), "127.0.0.1", 0, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    if read_options().uvloop:
        import uvloop  # an extra

        uvloop.run(serve())
    else:
        asyncio.run(serve())


if __name__ == "__main__":
    main()
