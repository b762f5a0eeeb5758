"""uvicorn.run() with its own configuration of logging: thirty requests, each logged by the app."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from attached import SCRATCH, attach

log = logging.getLogger("app")
SOCKET = str(SCRATCH / "uvicorn.sock")


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            log.info("lifespan: %s", event)
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
            threading.Thread(target=ask, daemon=True).start()
    log.info("request for %s", scope["path"])
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ask() -> None:
    for number in range(30):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(SOCKET)
            client.sendall(b"GET /%d HTTP/1.0\r\n\r\n" % number)
            while client.recv(4096):
                pass
    signal.raise_signal(signal.SIGINT)


attach()
listener = socket.socket(socket.AF_UNIX)
listener.bind(SOCKET)
listener.listen()  # `ask` begins before uvicorn has come to that
uvicorn.run(app, fd=listener.fileno())
log.info("after the framework")
