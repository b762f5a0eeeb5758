"""The API of a web server, as commands with `--url` use it: requests, their errors, and events."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from fastlog.cli.api_errors import (
    ApiError,
    NothingThereError,
    UnreachableApiError,
    UnusableApiError,
    reason_of,
)
from fastlog.cli.api_events import MOST, Events
from fastlog.errors import ConfigError, FastlogError

T = TypeVar("T")

_SECONDS: Final = 30.0
"""Seconds in which a server must answer; its own deadlines are shorter."""
_SILENCE: Final = 45.0
"""Seconds without an event after which a connection is taken for lost: three missed pings."""


class _Reason(msgspec.Struct):
    message: str


class _Failure(msgspec.Struct):
    error: _Reason


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
        self._used: socket.socket | None = None
        self._is_closed = False

    def close(self) -> None:
        """End the `get` of another thread soon, and any further one at once."""
        self._is_closed = True
        if (used := self._used) is not None:
            with suppress(OSError):
                used.shutdown(socket.SHUT_RDWR)

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
            connection.connect()
            self._used = connection.sock
            if self._is_closed:
                raise ApiError(f"{self.url}: the connection is closed")
            return decoded(self._read(self._ask(connection, path, parameters, {})), kind)
        except (OSError, UnicodeError) as error:  # the latter: it cannot be the name of a host
            raise self._unreachable(error) from None
        finally:
            self._used = None
            connection.close()

    def events(self, path: str, last_id: str | None, **parameters: object) -> Events:
        """Open a stream of events: what happens from now on, or after an event.

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
        except OSError as error:
            raise self._unreachable(error) from None
        except http.client.HTTPException:
            raise self._no_fastlog() from None
        if answer.status != 200:
            raise self._failure(answer)
        return answer

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        try:
            body = answer.read(MOST)
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
        if isinstance(error, ssl.SSLCertVerificationError):
            reason = f"its certificate is not trusted: {error.verify_message}"
            what = "name the authority by SSL_CERT_FILE=ca.pem"
        else:
            reason, what = reason_of(error), "is fastlog web running there?"
        return UnreachableApiError(f"cannot read {self.url}: {reason}; {what}")

    def _no_fastlog(self) -> UnusableApiError:
        return UnusableApiError(
            f"--url: {self.url} is no page of fastlog; expected the address that fastlog web prints"
        )


def decoded(body: bytes, kind: type[T]) -> T:
    """Return what JSON of the server means.

    Raises:
        ApiError: It is none, or of another type.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ApiError(f"the server's answer cannot be read: {error}") from None
