"""Connections of the web server: one that sends no whole request in time is closed, and so is one
that does not read its answer."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)

HEAD_SECONDS: Final = 10.0
"""Seconds within which a request's head must have arrived, from its first byte or the connection's
begin."""
STALL_SECONDS: Final = 30.0
"""Seconds within which a client must read what waits for it, which is about `PIECE` bytes."""
PIECE: Final = 64 << 10
"""Bytes of an answer that are passed to the connection at once."""
_RESET: Final = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing resets the connection, so that the kernel keeps no unread bytes either."""


class Connection(H11Protocol):
    """A connection that cannot be held open by sending nothing, or a byte now and then.

    The same holds for reading.

    Args:
        made: Called with its descriptor when it is made, after the handshake if it has one.
        options: Those of `H11Protocol`.
    """

    _timer: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def __init__(self, made: Callable[[int], object] | None, **options: Any) -> None:
        super().__init__(**options)
        self._made = made

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        own = transport.get_extra_info("socket")
        if self._made is not None and own is not None:
            self._made(own.fileno())
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._timer, self._stall):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(STALL_SECONDS, self._give_up)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

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

    def _give_up(self) -> None:
        log.info(
            "a client has not read its answer for %g seconds: its connection is closed",
            STALL_SECONDS,
        )
        if (own := self.transport.get_extra_info("socket")) is not None:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()
