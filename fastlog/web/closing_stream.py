"""Streamed bodies that give back what they hold when they end, however that happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

from starlette.responses import StreamingResponse

from fastlog.errors import FastlogError

log = logging.getLogger(__name__)


class ClosingStream(StreamingResponse):
    """An answer whose body is made while the client reads it.

    Args:
        body: The chunks. If it fails, the client sees an answer that is not whole.
        held: What is closed at the end, when the client has gone too.
    """

    def __init__(
        self,
        body: AsyncIterator[bytes],
        held: AsyncExitStack,
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(body, media_type=media_type, headers=headers)
        self._held = held

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the answer until it ends or the client has gone."""
        streaming = asyncio.ensure_future(self.stream_response(send))
        gone = asyncio.ensure_future(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait({streaming, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            streaming.cancel()
            await asyncio.gather(streaming, gone, return_exceptions=True)
            await self._held.aclose()
        if not streaming.cancelled() and (error := streaming.exception()) is not None:
            if not isinstance(error, FastlogError):
                raise error
            log.error("%s: an answer was broken off: %s", scope["path"], error)
