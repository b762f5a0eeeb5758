"""Guard: what every request must have, and what every answer says to the browser."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp

from fastlog.web.access import CSRF_HEADER, is_known_host
from fastlog.web.connection import PIECE
from fastlog.web.failures import failure

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SAFE: Final = ("GET", "HEAD")


class Guard:
    """Answers requests that no page of this server sends, and passes the others on.

    Args:
        hosts: Names of this server; addresses are always accepted.
    """

    def __init__(self, application: ASGIApp, hosts: frozenset[str]) -> None:
        self._application, self._hosts = application, hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in HEADERS.items():
                    headers[name] = value
                is_api = scope["path"].startswith("/api/")
                headers.setdefault("Cache-Control", "no-store" if is_api else "no-cache")
            for part in _pieces(message):
                await send(part)  # waits until the client has read most of what came before

        refused = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        if refused is None:
            await self._application(scope, receive, send_guarded)
        else:
            status, reason = refused
            await failure(reason, status)(scope, receive, send_guarded)

    def _refusal(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        if not is_known_host(headers.get("host", ""), self._hosts):
            return 421, "this is no name of the server; set web.hosts to the names it may have"
        if method not in SAFE and headers.get(CSRF_HEADER) != "1":
            return 403, f"the header {CSRF_HEADER}: 1 is missing"
        if path.startswith("/api/") and headers.get("sec-fetch-site") == "cross-site":
            return 403, "the request comes from a page of another site"
        return None


def _pieces(message: Message) -> Iterator[Message]:
    """Yield a message; the body of an answer in pieces, so that a slow client is noticed."""
    body = message.get("body", b"")
    if len(body) <= PIECE:
        yield message
        return
    for at in range(0, len(body), PIECE):
        is_last = at + PIECE >= len(body)
        more = not is_last or message.get("more_body", False)
        yield {**message, "body": body[at : at + PIECE], "more_body": more}
