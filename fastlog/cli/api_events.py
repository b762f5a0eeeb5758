"""Server-sent events of the API, as a thread reads them."""

from __future__ import annotations

import http.client
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple, Self

from fastlog.cli.api_errors import UnreachableApiError, reason_of
from fastlog.errors import FastlogError

MOST: Final = 64 << 20
"""Bytes of an answer, and of an event."""
_PATIENCE: Final = 1.0
"""Seconds that the end of a stream waits for the thread that reads it, which ends soon."""
_WAITING: Final = 4
"""Events that wait in memory; the server counts what it cannot send."""


class Event(NamedTuple):
    """A server-sent event."""

    kind: str
    """"": it has only an id."""
    data: bytes
    id: str | None
    """The id that continues behind it."""


class Events:
    """The events of an open stream. A thread reads them, so that waiting for one can be cut short.

    A context manager, which closes the stream.
    """

    def __init__(self, answer: http.client.HTTPResponse, held: socket.socket, url: str) -> None:
        self._answer, self._socket, self._url = answer, held, url
        self._arrived: queue.Queue[Event | FastlogError] = queue.Queue(_WAITING)
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with suppress(queue.Empty):  # the thread may wait for room
            while True:
                self._arrived.get_nowait()
        self._thread.join(_PATIENCE)

    def next(self) -> Event | None:
        """Return the next event; `None` if none has arrived yet.

        Raises:
            ApiError: The connection is lost.
        """
        try:
            arrived = self._arrived.get_nowait()
        except queue.Empty:
            return None
        if isinstance(arrived, FastlogError):
            raise arrived
        return arrived

    def _run(self) -> None:
        reason = "the server has closed the connection"
        try:
            for event in read_events(self._lines()):
                self._arrived.put(event)
                if self._is_closed:
                    return
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = reason_of(error)
        self._arrived.put(UnreachableApiError(f"{self._url}: {reason}"))

    def _lines(self) -> Iterator[bytes]:
        while line := self._answer.readline(MOST):
            yield line


def read_events(lines: Iterator[bytes]) -> Iterator[Event]:
    """Yield the events of a stream of server-sent events. An incomplete one at its end is none."""
    kind, data, last_id, is_new = "", list[bytes](), None, False
    for line in lines:
        text = line.rstrip(b"\r\n")
        name, _, value = text.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            kind = value.decode(errors="replace")
        elif name == b"data":
            data.append(value)
        elif name == b"id":
            last_id, is_new = value.decode(errors="replace"), True
        elif not text:
            if data or is_new:
                yield Event(kind if data else "", b"\n".join(data), last_id)
            kind, data, is_new = "", [], False
