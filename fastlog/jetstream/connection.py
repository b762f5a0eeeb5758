"""A connection to a cluster, for code without an event loop.

nats-py needs asyncio: its loop runs in a thread of its own. The methods here wait for it, with a
deadline. They can be called from any thread but that one.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import logging
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from fastlog.errors import SinkError, SinkUnavailableError, how_to_install
from fastlog.jetstream.target import Target

try:
    import nats.errors
    import nkeys
    from nats.aio.client import Client
except ImportError as error:
    raise ImportError(f"{error}; {how_to_install('nats')}") from error

__all__ = ["ApiError", "Client", "Connection", "Last", "WrongSequenceError", "explain"]

log = logging.getLogger(__name__)

T = TypeVar("T")
_Read = TypeVar("_Read", bound=msgspec.Struct)

NO_CREDENTIALS: Final = "it is no file of credentials, with a JWT and a seed"
_JWT, _SEED = b"BEGIN NATS USER JWT", b"BEGIN USER NKEY SEED"
TIMEOUT: Final = 5.0
"""Seconds that a request may take."""
CONNECT_TIMEOUT: Final = 5.0
_CLOSED: Final = ("lost", "EOF", "Broken pipe", "reset")
"""Parts of errors of a connection that the other side has closed."""
WRONG_SEQUENCE: Final = (10071, 10164)
NO_MESSAGE: Final = 10037
NO_STREAM: Final = 10059
FULL: Final = (10077, 10047, 10023)
"""Codes of JetStream's errors: nats-server's `errors.json` has all of them."""


class ApiError(SinkError):
    """JetStream rejected a request."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class WrongSequenceError(ApiError):
    """The last message of a subject is another one than expected."""


class Last(NamedTuple):
    """The last message of a subject."""

    seq: int
    data: bytes


class _Error(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    error: _Error | None = None
    seq: int = 0


class _TolerantClient(Client):
    """Survives messages and files that nats-py cannot read.

    Whoever may publish chooses subject and headers. An exception there would end nats-py's task
    that reads, and with it the whole connection, again and again while the message is in the
    stream.
    """

    async def _process_msg(self, *arguments: Any) -> None:
        try:
            await super()._process_msg(*arguments)
        except Exception as error:
            log.debug("a message cannot be read: %s", explain(error))

    def _read_creds_user_jwt(self, creds: Any) -> Any:
        # Also when it connects again. In a file without a JWT, nats-py's loop never ends.
        if _JWT not in Path(creds).read_bytes():
            raise ValueError(f"{creds}: {NO_CREDENTIALS}")
        return super()._read_creds_user_jwt(creds)

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except Exception as error:
            log.debug("the headers of a message cannot be read: %s", explain(error))
            return None


class Connection:
    """A connection to a cluster. It is made again in the background when it is lost.

    Methods raise `SinkUnavailableError` while the cluster does not answer.
    """

    def __init__(self, target: Target, name: str) -> None:
        self.target = target
        self._name = name
        self._client = _TolerantClient()
        self.loop = asyncio.new_event_loop()
        """The event loop of the client."""
        self._thread: threading.Thread | None = None
        self._lost: asyncio.Future[None] | None = None
        """Done when the connection is lost; another one for each connection."""
        self._failures = 0
        self._failed: asyncio.Future[None]
        """Done when the first attempt to connect has failed."""
        self._reason = ""
        """Why the last attempt to connect failed."""
        self._forbidden = ""
        """What the server has forbidden during this request: it does not answer then."""

    def open(self) -> None:
        """Connect.

        Raises:
            ConfigError: A file of the URL cannot be used.
            SinkUnavailableError: No server can be reached, or they refuse the credentials.
        """
        tls = self.target.ssl_context()
        check_credentials(self.target)
        self._thread = threading.Thread(target=self.loop.run_forever, name="nats", daemon=True)
        self._thread.start()
        options = {
            "servers": list(self.target.servers),
            "name": self._name,
            "tls": tls,
            "user": self.target.user or None,
            "password": self.target.password or None,
            "user_credentials": self.target.creds or None,
            "nkeys_seed": self.target.nkey or None,
            "connect_timeout": 2,
            "reconnect_time_wait": 0.25,
            "max_reconnect_attempts": -1,
            "ping_interval": 5,
            "error_cb": self._on_error,
            "disconnected_cb": self._on_disconnected,
        }
        try:
            self.run(self._connect(options), CONNECT_TIMEOUT)
        except SinkUnavailableError as error:
            self.close()
            if not self._reason:
                raise
            raise SinkUnavailableError(f"{self.target.label}: {self._explain()}") from error

    async def _connect(self, options: dict[str, Any]) -> None:
        """Connect; give up when each server has failed twice. nats-py would try without end."""
        self._failed = self.loop.create_future()
        connecting = self.loop.create_task(self._client.connect(**options))
        try:
            await asyncio.wait([connecting, self._failed], return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                raise SinkUnavailableError(f"{self.target.label}: {self._explain()}")
            connecting.result()
        finally:
            connecting.cancel()

    def _explain(self) -> str:
        """Return why the connection failed."""
        is_closed = any(word in self._reason for word in _CLOSED)
        if not self.target.tls or not is_closed:
            return self._reason
        # A server that rejects a certificate says so, but may close the connection before.
        what = "reject the client's" if self.target.tls_cert else "ask for a client's"
        return f"{self._reason}; the servers may {what} certificate (tls_cert)"

    async def _on_error(self, error: Exception) -> None:
        self._failures += 1
        if "permissions violation" in str(error).lower():
            self._forbidden = explain(error)
        # The first error of an attempt says more: servers close a connection that they refuse.
        if self._client.is_connected or not self._reason:
            self._reason = explain(error)
        if self._failures == 2 * len(self.target.servers) and not self._failed.done():
            self._failed.set_result(None)
        log.debug("%s: %s", self.target.label, explain(error))

    async def _on_disconnected(self) -> None:
        if self._lost is not None:
            self._lost.set_result(None)
            self._lost = None

    async def _request(self, subject: str, payload: bytes, headers: dict[str, str] | None) -> bytes:
        """Send a request; do not wait for its answer any more when the connection is lost."""
        if self._lost is None:
            self._lost = self.loop.create_future()
        lost = self._lost
        self._forbidden = ""
        work = self._client.request(subject, payload, timeout=TIMEOUT, headers=headers)
        request: asyncio.Task[Any] = self.loop.create_task(work)
        try:
            await asyncio.wait([request, lost], return_when=asyncio.FIRST_COMPLETED)
            if not request.done():
                raise SinkUnavailableError(f"{self.target.label}: the connection was lost")
            return bytes(request.result().data)
        except TimeoutError:
            if not self._forbidden:
                raise
            raise SinkUnavailableError(f"{self.target.label}: {self._forbidden}") from None
        finally:
            request.cancel()

    @property
    def client(self) -> Client:
        """The client, for code that runs in its loop."""
        return self._client

    @property
    def max_payload(self) -> int:
        """The largest payload of a message that the server takes, in bytes."""
        return self._client.max_payload

    def run(self, work: Coroutine[Any, Any, T], timeout: float = TIMEOUT) -> T:
        """Run a coroutine in the client's loop, and return its result.

        Raises:
            SinkUnavailableError: It failed, or took too long.
        """
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout), self.loop)
        try:
            return future.result(timeout + 1)
        except (SinkError, asyncio.CancelledError):
            raise
        except Exception as error:  # of nats-py, ssl or the system: the cluster is not to be had
            raise SinkUnavailableError(f"{self.target.label}: {explain(error)}") from error

    def request(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> bytes:
        """Send a request, and return the answer."""
        if not self._client.is_connected:  # it would wait in a buffer, and be sent much later
            raise SinkUnavailableError(
                f"{self.target.label}: not connected{f' ({self._reason})' if self._reason else ''}"
            )
        return self.run(self._request(subject, payload, headers), TIMEOUT + 1)

    def ask(self, what: str, question: object = None) -> bytes:
        """Ask JetStream's API, such as `STREAM.INFO.LOGS`.

        Raises:
            ApiError: It rejected the question.
        """
        payload = b"" if question is None else msgspec.json.encode(question)
        answer = self.request(f"$JS.API.{what}", payload)
        self._check(answer, what)
        return answer

    def ask_for(self, kind: type[_Read], what: str, question: object = None) -> _Read:
        """Ask JetStream's API, and decode the answer.

        Raises:
            ApiError: It rejected the question.
            SinkUnavailableError: It does not answer, or with something else.
        """
        answer = self.ask(what, question)
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.MsgspecError as error:
            raise self._unreadable(what, error) from error

    def last(self, stream: str, subject: str) -> Last | None:
        """Return the last message of a subject; None if there is none.

        The leader of the stream answers. It may have been replaced without knowing it yet: then the
        message is an older one.
        """
        what = f"STREAM.MSG.GET.{stream}"
        try:
            message = self.ask_for(_Got, what, {"last_by_subj": subject}).message
            return Last(message.seq, base64.b64decode(message.data))
        except ApiError as error:
            if error.code == NO_MESSAGE:
                return None
            raise
        except binascii.Error as error:
            raise self._unreadable(what, error) from error

    def _unreadable(self, what: str, error: Exception) -> SinkUnavailableError:
        return SinkUnavailableError(f"{self.target.label}: {what}: not a valid answer: {error}")

    def publish(self, stream: str, subject: str, payload: bytes, expected: int) -> int:
        """Publish a message if the subject's last one has the sequence `expected` (0: none).

        Returns:
            Its sequence in the stream.

        Raises:
            WrongSequenceError: The last message is another one.
            SinkUnavailableError: The cluster does not answer; the message may be stored
                nevertheless, also later.
            ApiError: The stream rejects it.
        """
        headers = {
            "Nats-Expected-Stream": stream,
            "Nats-Expected-Last-Subject-Sequence": str(expected),
        }
        answer = self.request(subject, payload, headers)
        return self._check(answer, f"publish to {stream}").seq

    def _check(self, answer: bytes, what: str) -> _Answer:
        try:
            found = msgspec.json.decode(answer, type=_Answer)
        except msgspec.MsgspecError as error:
            raise self._unreadable(what, error) from error
        if found.error is None:
            return found
        code = found.error.err_code
        text = f"{self.target.label}: {what}: {found.error.description} ({code})"
        if code in FULL:
            raise SinkUnavailableError(text)
        kind = WrongSequenceError if code in WRONG_SEQUENCE else ApiError
        raise kind(text, code)

    def close(self) -> None:
        """Close the connection, and end its thread. Safe to call twice."""
        if self._thread is None:
            return
        with contextlib.suppress(SinkError, asyncio.CancelledError):
            self.run(self._client.close(), 2.0)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self._thread = None
        self.loop.close()


def check_credentials(target: Target) -> None:
    """Check that the file of the credentials can be used. A server has not seen them then.

    Raises:
        SinkUnavailableError: It cannot; it may be replaced by a right one.
    """
    path = target.creds or target.nkey
    if not path:
        return
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SinkUnavailableError(f"{target.label}: {path}: {error.strerror}") from error
    if target.creds:
        why = "" if _JWT in content and _SEED in content else NO_CREDENTIALS
    else:
        try:
            nkeys.from_seed(bytearray(content.strip())).wipe()
            why = ""
        except (nkeys.NkeysError, ValueError):
            why = "it has no seed of an nkey"
    if why:
        raise SinkUnavailableError(f"{target.label}: {path}: {why}")


class _Message(msgspec.Struct):
    seq: int
    data: str = ""


class _Got(msgspec.Struct):
    message: _Message


def explain(error: BaseException) -> str:
    """Return an error of nats-py as a part of a line."""
    if isinstance(error, nats.errors.NoRespondersError):
        return "JetStream does not answer: it is not enabled, or has no leader now"
    if isinstance(error, TimeoutError):  # nats-py's is one
        return "no answer in time"
    if isinstance(error, nats.errors.NoServersError):
        return "no server can be reached"
    text = " ".join(str(error).removeprefix("nats: ").split())
    return text or type(error).__name__
