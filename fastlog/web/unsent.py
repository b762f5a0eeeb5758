"""Unsent answers: how many bytes wait for clients that read slowly, and how many may."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fastlog.web.connection import PIECE
from fastlog.web.failures import RequestError

MAX_UNSENT: Final = 128 << 20
"""Bytes of answers that are in memory at a time, besides small ones."""


class Unsent:
    """Counts the bytes of the answers that are being sent."""

    def __init__(self) -> None:
        self._bytes = 0

    def sending(self, answer: Response) -> Response:
        """Return an answer that counts while it is sent; a small or streamed one as it is.

        Raises:
            RequestError: Too many bytes wait for slow clients.
        """
        size = len(answer.body) if hasattr(answer, "body") else 0
        if size <= PIECE:
            return answer
        if self._bytes + size > MAX_UNSENT:
            raise RequestError(
                "too many answers wait for clients that read slowly; try again", 503,
                headers={"Retry-After": "5"},
            )  # fmt: skip
        self._bytes += size
        return _Counted(answer, self, size)

    def sent(self, size: int) -> None:
        """Forget the bytes of an answer."""
        self._bytes -= size


class _Counted(Response):
    """An answer that is forgotten when it was sent, or its client has gone."""

    def __init__(self, answer: Response, unsent: Unsent, size: int) -> None:
        self._answer, self._unsent, self._size = answer, unsent, size
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            await self._answer(scope, receive, send)
        finally:
            self._unsent.sent(self._size)
