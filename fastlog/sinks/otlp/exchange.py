"""One exchange with a receiver: a POST and its answer, within a time, and no longer at the end.

The protocol is the standard library's `http.client`, which follows no redirects and repeats
nothing. It gets a socket of our own, with a deadline for the whole exchange: a timeout of sockets
begins anew with each byte. Its waits end soon after SIGTERM.
"""

from __future__ import annotations

import io
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPMessage,
    IncompleteRead,
    RemoteDisconnected,
)
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from fastlog.errors import ConfigError, SinkUnavailableError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from fastlog.sinks.otlp.settings import Settings

T = TypeVar("T")

MAX_ANSWER: Final = 64 << 10
"""Bytes of an answer's body that are read."""
STOP_SECONDS: Final = 1.0
"""Seconds that an exchange may still take when the server stops."""
_SLICE: Final = 0.1
"""Seconds after which a wait looks whether the server stops."""


class Answer(NamedTuple):
    """What a receiver has answered."""

    status: int
    body: bytes
    """Its first `MAX_ANSWER` bytes."""
    content_type: str
    """In lower case, without parameters."""
    headers: HTTPMessage
    """By their names in any case."""


class Patience:
    """How long an exchange may wait.

    Args:
        seconds: From now on.
        monotonic: A monotonic clock.
        stopping: Whether the server stops; then there are `STOP_SECONDS` left.
    """

    def __init__(
        self, seconds: float, monotonic: Callable[[], float], stopping: Callable[[], bool]
    ) -> None:
        self._monotonic, self._stopping = monotonic, stopping
        self._seconds = seconds
        self._deadline = monotonic() + seconds
        self._is_stopping = False

    def wait(self, ready: Callable[[float], object]) -> None:
        """Call `ready` with a number of seconds until it returns something true.

        Raises:
            TimeoutError: It did not.
        """
        while True:
            if not self._is_stopping and self._stopping():
                self._is_stopping = True
                self._deadline = min(self._deadline, self._monotonic() + STOP_SECONDS)
            left = self._deadline - self._monotonic()
            if left <= 0:
                when = (
                    "before the server stops"
                    if self._is_stopping
                    else f"within {self._seconds:g} s"
                )
                raise TimeoutError(f"no answer {when}")
            if ready(min(left, _SLICE)):
                return


class Exchanges:
    """Exchanges with one receiver, over one connection that is kept open."""

    def __init__(
        self,
        settings: Settings,
        monotonic: Callable[[], float],
        stopping: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._monotonic, self._stopping = monotonic, stopping
        self._connection: _Connection | None = None

    def check(self) -> None:
        """Read the files of TLS.

        Raises:
            ConfigError: They cannot be used.
        """
        if self._settings.is_secure:
            _tls(self._settings)

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a request, and return its answer, whatever that is.

        Raises:
            SinkUnavailableError: There is no answer. The receiver may have got the request.
            ConfigError: A file of TLS cannot be used.
        """
        patience = Patience(self._settings.timeout, self._monotonic, self._stopping)
        try:
            return self._exchange(patience, body, headers)
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            raise SinkUnavailableError(f"{self._settings.label}: {_reason(error)}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.end()
            self._connection = None

    def _exchange(self, patience: Patience, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._connection is not None and self._connection.is_closed_by_peer():
            self.close()
        if self._connection is None:
            self._connection = _Connection(self._settings)
        connection = self._connection
        connection.patience = patience
        try:
            connection.request("POST", self._settings.path, body, dict(headers))
        except (BrokenPipeError, ConnectionResetError):
            # A receiver may answer before it has read everything, and close: 413, for example.
            if connection.sock is None:
                raise
        response = connection.getresponse()
        content = response.read(MAX_ANSWER)
        if response.length and len(content) < MAX_ANSWER:
            raise IncompleteRead(content)
        if response.will_close or not response.isclosed() or connection.is_unsent:
            self.close()
        return Answer(
            response.status,
            content,
            response.getheader("content-type", "").partition(";")[0].strip().lower(),
            response.headers,
        )


class _Connection(HTTPConnection):
    """A connection whose socket waits with the patience of the current exchange."""

    sock: _Socket | None

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.host, settings.port)
        self._settings = settings
        self._wire: _Socket | None = None
        self.patience: Patience

    def connect(self) -> None:
        context = _tls(self._settings) if self._settings.is_secure else None
        connected = _connect(self._settings.host, self._settings.port, self.patience)
        self.sock = self._wire = _Socket(connected, self)
        if context is not None:
            self._wire.start_tls(context, self._settings.host)

    @property
    def is_unsent(self) -> bool:
        """Whether the peer has answered before it had the whole request."""
        return self._wire is not None and self._wire.is_unsent

    def is_closed_by_peer(self) -> bool:
        """Return whether the peer has closed the connection, or has sent something unasked."""
        return self._wire is None or self._wire.is_readable()

    def end(self) -> None:
        """Close the socket, which `close` does not: the answer may not be read yet."""
        self.close()
        if self._wire is not None:
            self._wire.end()
            self._wire = None


class _Socket:
    """The part of a socket that `http.client` uses, with deadlines."""

    def __init__(self, sock: socket.socket, connection: _Connection) -> None:
        self._sock = sock
        self._connection = connection
        self.is_unsent = False

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Do the handshake of TLS."""
        wrapped = context.wrap_socket(
            self._sock, server_hostname=host, do_handshake_on_connect=False
        )
        self._sock = wrapped
        self._retried(wrapped.do_handshake, select.POLLIN)

    def sendall(self, data: bytes) -> None:
        """Send data, or what the peer takes of it before it answers."""
        view = memoryview(data)
        while view and not self.is_unsent:
            view = view[self._retried(partial(self._send, view), select.POLLOUT) :]

    def _send(self, view: memoryview) -> int:
        try:
            return self._sock.send(view)
        except BlockingIOError:
            if self.is_readable() and not isinstance(self._sock, ssl.SSLSocket):
                self.is_unsent = True
                return 0
            raise

    def receive_into(self, buffer: WriteableBuffer) -> int:
        """Read at least a byte; 0 at the end."""
        return self._retried(lambda: self._sock.recv_into(buffer), select.POLLIN)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Do nothing: `http.client` calls this before the answer is read."""

    def end(self) -> None:
        """Close the socket."""
        self._sock.close()

    def is_readable(self) -> bool:
        """Return whether something has arrived, be it the end."""
        return bool(_poll(self._sock, select.POLLIN, 0))

    def _retried(self, operation: Callable[[], T], events: int) -> T:
        while True:
            wanted = events
            try:
                return operation()
            except ssl.SSLWantReadError:
                wanted = select.POLLIN
            except ssl.SSLWantWriteError:
                wanted = select.POLLOUT
            except BlockingIOError:
                pass
            self._connection.patience.wait(partial(_poll, self._sock, wanted))


class _Reader(io.RawIOBase):
    def __init__(self, sock: _Socket) -> None:
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        return self._sock.receive_into(buffer)


def _connect(host: str, port: int, patience: Patience) -> socket.socket:
    """Return a connection to the first address of a host that takes one, non-blocking.

    Raises:
        OSError: None does; the error of the last one.
    """
    last: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, address in _resolve(host, port, patience):
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        try:
            with suppress(BlockingIOError):
                sock.connect(address)
            patience.wait(partial(_poll, sock, select.POLLOUT))
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            if isinstance(error, TimeoutError):
                raise
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last


_Address = tuple[int, int, int, tuple[object, ...]]


def _resolve(host: str, port: int, patience: Patience) -> list[_Address]:
    """Return the addresses of a host.

    A resolver cannot be interrupted, so a thread asks it; one that takes too long is left behind.
    """
    found: list[_Address] = []
    failed: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            for family, kind, protocol, _, address in socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            ):
                found.append((family, kind, protocol, address))
        except (OSError, UnicodeError) as error:
            failed.append(error)

    thread = threading.Thread(target=ask, name="resolver", daemon=True)
    thread.start()

    def is_done(seconds: float) -> bool:
        thread.join(seconds)
        return not thread.is_alive()

    patience.wait(is_done)
    if failed:
        raise OSError(f"{host}: {_reason(failed[0])}")
    return found


def _tls(settings: Settings) -> ssl.SSLContext:
    """Return a context that checks the receiver's certificate; its files may have changed."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file, password="")
    except (OSError, ValueError) as error:
        names = (settings.ca_file, settings.cert_file, settings.key_file)
        files = ", ".join(str(path) for path in names if path is not None)
        raise ConfigError(f"{settings.label}: cannot use {files}: {_reason(error)}") from error
    return context


def _poll(sock: socket.socket, events: int, seconds: float) -> list[tuple[int, int]]:
    poll = select.poll()
    poll.register(sock, events)
    return poll.poll(seconds * 1000)


def _reason(error: BaseException) -> str:
    """Return why an exchange failed, in one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    if isinstance(error, RemoteDisconnected | IncompleteRead):
        return "it closed the connection before its answer was complete"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())[:200]
    if isinstance(error, HTTPException):
        return f"it does not speak HTTP: {type(error).__name__} {text}".rstrip()
    return text or type(error).__name__
