"""The service: a socket, the application, and Uvicorn, until it is to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import uvicorn

from fastlog.certificates import server_context
from fastlog.config import Config
from fastlog.errors import FastlogError
from fastlog.search.store import RecordStore
from fastlog.web.access import is_loopback
from fastlog.web.application import make_application
from fastlog.web.connection import Connection
from fastlog.web.https_listener import HttpsListener
from fastlog.web.site import Site

log = logging.getLogger(__name__)

BACKLOG: Final = 128
END: Final = 2
"""Seconds that open requests have when the service stops."""
CONNECTIONS: Final = 500
"""Connections at a time besides those of tails; further ones get the answer 503."""
URL_BYTES: Final = 256 << 10
"""Bytes of the head of a request: a query of 65,536 characters may need three times as many."""


class Service:
    """Serves a store.

    Args:
        store: Where the records are. It is closed at the end.

    Raises:
        FastlogError: The address cannot be listened on, or the password file or the certificate is
            wrong.
    """

    def __init__(self, config: Config, store: RecordStore) -> None:
        parts = urlsplit(config.web.url)
        host, port = parts.hostname or "", parts.port or 0
        site = Site(config, store)
        context = None
        if parts.scheme == "https":
            context = server_context(config.web.certificate, config.web.key)
        self._socket = _listen(host, port, config.web.url)
        most = CONNECTIONS + config.web.tails
        made = None
        if context is not None:
            self._socket = HttpsListener(self._socket, most)
            made = self._socket.handshake_done
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{parts.scheme}://{shown}:{self._socket.getsockname()[1]}"
        """Where it serves; without the path."""
        if not (site.access.is_needed or is_loopback(host)):
            log.warning(
                "everybody who can reach %s can read all records;"
                " set web.password_file or web.tokens",
                self.url,
            )
        self._site = site
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        hosts = frozenset({"localhost", host, *(name.lower() for name in config.web.hosts)})
        settings = uvicorn.Config(
            make_application(site, hosts),
            log_config=None,
            access_log=False,
            http=partial(Connection, made),  # type: ignore[arg-type]  # it is only called
            ws="none",
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=most,
            timeout_graceful_shutdown=END,
            h11_max_incomplete_event_size=URL_BYTES,
        )
        settings.load()
        settings.ssl = context
        self._server = _Server(settings)

    def run(self, prepare: Callable[[Service], object]) -> None:
        """Serve until `stop` is called.

        Args:
            prepare: Called in the event loop at the start.
        """

        async def serve() -> None:
            prepare(self)
            await self._server.serve([self._socket])
            self._site.close()

        asyncio.run(serve())

    def stop(self) -> None:
        """Stop serving. Tails end at once, other requests have `END` seconds."""
        self._site.close()
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """A server that leaves signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int, url: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise FastlogError(f"cannot listen on {url}: {error.strerror or error}") from None
    listener.setblocking(False)
    return listener
