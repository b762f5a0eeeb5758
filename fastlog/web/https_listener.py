"""The listening socket of an `https://` page, which bounds handshakes and connections.

For each accepted connection, asyncio makes a TLS engine with buffers of 300 KB. It bounds neither
their number nor, within a minute, the time of a handshake, and Uvicorn counts a connection only
after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections import Counter
from typing import Any, Final

from fastlog.tls.listeners import network_of

HANDSHAKES: Final = 50
"""Handshakes at a time. For one more, the oldest of the network that has most of them is ended."""
HANDSHAKE_SECONDS: Final = 10.0
"""Seconds in which a handshake must be done."""


BURST: Final = 16
"""Connections that one pass of the event loop accepts, so that it closes the ended ones first."""


FAILURES: Final = 200
"""Failed handshakes after which their memory is freed: asyncio's objects form cycles, whose number
is small for the collector and whose size is not."""


class HttpsListener(socket.socket):
    """A listening socket for an event loop, which accepts in the loop's thread.

    Args:
        listener: The socket, which it replaces.
        connections: Connections at a time, besides handshakes; further ones are closed.
    """

    def __init__(self, listener: socket.socket, connections: int) -> None:
        super().__init__(fileno=listener.detach())
        self.setblocking(False)
        self._most = connections
        self._accepted: dict[int, _Accepted] = {}
        """All that are open, by descriptor."""
        self._handshakes: dict[_Accepted, str] = {}
        """The networks of those that are in their handshakes, the oldest first."""
        self._burst = 0
        """Connections accepted in this pass."""
        self._failures = 0
        """Failed handshakes since their memory was freed."""

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, as the method of `socket.socket` does.

        Raises:
            BlockingIOError: None waits, or this pass has accepted enough.
            ConnectionAbortedError: There are too many; it was closed.
        """
        loop = asyncio.get_running_loop()
        if self._burst >= BURST:
            raise BlockingIOError
        if not self._burst:
            loop.call_soon(self._end_burst)
        self._burst += 1
        plain, address = super().accept()
        if len(self._accepted) - len(self._handshakes) >= self._most:
            plain.close()
            raise ConnectionAbortedError
        if len(self._handshakes) >= HANDSHAKES:
            ((network, _),) = Counter(self._handshakes.values()).most_common(1)
            self._end(next(each for each, of in self._handshakes.items() if of == network))
        accepted = _Accepted(self, plain)
        self._accepted[accepted.fileno()] = accepted
        self._handshakes[accepted] = network_of(str(address[0]))
        loop.call_later(HANDSHAKE_SECONDS, self._end, accepted)
        return accepted, address

    def handshake_done(self, fd: int) -> None:
        """Note that the connection with this descriptor has done its handshake."""
        accepted = self._accepted.get(fd)
        if accepted is not None:
            accepted.is_made = True
            self._handshakes.pop(accepted, None)

    def forget(self, accepted: _Accepted, fd: int) -> None:
        """Forget a connection that is being closed."""
        self._accepted.pop(fd, None)
        self._handshakes.pop(accepted, None)
        self._failures += not accepted.is_made
        if self._failures >= FAILURES:
            self._failures = 0
            gc.collect()

    def _end_burst(self) -> None:
        self._burst = 0

    def _end(self, accepted: _Accepted) -> None:
        """End a handshake that is not done. The event loop sees the end, and closes it."""
        if self._handshakes.pop(accepted, None) is not None:
            with contextlib.suppress(OSError):
                accepted.shutdown(socket.SHUT_RDWR)


class _Accepted(socket.socket):
    """A connection that says when it is closed."""

    def __init__(self, listener: HttpsListener, plain: socket.socket) -> None:
        super().__init__(fileno=plain.detach())
        self._listener = listener
        self.is_made = False
        """Whether its handshake is done."""

    def close(self) -> None:
        fd = self.fileno()
        if fd >= 0:
            self._listener.forget(self, fd)
        super().close()
