"""The API of a web server, as commands with `--url` use it: requests, their errors, and events."""

from __future__ import annotations

import http.client
import queue
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from fastlog.errors import ConfigError, FastlogError

T = TypeVar("T")

_SECONDS: Final = 30.0
"""Seconds in which a server must answer; its own deadlines are shorter."""
_SILENCE: Final = 45.0
"""Seconds without an event after which a connection is taken for lost: three missed pings."""
_MOST: Final = 64 << 20
"""Bytes of an answer, and of an event."""
_WAITING: Final = 4
"""Events that wait in memory; the server counts what it cannot send."""


class ApiError(FastlogError):
    """The server does not give the answer. Trying again later may help."""


class UnreachableApiError(ApiError):
    """There is no connection to the server, or no more."""


class UnusableApiError(ConfigError):
    """The server refuses the request: trying again does not help."""


class NothingThereError(UnusableApiError):
    """The server has no record of this id."""


class _Reason(msgspec.Struct):
    message: str


class _Failure(msgspec.Struct):
    error: _Reason


class Event(NamedTuple):
    """A server-sent event."""

    kind: str
    """"": it has only an id."""
    data: bytes
    id: str | None
    """The id that continues behind it."""


class Api:
    """The API at a URL.

    Args:
        url: of the page, such as `http://127.0.0.1:9080`.
        token: the bearer token to send; "" for none.

    Raises:
        ConfigError: The URL is none.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url.rstrip("/")
        try:
            parts = urlsplit(self.url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise ConfigError(f"--url: {error}, in {url!r}") from None
        is_plain = self.url.isprintable() and " " not in self.url
        has_more = bool(parts.query or parts.fragment)
        if parts.scheme not in ("http", "https") or not self._host or not is_plain or has_more:
            raise ConfigError(f"--url: expected one such as http://127.0.0.1:9080, got {url!r}")
        if parts.username is not None or parts.password is not None:
            raise ConfigError(
                "--url: a URL is no place for a password, as others can see it; set FASTLOG_TOKEN"
            )
        self._is_secure = parts.scheme == "https"
        self._path = f"{quote(parts.path, safe='/%')}/api/v1"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, kind: type[T], **parameters: object) -> T:
        """Return the answer to a GET.

        Args:
            kind: the type of the answer.
            parameters: None is left out.

        Raises:
            ApiError: There is none now.
            UnusableApiError: There is none.
        """
        connection = self._connection()
        try:
            return decoded(self._read(self._ask(connection, path, parameters, {})), kind)
        finally:
            connection.close()

    def events(self, path: str, last_id: str | None, **parameters: object) -> Events:
        """Open a stream of events: what happens from now on, or behind an event.

        Raises:
            ApiError, UnusableApiError: as in `get`.
        """
        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        connection = self._connection()
        try:
            connection.connect()
            held: socket.socket = connection.sock
            answer = self._ask(connection, path, parameters, headers)
            if answer.headers.get_content_type() != "text/event-stream":
                raise self._no_fastlog()
            held.settimeout(_SILENCE)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError | UnicodeError):
                raise self._unreachable(error) from None
            raise
        return Events(answer, held, self.url)

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=_SECONDS)

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        path: str,
        parameters: Mapping[str, object],
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        given = {name: value for name, value in parameters.items() if value is not None}
        query = f"?{urlencode(given)}" if given else ""
        try:
            connection.request(
                "GET", f"{self._path}{path}{query}", headers={**self._headers, **headers}
            )
            answer = connection.getresponse()
        except (OSError, UnicodeError) as error:  # the latter: it cannot be the name of a host
            raise self._unreachable(error) from None
        except http.client.HTTPException:
            raise self._no_fastlog() from None
        if answer.status != 200:
            raise self._failure(answer)
        return answer

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        try:
            body = answer.read(_MOST)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        if answer.headers.get_content_type() != "application/json":
            raise self._no_fastlog()
        return body

    def _failure(self, answer: http.client.HTTPResponse) -> FastlogError:
        """Return the error of an answer that is no success."""
        if 300 <= answer.status < 400:
            to = answer.headers.get("Location", "another address")
            return UnusableApiError(f"--url: {self.url} redirects to {to}; name that")
        if answer.status == 401:
            what = "does not accept this token" if self._headers else "needs a token"
            return UnusableApiError(
                f"{self.url} {what}; put one of web.tokens into FASTLOG_TOKEN, or into a file that"
                " --token-file names"
            )
        try:
            text = decoded(self._read(answer), _Failure).error.message
        except FastlogError:
            if answer.status < 500:
                return self._no_fastlog()
            text = f"{answer.status} {answer.reason}"
        if answer.status == 404:
            return NothingThereError(f"{self.url}: {text}")
        kind = ApiError if answer.status >= 500 or answer.status == 429 else UnusableApiError
        return kind(f"{self.url}: {text}")

    def _unreachable(self, error: Exception) -> ApiError:
        return UnreachableApiError(
            f"cannot read {self.url}: {_reason(error)}; is fastlog web running there?"
        )

    def _no_fastlog(self) -> UnusableApiError:
        return UnusableApiError(
            f"--url: {self.url} is no page of fastlog; expected the address that fastlog web prints"
        )


class Events:
    """The events of an open stream. A thread reads them, so that waiting for one can be cut short.

    A context manager, which closes the stream.
    """

    def __init__(self, answer: http.client.HTTPResponse, held: socket.socket, url: str) -> None:
        self._answer, self._socket, self._url = answer, held, url
        self._arrived: queue.Queue[Event | FastlogError] = queue.Queue(_WAITING)
        self._is_closed = False
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with suppress(queue.Empty):  # the thread may wait for room
            while True:
                self._arrived.get_nowait()

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
            reason = _reason(error)
        self._arrived.put(UnreachableApiError(f"{self._url}: {reason}"))

    def _lines(self) -> Iterator[bytes]:
        while line := self._answer.readline(_MOST):
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


def decoded(body: bytes, kind: type[T]) -> T:
    """Return what JSON of the server means.

    Raises:
        ApiError: It is none, or of another type.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ApiError(f"the server's answer cannot be read: {error}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
