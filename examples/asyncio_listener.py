"""A custom listener: fastlog's framer with asyncio.

Run it, and connect a SocketHandler to port 9021. It prints the size of every frame. A frame is an
untrusted pickle: never pass it to `pickle.loads`.
"""

from __future__ import annotations

import asyncio

from fastlog import FrameError, Framer


class Receiver(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.framer = Framer(max_frame=1 << 20)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self.framer.feed(data):
                print(f"a frame of {len(frame)} bytes", flush=True)
        except FrameError as error:
            print(f"closing: {error}", flush=True)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self.framer.end()
        except FrameError as error:
            print(error, flush=True)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 9021)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
