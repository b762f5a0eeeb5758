"""Forwards TCP connections to a Unix socket, and prints the port: a proxy on another host.

forward.py UNIX_SOCKET
"""

import asyncio
import contextlib
import sys


async def pump(source, sink):
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


async def serve(path):
    async def forward(reader, writer):
        target_reader, target_writer = await asyncio.open_unix_connection(path)
        await asyncio.gather(pump(reader, target_writer), pump(target_reader, writer))

    server = await asyncio.start_server(forward, "0.0.0.0", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(serve(sys.argv[1]))
