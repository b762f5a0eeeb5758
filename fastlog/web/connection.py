"""Connections of the web server: one that sends no whole request in time is closed."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 10.0
"""Seconds within which a request's head must have arrived, from its first byte or the connection's
begin."""


class Connection(H11Protocol):
    """A connection that cannot be held open by sending nothing, or a byte now and then."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self) -> None:
        """Begin to wait for a request, or stop it while one is answered."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif not is_answering and self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()
