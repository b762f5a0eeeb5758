"""A receiver of OTLP/HTTP that answers what a test wants, and keeps what it has accepted."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

PROTOBUF = "application/x-protobuf"


class Reply(NamedTuple):
    """An answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    content_type: str = PROTOBUF
    silent: bool = False
    """Read the request, then answer nothing until the receiver ends."""
    cut: bool = False
    """Close the connection instead of answering."""


class Received(NamedTuple):
    """A log record as a receiver sees it: with plain Python values."""

    resource: dict[str, Any]
    scope: str
    attributes: dict[str, Any]
    body: Any
    record: Any
    """The message itself."""

    @property
    def message(self) -> str:
        return str(self.body)

    @property
    def uid(self) -> str:
        return str(self.attributes["log.record.uid"])


def partial_success(rejected: int, message: str) -> bytes:
    response = ExportLogsServiceResponse()
    response.partial_success.rejected_log_records = rejected
    response.partial_success.error_message = message
    return bytes(response.SerializeToString())


def status_message(text: str) -> bytes:
    """Return a `google.rpc.Status` with a text: field 2."""
    return b"\x12" + bytes([len(text)]) + text.encode()


class Receiver:
    """An HTTP server on a free port.

    `replies` are used up one for each request; then `reply` decides by the records of a request.
    """

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._is_secure = tls is not None
        self.replies: list[Reply] = []
        self.reply: Callable[[list[Received]], Reply] = lambda _: Reply()
        self.requests: list[list[Received]] = []
        """The records of each request, in order."""
        self.accepted: list[Received] = []
        """The records of requests that were answered with a status of 200."""
        self.sizes: list[int] = []
        """Bytes of the requests, before compression."""
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self._ended = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                receiver._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Http(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                pass  # the client has closed

        self._server = Http(("127.0.0.1", port), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, options: str = "", path: str = "") -> str:
        place = "otlp+https://localhost" if self._is_secure else "otlp+http://127.0.0.1"
        return f"{place}:{self.port}{path}" + (f"?{options}" if options else "")

    def uids(self) -> list[str]:
        return [one.uid for one in self.accepted]

    def messages(self) -> list[str]:
        return [one.message for one in self.accepted]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        data = handler.rfile.read(int(handler.headers["content-length"]))
        if handler.headers.get("content-encoding") == "gzip":
            data = gzip.decompress(data)
        found = list(records_of(ExportLogsServiceRequest.FromString(data)))
        self.headers.append({name.lower(): value for name, value in handler.headers.items()})
        self.paths.append(handler.path)
        self.sizes.append(len(data))
        self.requests.append(found)
        reply = self.replies.pop(0) if self.replies else self.reply(found)
        if reply.silent:
            self._ended.wait(60)
        if reply.silent or reply.cut:
            handler.close_connection = True
            return
        if reply.status == 200:
            self.accepted += found
        handler.send_response(reply.status)
        handler.send_header("Content-Type", reply.content_type)
        handler.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(reply.body)


def records_of(request: Any) -> Iterator[Received]:
    """Yield the records of a request."""
    for group in request.resource_logs:
        resource = pairs_of(group.resource.attributes)
        for scope in group.scope_logs:
            for record in scope.log_records:
                attributes = pairs_of(record.attributes)
                assert len(attributes) == len(record.attributes), "names of attributes are unique"
                yield Received(
                    resource, scope.scope.name, attributes, value_of(record.body), record
                )


def pairs_of(attributes: Any) -> dict[str, Any]:
    return {each.key: value_of(each.value) for each in attributes}


def value_of(value: Any) -> Any:
    """Return an `AnyValue` as a Python value; None where it is empty."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    found = getattr(value, kind)
    if kind == "array_value":
        return [value_of(each) for each in found.values]
    return pairs_of(found.values) if kind == "kvlist_value" else found
